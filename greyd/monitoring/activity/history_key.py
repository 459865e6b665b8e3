"""The key of a server's history in the store, which no two servers share.

Servers that share a store may have the same host name, such as containers of one deployment, and
the same metrics port, such as servers in two networks. The key therefore contains a hash of the
machine's id, of the metrics endpoint and of the first address that the server listens on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.rules.reserved_keys import HISTORY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings

MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
"""The id of an installed system, machine-id(5), and D-Bus's copy of it."""

_MAX_NAME_BYTES = 300
_MACHINE_ID_DIGITS = 32
_ID_DIGITS = 16


def history_key(
    settings: Settings, listens_on: str, machine_id_files: Sequence[Path] = MACHINE_ID_FILES
) -> bytes:
    """Return the key of a server's history; the same for all its workers, and after a restart.

    Args:
        settings: the server's settings.
        listens_on: the first address that the server listens on.
        machine_id_files: the files that may contain the machine's id; the first one counts.
    """
    metrics = settings.metrics
    parts = (_machine_id(machine_id_files), metrics.host if metrics else "", listens_on)
    # machine-id(5) requires that others see the id only as a hash.
    digest = hashlib.sha256("\0".join(("greyd", *parts)).encode(errors="replace")).hexdigest()
    return old_history_key(settings) + b"!" + digest[:_ID_DIGITS].encode()


def old_history_key(settings: Settings) -> bytes:
    """Return the key that greyd used before: the host name and the metrics port."""
    port = settings.metrics.port if settings.metrics else 0
    name = f"{settings.hostname or ''}!{port}"
    return HISTORY_PREFIX + name.encode(errors="replace")[:_MAX_NAME_BYTES]


def _machine_id(files: Sequence[Path]) -> str:
    """Return the machine's id; empty if it has none, as in most containers."""
    for each in files:
        try:
            with each.open("rb") as file:
                text = file.read(_MACHINE_ID_DIGITS).decode("ascii", "replace")
        except OSError:
            continue
        if len(text) == _MACHINE_ID_DIGITS and text.isalnum():
            return text
    return ""
