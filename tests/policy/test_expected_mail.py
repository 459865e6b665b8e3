"""Mail that ``greyd expect`` awaits: who passes, and whose sender is checked first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.policy.observers import Observer, Observers
from greyd.policy.policy import Policy
from greyd.rules.control import ExpectedMail, ExpectWindow
from greyd.rules.request import Request
from greyd.store.opening import open_store
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.stores import answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from greyd.policy.events import DecisionEvent
    from greyd.rules.address import Address

BOB, DOMAIN, NEVER = "bob@example.org", "example.com", 10**10


@dataclass
class Denies(Observer):
    """A check of senders that denies a client, or nobody; keeps the last decision."""

    client: bytes = b""
    domains: list[bytes] = field(default_factory=list)
    event: DecisionEvent | None = None

    def check(
        self, request: Request, address: Address, domain: bytes, on_result: Callable[[bool], None]
    ) -> None:
        assert request.recipient == BOB.encode()
        self.domains.append(domain)
        asyncio.get_running_loop().call_soon(on_result, address.text == self.client)

    def close(self) -> None:
        return

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        (self.event,) = events


def decision(
    folder: Path,
    windows: Sequence[ExpectWindow],
    sender: bytes,
    check: Denies,
    client: bytes = b"192.0.2.66",
    *,
    checks: bool = True,
) -> tuple[str, bool]:
    """Return the reason, and whether the sender was denied."""

    async def ask() -> None:
        settings = Settings()
        store = open_store(settings, folder)
        lists = Whitelists(ClientWhitelist([]), RecipientWhitelist([]))
        policy = Policy(settings, lists, store, Observers(check))
        policy.expected = ExpectedMail(windows, settings)
        policy.sender_check = check if checks else None
        request = Request(
            request=b"smtpd_access_policy", client_address=client, client_name=b"unknown",
            sender=sender, recipient=b"bob@example.org",
        )  # fmt: skip
        try:
            await answer_of(policy, request)
        finally:
            await store.close()

    asyncio.run(ask())
    assert check.event is not None
    return check.event.reason.text, check.event.is_sender_denied


FROM = ExpectWindow(BOB, DOMAIN, NEVER)
FROM_BELOW = ExpectWindow(BOB, "mail.example.com", NEVER)
FROM_ALL = ExpectWindow("@example.org", DOMAIN, NEVER)
ANYBODY = ExpectWindow(BOB, "", NEVER)


@pytest.mark.parametrize(
    ("windows", "sender", "denied", "reason", "checked"),
    [
        ([FROM], b"code@example.com", False, "expected", [b"example.com"]),
        ([FROM], b"code@example.com", True, "new", [b"example.com"]),
        ([FROM], b"code+1@mail.example.com", True, "new", [b"example.com"]),
        ([FROM_ALL], b"code@example.com", True, "new", [b"example.com"]),
        ([FROM_BELOW, FROM], b"code@mail.example.com", True, "new", [b"example.com"]),
        # A window for any sender claims none, so nothing is checked.
        ([ANYBODY], b"code@example.com", True, "expected", []),
        ([FROM, ANYBODY], b"code@example.com", True, "expected", []),
        ([ANYBODY], b"", True, "expected", []),
        # No window is for this mail.
        ([FROM], b"", True, "new", []),
        ([FROM], b"code@example.net", True, "new", []),
        ([], b"code@example.com", True, "new", []),
    ],
)
def test_a_window_for_a_sender_lets_no_denied_client_pass(
    windows: list[ExpectWindow], sender: bytes, denied: bool, reason: str, checked: list[bytes],
    tmp_path: Path,
) -> None:  # fmt: skip
    check = Denies(b"192.0.2.66" if denied else b"")
    assert decision(tmp_path, windows, sender, check) == (reason, denied and bool(checked))
    assert check.domains == checked


def test_where_nothing_can_be_checked_expected_mail_passes(tmp_path: Path) -> None:
    check = Denies(b"192.0.2.66")
    found = decision(tmp_path, [FROM], b"code@example.com", check, checks=False)
    assert found == ("expected", False)
    found = decision(tmp_path, [FROM], b"code@example.com", check, client=b"unix:")
    assert found == ("expected", False)
    assert check.domains == []
