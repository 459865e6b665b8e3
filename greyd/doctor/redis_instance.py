"""Collects facts about one Redis server with read-only commands: INFO, CONFIG GET, ACL, TIME."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greyd.escaping import printable
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.store.redis.transport import Send

_CONFIG = (
    "appendfsync",
    "bind",
    "maxmemory",
    "maxmemory-policy",
    "protected-mode",
    "requirepass",
    "save",
    "stop-writes-on-bgsave-error",
)


@dataclass(frozen=True, slots=True)
class RedisInstance:
    """The facts about one Redis server; None or empty if greyd's user may not read them."""

    name: str = ""
    """The server's name in findings if Redis has several servers; otherwise empty."""
    info: Mapping[str, str] = field(default_factory=dict)
    """The fields of INFO."""
    config: Mapping[str, str] | None = None
    """The settings by name; the value ``set`` replaces a password."""
    user: str = ""
    """The Redis user that greyd logs in as."""
    is_open_to_all: bool | None = None
    """Whether the default user needs no password; None if unknown."""
    clock_offset_seconds: float | None = None
    """How far the server's clock is ahead of this machine's."""
    took_seconds: float = 0
    """How long the answer to TIME took."""

    def check(self, subject: str) -> str:
        """Return the name of a check of this server."""
        return f"store: {subject} ({self.name})" if self.name else f"store: {subject}"

    def number(self, name: str) -> int:
        """Return a numeric field of INFO; 0 if it is missing."""
        text = self.info.get(name, "0").strip()
        return int(text) if text.lstrip("-").isdigit() else 0


async def inspect_instance(name: str, send: Send) -> RedisInstance:
    """Send the read-only commands to one server; return the facts."""
    before = time.time()
    now = await try_command(send, "TIME")
    after = time.time()
    user = await try_command(send, "ACL", "WHOAMI")
    return RedisInstance(
        name=name,
        info=parse_fields(await try_command(send, "INFO") or b""),
        config=_parse_config([await try_command(send, "CONFIG", "GET", each) for each in _CONFIG]),
        user=printable(user)[:100] if isinstance(user, bytes) else "",
        is_open_to_all=_is_open_to_all(await try_command(send, "ACL", "GETUSER", "default")),
        clock_offset_seconds=int(now[0]) + int(now[1]) / 1e6 - (before + after) / 2
        if now
        else None,
        took_seconds=after - before,
    )


async def try_command(send: Send, *command: str) -> Any:
    """Send a command; return its answer, or None if Redis refuses the command."""
    try:
        return await send(*command)
    except StoreError:
        return None


def parse_fields(text: bytes) -> dict[str, str]:
    """Parse the lines of INFO or CLUSTER INFO: ``name:value``."""
    lines = (printable(line.strip()) for line in text.splitlines())
    pairs = (line.partition(":") for line in lines)
    return {name: value for name, colon, value in pairs if colon}


def _parse_config(answers: Sequence[Any]) -> dict[str, str] | None:
    found = {}
    for answer in answers:
        if isinstance(answer, list) and len(answer) == 2:
            name, value = printable(answer[0]), printable(answer[1])
            found[name] = ("set" if value else "") if name == "requirepass" else value
    return found or None


def _is_open_to_all(answer: Any) -> bool | None:
    """Parse ``ACL GETUSER default``: alternating names and values, beginning with the flags."""
    if not isinstance(answer, list) or len(answer) < 2 or not isinstance(answer[1], list):
        return None
    return b"nopass" in answer[1] and b"on" in answer[1]
