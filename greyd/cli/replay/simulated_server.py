"""A simulated server: the server's own policy with other settings, at another time.

Only the policy's surroundings differ: a store in memory, an observer that keeps the last decision,
and a collector whose evidence is known already.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from greyd.policy.observers import Observer, Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.rules.address import Address, parse_address
from greyd.rules.evidence import NO_EVIDENCE
from greyd.rules.keys import Keys, request_keys
from greyd.rules.reasons import PASS, Category, Reason
from greyd.rules.records import Client, Identity, Triplet
from greyd.store.contract import TransactionalStore
from greyd.whitelist.matcher import Whitelists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request
    from greyd.rules.transaction import Answer, Rule
    from greyd.store.contract import DoneCallback
    from greyd.whitelist.entries import WhitelistEntry

_OF_THE_PAST = 86400
"""Seconds before the log's beginning at which what was known then is taken to have begun."""

KNOWN_BEFORE = frozenset(
    reason for reason in Reason if reason.category in (Category.KNOWN, Category.AUTO_WHITELISTED)
)
"""Reasons that rest on what a server remembers."""


class Verdict(NamedTuple):
    """What the server says of an attempt."""

    passes: bool
    reason: str


class SimulatedServer:
    """One server, at the time that it is told."""

    def __init__(self, settings: Settings, whitelists: Whitelists) -> None:
        """Begin with nothing remembered; the time comes with each request."""
        # Keys that can be read are the same decisions, only faster.
        settings = replace(settings, test_time=True, privacy=False, privacy_key=None)
        self.settings = settings
        self._store = _SimulatedStore()
        self._observer = _LastVerdict()
        self._known = _KnownEvidence()
        collector = self._known if settings.needs_evidence else None
        self._policy = Policy(
            settings, whitelists, self._store, Observers(self._observer), collector
        )

    def ask(self, request: Request, now: int, evidence: Evidence) -> Verdict:
        """Ask about an attempt, as Postfix does.

        Args:
            request: what is asked; its ``policy_test_time`` is the time.
            now: the time.
            evidence: what is known of the client.
        """
        self._known.evidence = evidence
        self._store.now = now
        self._policy.answer(request, PendingReply(_ignore))
        return self._observer.verdict

    def learn(self, request: Request, now: int) -> None:
        """See a user's mail to somebody elsewhere."""
        user = request._replace(policy_context=b"outbound", sasl_username=b"user")
        self.ask(user, now, NO_EVIDENCE)

    # What was known before ----------------------------------------------------------------------

    def knows(self, request: Request, reason: Reason, evidence: Evidence) -> bool:
        """Whether anything is remembered by which it could pass for this reason."""
        address, keys = self._keys(request, evidence)
        if address is None or keys is None:
            return True
        wanted = {
            Reason.CLIENT_AWL: keys.client,
            Reason.IDENTITY_AWL: keys.identity,
            Reason.CORRESPONDENT: keys.correspondence,
        }.get(reason, keys.triplet)
        return not wanted or wanted in self._store.records

    def suppose(self, request: Request, reason: Reason, now: int, evidence: Evidence) -> None:
        """Remember what a server must have known that let a request pass for this reason."""
        _, keys = self._keys(request, evidence)
        if keys is None:
            return
        settings, records, began = self.settings, self._store.records, now - _OF_THE_PAST
        lives = now + settings.max_age_seconds
        known: dict[bytes, bytes] = {}
        if reason is Reason.CLIENT_AWL:
            known[keys.client] = Client(max(settings.auto_whitelist_clients, 1), now).dump()
        elif reason is Reason.IDENTITY_AWL:
            times = max(settings.auto_whitelist_identities, 1)
            known[keys.identity] = Identity(times, now, now - settings.identity_age_seconds).dump()
        elif reason is Reason.CORRESPONDENT:
            known[keys.correspondence] = b"%d" % began
        else:
            began = min(began, now - settings.longest_delay_seconds)
            passed = Triplet(began, now - 1, now - 1).dump()
            known = {keys.triplet: passed, keys.identity_triplet: passed}
        for key, value in known.items():
            if key:
                records.setdefault(key, (value, lives))

    def _keys(self, request: Request, evidence: Evidence) -> tuple[Address | None, Keys | None]:
        address = parse_address(request.client_address or b"")
        if address is None:
            return None, None
        sender, recipient = request.sender or b"", request.recipient or b""
        return address, request_keys(address, sender, recipient, self.settings, evidence)


def _ignore(_: bytes | None) -> None:
    """Drop the reply; the observer keeps more than that."""


class _KnownEvidence:
    """An evidence collector that answers with what is known already."""

    evidence: Evidence = NO_EVIDENCE

    def collect(
        self, _request: Request, _address: Address, found: Callable[[Evidence], None]
    ) -> None:
        found(self.evidence)

    def close(self) -> None:
        """Nothing is under way."""


class Remembering(Whitelists):
    """Whitelists for servers that are asked about the same clients and recipients all the time."""

    def __init__(self, *_: object) -> None:
        self._by_client = lru_cache(50_000)(super().match_client)
        self._by_recipient = lru_cache(50_000)(super().match_recipient)

    def match_client(self, name: bytes, address: Address | None) -> WhitelistEntry | None:
        """Return the entry that lets a client pass."""
        return self._by_client(name, address)

    def match_recipient(self, recipient: bytes) -> WhitelistEntry | None:
        """Return the entry that lets mail to a recipient pass."""
        return self._by_recipient(recipient)


class _LastVerdict(Observer):
    """Keeps the last decision; the simulation ends with an error in greyd."""

    def __init__(self) -> None:
        self.verdict = Verdict(passes=True, reason="")

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        for event in events:
            self.verdict = Verdict(event.reason.action == PASS, event.reason.text)

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - raised
        raise error


class _SimulatedStore(TransactionalStore):
    """A store in memory, at a time that is told; what is over goes whenever it has doubled."""

    _LEAST = 10_000

    def __init__(self) -> None:
        self.now = 0
        self.records: dict[bytes, tuple[bytes, int]] = {}
        """Values, and when they are forgotten."""
        self._most = self._LEAST

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        records, now = self.records, self.now
        # The rules look at the times themselves, so what is over need not be left out here.
        found = [records.get(key) for key in keys]
        answer, changes = rule([each and each[0] for each in found])
        for key, value, ttl_seconds in changes:
            records[key] = (value, now + ttl_seconds)
        if len(records) > self._most:
            self._forget()
        done(answer, None)

    def _forget(self) -> None:
        self.records = {key: each for key, each in self.records.items() if each[1] >= self.now}
        self._most = max(2 * len(self.records), self._LEAST)
