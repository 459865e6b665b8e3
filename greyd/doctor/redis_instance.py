"""What one Redis server says about itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greyd.escaping import printable
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.store.redis.transport import Send


TIMEOUT_SECONDS = 5.0

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
    """What is seen of one server."""

    name: str = ""
    """Told apart from others by it; empty where there is one."""
    info: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] | None = None
    """None where it may not be asked. The password is not kept, only whether there is one."""
    user: str = ""
    open_to_all: bool | None = None
    """Whether its default user needs no password; None where that is not known."""
    clock_offset_seconds: float | None = None
    """How far its clock is before this machine's; None where it may not be asked."""
    took_seconds: float = 0

    def check(self, what: str) -> str:
        """Name a check."""
        return f"store: {what} ({self.name})" if self.name else f"store: {what}"

    def number(self, name: str) -> int:
        """Return a number of its information; 0 where it has none."""
        text = self.info.get(name, "0").strip()
        return int(text) if text.lstrip("-").isdigit() else 0


async def inspect_instance(name: str, send: Send) -> RedisInstance:
    """Ask one server about itself; what it refuses stays unknown."""
    before = time.time()
    now = await try_command(send, "TIME")
    after = time.time()
    user = await try_command(send, "ACL", "WHOAMI")
    return RedisInstance(
        name=name,
        info=fields(await try_command(send, "INFO") or b""),
        config=_config([await try_command(send, "CONFIG", "GET", each) for each in _CONFIG]),
        user=printable(user)[:100] if isinstance(user, bytes) else "",
        open_to_all=_is_open_to_all(await try_command(send, "ACL", "GETUSER", "default")),
        clock_offset_seconds=int(now[0]) + int(now[1]) / 1e6 - (before + after) / 2
        if now
        else None,
        took_seconds=after - before,
    )


async def try_command(send: Send, *command: str) -> Any:
    """Ask something that may be refused; None where it is."""
    try:
        return await send(*command)
    except StoreError:
        return None


def fields(text: bytes) -> dict[str, str]:
    """Return the fields of ``INFO`` or ``CLUSTER INFO``: lines of ``name:value``."""
    pairs = (line.partition(":") for line in plain_lines(text))
    return {name: value for name, colon, value in pairs if colon}


def plain_lines(text: bytes) -> list[str]:
    """Return the lines of an answer as they can stand on a terminal."""
    return [printable(line.strip()) for line in text.splitlines()]


def _config(answers: Sequence[Any]) -> dict[str, str] | None:
    found = {}
    for answer in answers:
        if isinstance(answer, list) and len(answer) == 2:
            name, value = printable(answer[0]), printable(answer[1])
            found[name] = ("set" if value else "") if name == "requirepass" else value
    return found or None


def _is_open_to_all(answer: Any) -> bool | None:
    """Read ``ACL GETUSER default``: pairs, the first of which is its flags."""
    if not isinstance(answer, list) or len(answer) < 2 or not isinstance(answer[1], list):
        return None
    return b"nopass" in answer[1] and b"on" in answer[1]
