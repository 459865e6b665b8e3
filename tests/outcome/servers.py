"""The policy servers under test: greyd's own policy in this process, and Debian's postgrey."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from greyd.config.loading import read_settings
from greyd.dns.collector import DnsEvidenceCollector
from greyd.dns.sources.monitor import SourceMonitor
from greyd.policy.observers import Observer, Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.rules.request import Request
from greyd.store.contract import TransactionalStore
from greyd.whitelist.dns_override import read_override
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.outcome.clock import START
from tests.outcome.mail import OWN_DOMAIN
from tests.outcome.resolver import SimulatedResolver
from tests.processes import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.policy.events import DecisionEvent
    from greyd.rules.transaction import Answer, Rule
    from greyd.store.contract import DoneCallback
    from tests.outcome.clock import SimulatedClock
    from tests.outcome.mail import Host, Mail
    from tests.outcome.zone import SimulatedDns
    from tests.processes import PolicyClient


COMMON_OPTIONS = ("--delay=300", "--max-age=400")
"""The options of all servers, postgrey included. postgrey removes old entries by the machine's
clock, which simulated time does not reach; so all keep them for the whole simulation.
"""


class PolicyServer(Protocol):
    """A server that decides on attempts."""

    @property
    def why(self) -> str:
        """The reason of the last decision and the client's signals; empty if they are unknown."""

    async def passes(self, mail: Mail, host: Host) -> bool:
        """Return whether this attempt at delivery passes now."""

    async def learn(self, mail: Mail) -> None:
        """Learn from a local user's mail."""


def attributes(mail: Mail, host: Host, now: float) -> dict[str, bytes]:
    """Return a policy request as Postfix sends it."""
    texts = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": host.protocol,
        "helo_name": host.helo,
        "queue_id": "",
        "sender": mail.sender,
        "recipient": mail.recipient,
        "client_address": host.address,
        "client_name": host.name,
        "reverse_client_name": host.reverse_name,
        "instance": f"{mail.number:x}.{int(now):x}",
        "sasl_username": "",
        "policy_test_time": str(START + int(now)),
    }
    return {name: text.encode() for name, text in texts.items()}


class SimulatedGreyd:
    """greyd's policy with its real collector, on a store in memory and the simulated DNS."""

    def __init__(self, options: Sequence[str], dns: SimulatedDns, clock: SimulatedClock) -> None:
        settings = read_settings((*COMMON_OPTIONS, *options), {})
        self.settings = replace(settings, test_time=True)
        self._clock = clock
        self._store = _DictStore(clock)
        self._observer = _LastReason()
        collector = None
        if self.settings.needs_evidence:
            override = read_override(())
            resolver = SimulatedResolver(dns, clock)
            monitor = SourceMonitor(self.settings, resolver, _ignore, _raise, clock.monotonic)
            resolver.on_lookup_ended = monitor.lookup_ended
            collector = DnsEvidenceCollector(
                self.settings, resolver, lambda: override, _raise, monitor
            )
        self._policy = Policy(
            self.settings,
            Whitelists(ClientWhitelist(()), RecipientWhitelist(())),
            self._store,
            Observers(self._observer),
            collector,
        )

    @property
    def why(self) -> str:
        return self._observer.why

    async def passes(self, mail: Mail, host: Host) -> bool:
        return await self._answer(attributes(mail, host, self._clock.elapsed)) != b"DEFER_IF_PERMIT"

    async def learn(self, mail: Mail) -> None:
        user = mail.sender
        host = mail.hosts[0]
        request = attributes(mail, host, self._clock.elapsed)
        own = {
            "policy_context": b"outbound",
            "sasl_username": user.encode(),
            "client_name": f"client.{OWN_DOMAIN}".encode(),
            "client_address": b"198.51.100.7",
        }
        await self._answer(request | own)

    async def _answer(self, values: Mapping[str, bytes]) -> bytes:
        request = Request(
            **{name: each for name, each in values.items() if name in Request._fields}
        )
        actions: list[bytes | None] = []
        waiter: asyncio.Future[None] | None = None

        def send(action: bytes | None) -> None:
            actions.append(action)
            if waiter is not None:
                waiter.set_result(None)

        self._policy.answer(request, PendingReply(send))
        if not actions:
            waiter = asyncio.get_running_loop().create_future()
            await waiter
        return (actions[0] or b"").partition(b" ")[0]


def _ignore(_name: str, _fault: object) -> None:
    return


def _raise(error: BaseException) -> None:
    raise error


class _LastReason(Observer):
    """Keeps the reason of the last decision; an internal error ends the simulation."""

    why = ""

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        for event in events:
            signals = event.evidence.signals if event.evidence else ()
            self.why = "+".join((event.reason.text, *signals))

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - an Observer's
        raise error


class _DictStore(TransactionalStore):
    """A store in memory, whose records expire in simulated time."""

    _MIN_ENTRIES = 50_000

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._records: dict[bytes, tuple[bytes, float]] = {}
        self._max_entries = self._MIN_ENTRIES

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        records, now = self._records, self._clock.elapsed
        found = [records.get(key) for key in keys]
        answer, changes = rule([each and each[0] for each in found])
        for key, value, ttl_seconds in changes:
            records[key] = value, now + ttl_seconds
        if len(records) > self._max_entries:
            self._records = {key: each for key, each in records.items() if each[1] >= now}
            self._max_entries = max(2 * len(self._records), self._MIN_ENTRIES)
        on_done(answer, None)


class Postgrey:
    """A running postgrey, which takes its time from the request."""

    @property
    def why(self) -> str:
        return ""

    def __init__(self, client: PolicyClient, clock: SimulatedClock) -> None:
        self._client = client
        self._clock = clock

    async def passes(self, mail: Mail, host: Host) -> bool:
        self._client.send(encode(attributes(mail, host, self._clock.elapsed)))
        reply = self._client.reply()
        if reply is None:
            raise RuntimeError("postgrey has closed the connection")
        return not reply.startswith(b"action=DEFER_IF_PERMIT")

    async def learn(self, mail: Mail) -> None:
        """Do nothing: postgrey learns nothing from outbound mail."""
