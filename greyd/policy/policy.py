"""One request's way, from what Postfix asks to what it is told."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from greyd import __version__
from greyd.lru import LruCache
from greyd.policy.reply import DUNNO, STORE_AWAY, Replies
from greyd.rules.address import parse_address
from greyd.rules.control import ExpectedMail
from greyd.rules.evidence import NO_EVIDENCE, Evidence
from greyd.rules.greylist import decide, decide_with_unset_clock, note_correspondence
from greyd.rules.keys import correspondence_key, keys_to_read, request_keys
from greyd.rules.reasons import GREYLIST, PASS
from greyd.runtime.clock import EARLIEST_TIME, SteadyClock
from greyd.store.errors import StoreError, StoreFullError
from greyd.whitelist.hits import HitCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.observer import Observer
    from greyd.policy.pending_reply import PendingReply
    from greyd.rules.address import Address
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import TransactionalStore
    from greyd.whitelist.matcher import Whitelists

RECENT_INSTANCES = 10_000
"""Messages of which it is remembered that they carry the header already."""

_REQUIRED = ("client_address", "client_name", "sender", "recipient")


class EvidenceCollector(Protocol):
    """Collects evidence about a client, e.g. from DNS."""

    def collect(
        self, request: Request, address: Address, found: Callable[[Evidence], None]
    ) -> None:
        """Call ``found`` once, with what is known by the deadline; never with an error."""

    def close(self) -> None:
        """Collect nothing more: pending and later calls of ``found`` come at once."""


class _Case(NamedTuple):
    """A request on its way."""

    request: Request
    reply: PendingReply
    started: float
    evidence: Evidence = NO_EVIDENCE


class Policy:
    """Answers requests."""

    def __init__(
        self,
        settings: Settings,
        whitelists: Whitelists,
        store: TransactionalStore,
        observer: Observer,
        collector: EvidenceCollector | None = None,
    ) -> None:
        """Answer by ``settings``; ``collector`` is asked where more of a client is to be known."""
        self.whitelists = whitelists
        """In force; to be replaced as a whole."""
        self.collector = collector
        """Asked about each client that no list lets pass; may be set later."""
        self.hits = HitCounter()
        """Of the whitelists' entries."""
        self.mode = settings.mode
        """In force; may be told otherwise while it runs."""
        self.expected = ExpectedMail((), settings)
        """The mail that is awaited; to be replaced as a whole."""
        self.clock = SteadyClock()
        """Tells the time that decisions go by."""
        self._settings = settings
        self._store = store
        self._observer = observer
        self._replies = Replies.from_settings(settings, __version__)
        # A message's recipients may come over several connections, so recent instances are
        # remembered for the whole process.
        self._instances: LruCache[bool] = LruCache(RECENT_INSTANCES)

    def answer(self, request: Request, reply: PendingReply) -> None:
        """Answer a request, at once or when the store has decided.

        ``reply`` gets None if the request is not one for a policy server.
        """
        case = _Case(request, reply, time.perf_counter())
        if request.garbage is not None:
            self._observer.protocol_error("line without = ignored", request.garbage)
        if request.request != b"smtpd_access_policy":
            self._observer.protocol_error(
                "unknown request type, not answered", request.request or b"(none)"
            )
            reply.send(None)
            return
        if request.policy_context == b"outbound" and self._settings.learn_outbound:
            self._learn(case)
            return
        address = parse_address(request.client_address or b"")
        reason = self._exemption(request, address)
        if reason or address is None:
            reply.send(self._pass(case, reason))
        elif self.collector is None:
            self._weigh(case, address)
        else:
            self.collector.collect(request, address, partial(self._weigh_with, case, address))

    def _weigh_with(self, case: _Case, address: Address, evidence: Evidence) -> None:
        """Go on with a request when it is known who asks."""
        try:
            case = case._replace(evidence=evidence)
            self._observer.evidence_collected(evidence)
            reason = evidence.exemption
            if not reason and self._settings.greylist == "suspicious" and evidence.is_clean:
                reason = "not suspicious"
            if reason:
                case.reply.send(self._pass(case, reason))
            else:
                self._weigh(case, address)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not stop the mail
            case.reply.send(self.failed(case.request, fault))

    def _weigh(self, case: _Case, address: Address) -> None:
        """Decide by what is remembered."""
        request, settings, evidence = case.request, self._settings, case.evidence
        keys = request_keys(
            address, request.sender or b"", request.recipient or b"", settings, evidence
        )
        now = self.now(request)
        rule = decide if now >= EARLIEST_TIME else decide_with_unset_clock
        self._store.begin(
            keys_to_read(keys, settings),
            lambda remembered: rule(keys, remembered, now, settings, evidence),
            partial(self._decided, case, time.perf_counter()),
        )

    def _decided(
        self, case: _Case, asked: float, decision: Decision, error: Exception | None
    ) -> None:
        """Go on with a request when the store has decided, or could not."""
        self._observer.stored(time.perf_counter() - asked)
        try:
            if isinstance(error, StoreError):
                self._observer.metrics.store_errors.inc()
                action = self._without_store(case, is_full=isinstance(error, StoreFullError))
            elif error is not None:
                raise error
            else:
                action = self._carry_out(case, decision)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not stop the mail
            action = self.failed(case.request, fault)
        case.reply.send(action)

    def failed(self, request: Request, error: Exception) -> bytes:
        """Let a request pass that a fault of greyd's own has hit."""
        self._observer.failed(request, error)
        return DUNNO

    def _learn(self, case: _Case) -> None:
        """Remember whom one of our users writes to; the mail itself passes whatever happens."""
        request, settings = case.request, self._settings
        if not (request.sasl_username and request.sender and request.recipient):
            case.reply.send(self._pass(case, "outbound"))
            return
        key = correspondence_key(request.recipient, request.sender, settings)
        change = note_correspondence(key, self.now(request), settings)

        def note(_remembered: Remembered) -> tuple[None, Sequence[Change]]:
            return None, [change]

        self._store.begin([key], note, partial(self._learned, case, time.perf_counter()))

    def _learned(self, case: _Case, asked: float, _: None, error: Exception | None) -> None:
        self._observer.stored(time.perf_counter() - asked)
        if error is not None:
            self._observer.metrics.store_errors.inc()
        case.reply.send(self._pass(case, "outbound"))

    def _exemption(self, request: Request, address: Address | None) -> str:
        """Return why a request passes whatever the store may say; empty where nothing says so."""
        if None in (
            request.client_address,
            request.client_name,
            request.sender,
            request.recipient,
        ):
            missing = ", ".join(name for name in _REQUIRED if getattr(request, name) is None)
            self._observer.protocol_error(f"attribute missing, passing the mail: {missing}")
            return "missing attribute"
        if request.sasl_username:
            return "authenticated"
        if entry := self.whitelists.match_client(request.client_name or b"", address):
            self._observer.metrics.whitelist_hits["clients"].inc()
            self.hits.clients.add(entry.text)
            return "client whitelist"
        if entry := self.whitelists.match_recipient(request.recipient or b""):
            self._observer.metrics.whitelist_hits["recipients"].inc()
            self.hits.recipients.add(entry.text)
            return "recipient whitelist"
        if self.mode == "off":
            return "mode off"
        if self.expected and self._is_expected(request):
            return "expected"
        if address is None:
            self._observer.protocol_error(
                "client_address is no IP address, passing the mail", request.client_address or b""
            )
            return "client address"
        return ""

    def _is_expected(self, request: Request) -> bool:
        sender, recipient = request.sender or b"", request.recipient or b""
        return self.expected.matches(sender, recipient, self.now(request))

    def _carry_out(self, case: _Case, decision: Decision) -> bytes:
        if decision.whitelisted:
            self._observer.whitelisted(case.request)
        if decision.identity_whitelisted:
            self._observer.whitelisted_identity(case.evidence.identity)
        if decision.passes:
            return self._let_pass(case, decision)
        detail = f" ({decision.missing_seconds}s missing)" if decision.waited_seconds else ""
        if self.mode == "learn":
            return self._pass(case, "learning", f" ({decision.reason}{detail})")
        self._tell_of(case, GREYLIST, decision.reason, detail)
        return self._replies.greylisted(case.request, decision.missing_seconds)

    def _let_pass(self, case: _Case, decision: Decision) -> bytes:
        if not decision.first_pass or self.mode == "learn":
            return self._pass(case, decision.reason)
        self._observer.passed_first(decision.waited_seconds)
        # With a delay that depends on the request, mail that had not to wait says nothing of it.
        waited = decision.waited_seconds or not self._settings.delay_varies
        if not waited or not self._is_first_of_message(case.request):
            return self._pass(case, decision.reason)
        self._pass(case, decision.reason, delay_seconds=decision.waited_seconds)
        return self._replies.prepend_header(decision.waited_seconds, time.time())

    def _without_store(self, case: _Case, *, is_full: bool) -> bytes:
        # While learning nothing is deferred; and a full store, unlike one that is away, does not
        # come back by itself, so that deferring would refuse all new mail.
        if self._settings.on_store_failure == "pass" or self.mode == "learn" or is_full:
            return self._pass(case, "store unavailable")
        self._tell_of(case, GREYLIST, "store unavailable")
        return STORE_AWAY

    def _pass(
        self, case: _Case, reason: str, detail: str = "", delay_seconds: int | None = None
    ) -> bytes:
        self._tell_of(case, PASS, reason, detail, delay_seconds)
        return DUNNO

    def _tell_of(
        self,
        case: _Case,
        action: str,
        reason: str,
        detail: str = "",
        delay_seconds: int | None = None,
    ) -> None:
        request, _, started, evidence = case
        seconds = time.perf_counter() - started
        self._observer.answered(request, action, reason, seconds, detail, delay_seconds, evidence)

    def _is_first_of_message(self, request: Request) -> bool:
        """Whether no other recipient of this message has brought it the header yet."""
        if request.instance is None:
            return True
        if self._instances.get(request.instance):
            return False
        self._instances.put(request.instance, True)
        return True

    def now(self, request: Request) -> int:
        """Return the time that counts for a request."""
        if self._settings.test_time and request.policy_test_time:
            digits = request.policy_test_time
            if digits.isdigit() and len(digits) <= 12:
                return int(digits)
        return int(self.clock.now())
