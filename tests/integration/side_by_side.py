"""Several policy servers asked the same, one request after the other, their answers compared.

Each request goes to all servers before their replies are read, so they work at the same time; no
server gets its next request before all have answered, so all see the same order.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from tests.processes import PolicyClient, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.processes import Running

_WHITELISTED = re.compile(r"^whitelisted: (?P<name>.*(?=\[))?\[?(?P<address>[0-9A-Fa-f:.]+)\]?$")
_DECISION = re.compile(r"(.*: )?action=(pass|greylist), reason=|whitelisted: ")


@dataclass
class Respondent:
    """One server, and the connections to it."""

    name: str
    server: Running
    connections: int = 1
    closes: bool = False
    """It closes a connection after one reply (``--exim``)."""
    clients: list[PolicyClient] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.clients = [self._connect() for _ in range(self.connections)]
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.socket.close()

    def _connect(self) -> PolicyClient:
        return PolicyClient(self.server.port, timeout=30)

    def receive(self, connection: int) -> bytes | None:
        """Read a reply; with ``--exim`` also see the connection end, and make a new one."""
        reply = self.clients[connection].reply()
        if self.closes and reply is not None:
            after = self.clients[connection].reply()
            assert after is None, f"{self.name} sent more, and did not close: {after!r}"
            self.clients[connection].socket.close()
            self.clients[connection] = self._connect()
        return reply


def ask(
    respondents: Sequence[Respondent], attributes: Mapping[str, str | bytes], connection: int = 0
) -> list[bytes | None]:
    """Ask all servers the same and return their replies in the servers' order."""
    data = encode(attributes)
    for respondent in respondents:
        respondent.clients[connection].send(data)
    return [respondent.receive(connection) for respondent in respondents]


def decisions(log: str) -> list[str]:
    """Return the lines of a log that tell of decisions, as greyd would write them.

    What greyd says by choice is taken away: a line for a request that lacks an attribute. Clients
    that are auto-whitelisted are written in one form; a test of its own looks at that.
    """
    return [
        _WHITELISTED.sub(_canonical, line)
        for line in log.splitlines()
        if _DECISION.match(line) and "action=pass, reason=missing attribute" not in line
    ]


def _canonical(found: re.Match[str]) -> str:
    return f"whitelisted: {found['name'] or ''}[{ipaddress.ip_address(found['address'])}]"


def postgrey_decisions(log: str) -> list[str]:
    """Return the same of postgrey's log, in which ``%`` is doubled."""
    return [re.sub("%(%|[0-9A-F]{2})", _single, line) for line in decisions(log)]


def _single(found: re.Match[str]) -> str:
    return "%" if found[1] == "%" else found[0]


def assert_same_lines(expected: Sequence[str], found: Sequence[str], name: str) -> None:
    """Fail with the first line that differs, and the three before it."""
    if expected == found:
        return
    lines = max(len(expected), len(found))
    padded = [[*log, *["(end of log)"] * (lines - len(log))] for log in (expected, found)]
    first = next(number for number in range(lines) if padded[0][number] != padded[1][number])
    before = "\n".join(f"  both: {line}" for line in padded[0][max(first - 3, 0) : first])
    raise AssertionError(
        f"log line {first} differs\n{before}\n"
        f"  postgrey: {padded[0][first]}\n  {name}: {padded[1][first]}"
    )
