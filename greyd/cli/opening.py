"""Open the store that a command works on."""

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


# The store ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def opened(
    url: str, settings: Settings, *, writes: bool = False, make: bool = False
) -> AsyncIterator[Store]:
    """Open a store to read what is there; nothing of a file is changed.

    With ``writes`` it may be changed, and with ``make`` a file that is not there is made, and is
    its folder's owner's.

    Raises:
        UnusableStoreError: it is not greyd's.
        StoreError: there is none, or it can't be opened.
    """
    if url.startswith("memory:"):
        raise StoreError("memory:// is within the server's process, where no command can reach it")
    access = AccessMode.WRITE if writes or make else AccessMode.READ
    if is_sqlite_url(url):
        _require(sqlite_file(url), make=make)
    store = open_store(replace(settings, store=url), Path(), access)
    try:
        yield store
    except UnusableStoreError:
        raise
    except UnwritableStoreError as error:
        # What mends it for a server, a chown to this user, would take it from the server.
        raise StoreError(f"{error.reason}; run this as root, or as the server's user") from None
    finally:
        await store.close()


def _require(path: Path, *, make: bool) -> None:
    """See that a file is greyd's before anybody opens it."""
    from greyd.store.sqlite.file_identity import identify

    identity = identify(str(path))
    if identity.version is not None:
        return
    if not make:
        raise StoreError(
            f"sqlite:{path}: nothing is stored there; name the server's --dbdir or --store"
        )
    if not identity.exists:
        _make_for_owner(path)


def _make_for_owner(path: Path) -> None:
    """Make an empty file that the server can write, whoever runs this."""
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
