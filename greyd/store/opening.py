"""Open the store that a URL names."""

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
    """Whether a store's URL names a file."""
    return url[:7].lower() == "sqlite:"


def sqlite_file(url: str) -> Path:
    """Return the file that a ``sqlite:`` URL names.

    Raises:
        StoreError: it names another kind of store.
    """
    return Path(sqlite_path(url))


def check_store_file(settings: Settings, folder: Path) -> None:
    """Refuse a file that is named as the store and is not greyd's; to be called before a start.

    Raises:
        UnusableStoreError: it is another program's, or of a newer greyd.
    """
    url = settings.store or f"sqlite:{folder / 'greyd.db'}"
    if is_sqlite_url(url):
        from greyd.store.sqlite.file_identity import identify

        try:
            identify(str(sqlite_file(url)))
        except UnusableStoreError:
            raise
        except StoreError:
            # Whose it is can't be seen yet; the log tells why, and mail passes meanwhile.
            return


def open_store(settings: Settings, folder: Path, access: AccessMode = AccessMode.SERVE) -> Store:
    """Return the store that ``--store`` names; SQLite in ``folder`` where it names none.

    Nothing is opened or connected until it is needed: mail flows when it is away at the start.

    Raises:
        StoreError: the URL names no store, or one in a folder that is not there.
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
