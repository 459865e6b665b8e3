"""A running server, and whether it is known to apply a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class ConfirmedServer:
    """A server that a change affects, and what is known of it."""

    pid: int
    address: str
    in_force: bool | None
    """Whether the server applies the change; None if that could not be checked."""
    detail: str = ""
    """The reason if it does not, or could not be checked; then what to do."""

    def __str__(self) -> str:
        """Return the outcome as one line."""
        server = f"server {self.pid} on {self.address}"
        if self.in_force:
            return f"in force on {server}"
        outcome = "not in force" if self.in_force is False else "not verified"
        return f"{outcome} on {server}: {self.detail}"


def servers_as_json(servers: Sequence[ConfirmedServer]) -> list[dict[str, object]]:
    """Return the servers for ``--json``."""
    return [
        {
            "pid": each.pid,
            "address": each.address,
            "in_force": each.in_force,
            "detail": each.detail or None,
        }
        for each in servers
    ]
