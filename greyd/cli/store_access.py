"""Opens the store that a command reads or changes."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.store.contract import AccessMode
from greyd.store.errors import StoreError, UnusableStoreError, UnwritableStoreError
from greyd.store.opening import is_sqlite_url, open_store, sqlite_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from greyd.config.settings import Settings
    from greyd.store.contract import Store


@contextlib.asynccontextmanager
async def open_store_for_command(
    url: str, settings: Settings, *, writable: bool = False, create: bool = False
) -> AsyncIterator[Store]:
    """Open a store, read-only unless ``writable`` or ``create``.

    With ``create``, a missing SQLite file is created; it belongs to the owner of its folder.

    Raises:
        UnusableStoreError: the file or database is not a store of greyd's.
        StoreError: the store does not exist, or can't be opened.
    """
    if url.startswith("memory:"):
        raise StoreError("memory:// is in the server's process, where no command can read it")
    access = AccessMode.WRITE if writable or create else AccessMode.READ
    if is_sqlite_url(url):
        _require_store_file(sqlite_file(url), create=create)
    store = open_store(replace(settings, store=url), Path(), access)
    try:
        yield store
    except UnusableStoreError:
        raise
    except UnwritableStoreError as error:
        # Replace the store's own remedy, chown to this user: the server would lose its access.
        raise StoreError(f"{error.reason}; run this as root, or as the server's user") from None
    finally:
        await store.close()


def _require_store_file(path: Path, *, create: bool) -> None:
    """Check that a file is a store of greyd's, before SQLite opens it.

    Raises:
        StoreError: the file is not a store of greyd's, or is missing without ``create``.
    """
    from greyd.store.sqlite.file_identity import identify

    identity = identify(str(path))
    if identity.version is not None:
        return
    if not create:
        raise StoreError(
            f"sqlite:{path}: nothing is stored there; name the server's store with --dbdir or"
            " --store"
        )
    if not identity.exists:
        _create_for_owner(path)


def _create_for_owner(path: Path) -> None:
    """Create an empty file that the server can write to, even if root runs the command."""
    try:
        folder = path.parent.stat()
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise StoreError(f"sqlite:{path}: {error.strerror}; run this as root") from None
    with contextlib.closing(os.fdopen(descriptor, "wb")):
        if os.geteuid() == 0:
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
