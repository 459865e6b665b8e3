"""Opens the store that a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from greyd.store.contract import AccessMode, Store
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.url import sqlite_path, validate_url

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.store.redis.transport import RedisTransport


def is_sqlite_url(url: str) -> bool:
    """Whether a URL names a SQLite file."""
    return url[:7].lower() == "sqlite:"


def sqlite_file(url: str) -> Path:
    """Return the file of a ``sqlite:`` URL.

    Raises:
        StoreError: the URL has a login, which a file can't have.
    """
    return Path(sqlite_path(url))


def check_store_file(settings: Settings, folder: Path) -> None:
    """Check, before the server starts, that a SQLite store's file is greyd's.

    Raises:
        UnusableStoreError: another program or a newer greyd wrote the file.
    """
    url = settings.store or f"sqlite:{folder / 'greyd.db'}"
    if is_sqlite_url(url):
        from greyd.store.sqlite.file_identity import identify

        try:
            identify(str(sqlite_file(url)))
        except UnusableStoreError:
            raise
        except StoreError:
            # The file can't be read yet. The server logs the reason, and mail passes meanwhile.
            return


def open_store(settings: Settings, folder: Path, access: AccessMode = AccessMode.SERVE) -> Store:
    """Return the store that ``--store`` names, by default the SQLite file ``folder``/greyd.db.

    The store opens or connects on its first use, so mail flows if it is unavailable at the start.

    Raises:
        StoreError: the URL is invalid, the folder of the file does not exist, or a package is
            missing.
    """
    url = settings.store or f"sqlite:{folder / 'greyd.db'}"
    validate_url(url)
    scheme, _, rest = url.partition(":")
    scheme = scheme.lower()
    if scheme == "sqlite":
        from greyd.store.sqlite.store import SqliteStore

        return SqliteStore(rest, settings.max_store_bytes, access)
    from greyd.store.redis.store import RedisStore

    return RedisStore(_open_transport(url, settings), settings.key_prefix.encode())


def _open_transport(url: str, settings: Settings) -> RedisTransport:
    if url.partition(":")[0].lower() == "memory":
        from greyd.store.memory import MemoryTransport

        return MemoryTransport()
    from greyd.store.redis.opening import open_transport

    return open_transport(url, settings)
