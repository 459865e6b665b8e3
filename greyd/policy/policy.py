"""Decides on policy requests: exemptions, evidence, rules, reply."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd import __version__
from greyd.lru import LruCache
from greyd.policy.applied_settings import request_settings
from greyd.policy.completion import Completion, run
from greyd.policy.events import DecisionEvent, Transaction
from greyd.policy.outbound import OutboundMail
from greyd.policy.probe_answer import answer_probe
from greyd.policy.reply import DUNNO, STORE_AWAY, Replies
from greyd.rules.address import parse_address
from greyd.rules.control import ExpectedMail
from greyd.rules.evidence import NO_EVIDENCE, Evidence
from greyd.rules.greylist import (
    decide,
    decide_from_memory,
    decide_from_memory_with_unset_clock,
    decide_with_unset_clock,
)
from greyd.rules.keys import keys_to_read, keys_to_remember, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.records import RememberedRecords
from greyd.rules.site_rules.sender_proof import SenderProof
from greyd.runtime.clock import EARLIEST_TIME, SteadyClock
from greyd.store.errors import StoreError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.policy.applied_settings import AppliedSettings, RequestSettings
    from greyd.policy.evidence_sources import EvidenceCollector, SenderCheck
    from greyd.policy.observers import Observers
    from greyd.policy.pending_reply import PendingReply
    from greyd.rules.address import Address
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Remembered, Rule
    from greyd.store.contract import TransactionalStore
    from greyd.whitelist.entries import WhitelistEntry
    from greyd.whitelist.matcher import Whitelists

MAX_RECENT_INSTANCES = 10_000
"""Maximum number of messages to remember, so that no message gets the header twice."""

_REQUIRED = ("client_address", "client_name", "sender", "recipient")


class _Case:
    """A request, and the intermediate results of the decision on it."""

    __slots__ = (
        "applied", "asked_at", "evidence", "is_sender_denied", "mode", "recall_seconds", "request",
        "sender_proof", "settings", "started_at", "store_error", "store_seconds", "transaction",
        "whitelist_entry",
    )  # fmt: skip

    def __init__(self, request: Request, settings: Settings, mode: str) -> None:
        self.request = request
        self.settings = settings
        self.mode = mode
        self.applied: AppliedSettings | None = None
        self.started_at = time.perf_counter()
        self.asked_at = 0.0
        self.recall_seconds = 0.0
        self.whitelist_entry: WhitelistEntry | None = None
        self.evidence: Evidence | None = None
        self.is_sender_denied = False
        self.sender_proof: SenderProof | None = None
        self.transaction: Transaction | None = None
        self.store_seconds: float | None = None
        self.store_error: StoreError | None = None


class Policy:
    """Answers policy requests."""

    def __init__(
        self,
        settings: Settings,
        whitelists: Whitelists,
        store: TransactionalStore,
        observers: Observers,
        collector: EvidenceCollector | None = None,
    ) -> None:
        """Create a policy.

        Args:
            settings: the server's settings.
            whitelists: exempt clients and recipients.
            store: has the records of triplets, clients and identities.
            observers: get an event for each decision.
            collector: collects evidence about clients; None if no option needs it.
        """
        self.whitelists = whitelists
        """The whitelists in force; a reload replaces the whole object."""
        self.collector = collector
        """May be set later."""
        self.mode = settings.mode
        """The mode in force; ``ControlPoller`` changes it."""
        self.mode_is_overridden = False
        """Whether the mode is that of ``greyd mode``; ``ControlPoller`` changes it."""
        self.expected = ExpectedMail((), settings)
        """The open windows for expected mail; ``ControlPoller`` replaces them."""
        self.sender_check: SenderCheck | None = None
        """Checks the senders of expected mail and whitelisted ones; may be set later.

        Without it expected mail passes unchecked, and no sender is proven.
        """
        self.outbound = OutboundMail(settings, observers)
        """Learns from local users' mail."""
        self.clock = SteadyClock()
        """The time that decisions use."""
        self._settings = settings
        self._request_settings = request_settings(settings)
        self._store = store
        self._observers = observers
        self._replies = Replies.from_settings(settings, __version__)
        # The requests for one message may arrive on several connections, so all connections share
        # the recent instances.
        self._instances: LruCache[bool] = LruCache(MAX_RECENT_INSTANCES)

    def stop_lookups(self) -> None:
        """Stop collecting evidence and mail exchangers; the requests that wait are decided now."""
        for each in (self.collector, self.outbound.exchangers):
            if each is not None:
                each.close()

    def answer(self, request: Request, reply: PendingReply) -> None:
        """Answer a request, either at once or when evidence and records have been fetched.

        ``reply`` gets None if the attribute ``request`` is not ``smtpd_access_policy``.
        """
        case = _Case(request, self._settings, self.mode)
        run(self._decide(case), reply.send, lambda error: reply.send(self._fail(case, error)))

    async def _decide(self, case: _Case) -> bytes | None:  # noqa: C901 - the whole path in one place
        """Decide on a request, from its exemptions to its reply."""
        request, settings = case.request, case.settings
        if request.garbage is not None:
            self._observers.protocol_error("line without = ignored", request.garbage)
        if request.request != b"smtpd_access_policy":
            self._observers.protocol_error(
                "unknown request type, not answered", request.request or b"(none)"
            )
            self._observers.unanswered(request)
            return None
        if request.policy_context == b"outbound" and settings.learn_outbound:
            return await self._answer_outbound(case)

        address = parse_address(request.client_address or b"")
        if self._request_settings is not None:
            self._apply_settings(case, address, self._request_settings)
        if (reason := self._exemption(case, address)) is not None:
            if reason is Reason.AUTHENTICATED and request.greyd_probe is not None:
                self._observers.probed(request)
                return await answer_probe(
                    request, address, case.mode, case.settings, self._store, self.now(request)
                )
            return self._pass(case, reason)
        if self.expected and await self._is_expected(case, address):
            return self._pass(case, Reason.EXPECTED)
        if address is None:
            self._observers.protocol_error(
                "client_address is no IP address, passing the mail", request.client_address or b""
            )
            return self._pass(case, Reason.CLIENT_ADDRESS)
        if case.applied is not None:
            case.evidence = case.applied.complete(None)

        try:
            if self.collector is None and not settings.whitelist_senders:
                case.transaction = await self._run_rules(case, address)
            else:
                case.transaction = await self._run_with_evidence(case, address)
        except StoreError as error:
            case.store_error = error
        case.store_seconds = case.recall_seconds + time.perf_counter() - case.asked_at
        if case.transaction is None or (decision := case.transaction.decision) is None:
            return self._reply_without_store(case)
        if decision.whitelisted or decision.identity_whitelisted:
            self._observers.auto_whitelisted(case.request, decision, case.evidence)
        if decision.passes:
            return self._reply_passing(case, decision)
        return self._reply_greylisted(case, decision)

    async def _answer_outbound(self, case: _Case) -> bytes:
        """Let a local user's mail pass, and store the correspondence."""
        request = case.request
        logins = self.whitelists.sender_logins
        lesson = await self.outbound.lesson(request, logins, self.now(request))
        if lesson.keys:
            try:
                case.transaction = await self._transact(case, lesson.keys, lesson.store)
            except StoreError as error:
                case.store_error = error
            case.store_seconds = time.perf_counter() - case.asked_at
        return self._pass(case, Reason.OUTBOUND, lesson.detail)

    def _apply_settings(
        self, case: _Case, address: Address | None, request_settings: RequestSettings
    ) -> None:
        """Use the settings that apply to this request from now on."""
        applied = request_settings.of(
            case.request,
            address,
            self.whitelists,
            self.mode,
            mode_is_overridden=self.mode_is_overridden,
        )
        case.applied, case.settings, case.mode = applied, applied.settings, applied.mode

    # Exemptions ---------------------------------------------------------------------------------

    def _exemption(self, case: _Case, address: Address | None) -> Reason | None:
        """Return the reason if a request passes without evidence and rules, else None."""
        request = case.request
        if None in (
            request.client_address,
            request.client_name,
            request.sender,
            request.recipient,
        ):
            missing = ", ".join(name for name in _REQUIRED if getattr(request, name) is None)
            self._observers.protocol_error(f"attribute missing, passing the mail: {missing}")
            return Reason.MISSING_ATTRIBUTE
        if request.sasl_username:
            return Reason.AUTHENTICATED
        if entry := self.whitelists.match_client(request.client_name or b"", address):
            case.whitelist_entry = entry
            return Reason.CLIENT_WHITELIST
        if entry := self.whitelists.match_recipient(request.recipient or b""):
            case.whitelist_entry = entry
            return Reason.RECIPIENT_WHITELIST
        if case.mode == "off":
            return Reason.MODE_OFF
        return None

    async def _is_expected(self, case: _Case, address: Address | None) -> bool:
        """Whether a window lets the request pass: one for any sender, or for a sender not forged.

        Only a window for a sender's domain needs the check, because only its mail claims a sender.
        """
        request = case.request
        sender, recipient = request.sender or b"", request.recipient or b""
        windows = self.expected.windows_for(sender, recipient, self.now(request))
        domains = {each.sender_domain for each in windows}
        if not domains or "" in domains or self.sender_check is None or address is None:
            return bool(domains)
        # The shortest name is the domain that is above all the others.
        domain = min(domains, key=len).encode(errors="surrogateescape")
        denied: Completion[bool] = Completion()
        self.sender_check.check(request, address, domain, denied.complete)
        case.is_sender_denied = await denied
        return not case.is_sender_denied

    # Evidence and store -------------------------------------------------------------------------

    async def _run_with_evidence(self, case: _Case, address: Address) -> Transaction:
        """Run the rules; collect evidence first, unless memory is enough for the request to pass.

        So known mail costs no DNS query, and waits for no DNS server.
        """
        request, applied = case.request, case.applied
        collector = self.collector if applied is None or case.settings.needs_evidence else None
        entry = None
        if self._settings.whitelist_senders:
            entry = self.whitelists.match_sender(request.sender or b"")
        if collector is None and entry is None:
            return await self._run_rules(case, address)
        recalled = await self._recall(case, address)
        if recalled.decision is not None:
            return recalled
        case.recall_seconds = time.perf_counter() - case.asked_at
        # The proof and the other evidence are collected concurrently, and share the deadline.
        proof = self._prove_sender(request, address) if entry is not None else None
        if collector is not None:
            evidence = await self._collect(collector, request, address)
            case.evidence = applied.complete(evidence) if applied is not None else evidence
        if proof is not None:
            case.sender_proof = await proof
            if case.sender_proof.way:
                evidence = case.evidence or Evidence()
                case.evidence = replace(evidence, exemption=Reason.SENDER_WHITELIST)
        transaction = await self._run_rules(case, address)
        if transaction.decision and transaction.decision.reason is Reason.SENDER_WHITELIST:
            case.whitelist_entry = entry
        return transaction

    def _prove_sender(self, request: Request, address: Address) -> Completion[SenderProof]:
        proof: Completion[SenderProof] = Completion()
        if self.sender_check is None:
            proof.complete(SenderProof(missing="no sender check is available"))
        else:
            self.sender_check.prove(request, address, proof.complete)
        return proof

    def _collect(
        self, collector: EvidenceCollector, request: Request, address: Address
    ) -> Completion[Evidence]:
        evidence: Completion[Evidence] = Completion()
        collector.collect(request, address, evidence.complete)
        return evidence

    def _recall(self, case: _Case, address: Address) -> Completion[Transaction]:
        """Decide from the records of the client's network and group; the decision may be None."""
        request, settings = case.request, case.settings
        keys = request_keys(
            address, request.sender or b"", request.recipient or b"", settings, case.evidence
        )
        wanted = keys_to_remember(keys, settings)
        now = self.now(request)
        is_clock_set = now >= EARLIEST_TIME
        decide_now = decide_from_memory if is_clock_set else decide_from_memory_with_unset_clock

        def rule(remembered: Remembered) -> tuple[Transaction, Sequence[Change]]:
            records = RememberedRecords.under(wanted, remembered)
            decision, changes = decide_now(keys, records, now, settings)
            return Transaction(wanted, remembered, decision, changes), changes

        return self._transact(case, wanted, rule)

    def _run_rules(self, case: _Case, address: Address) -> Completion[Transaction]:
        """Run the rules of greylisting in a transaction on the request's records."""
        request, settings = case.request, case.settings
        evidence = case.evidence or NO_EVIDENCE
        keys = request_keys(
            address, request.sender or b"", request.recipient or b"", settings, evidence
        )
        wanted = keys_to_read(keys, settings)
        now = self.now(request)
        decide_now = decide if now >= EARLIEST_TIME else decide_with_unset_clock

        def rule(remembered: Remembered) -> tuple[Transaction, Sequence[Change]]:
            if keys.identities:
                records = RememberedRecords.under(wanted, remembered)
            else:
                records = RememberedRecords(*remembered)  # type: ignore[arg-type] # at most two
            decision, changes = decide_now(keys, records, now, settings, evidence)
            return Transaction(wanted, remembered, decision, changes), changes

        return self._transact(case, wanted, rule)

    def _transact(
        self, case: _Case, keys: Sequence[bytes], rule: Rule[Transaction]
    ) -> Completion[Transaction]:
        completion: Completion[Transaction] = Completion()
        case.asked_at = time.perf_counter()
        self._store.begin(keys, rule, completion.complete)
        return completion

    # Replies ------------------------------------------------------------------------------------

    def _reply_passing(self, case: _Case, decision: Decision) -> bytes:
        if not decision.first_pass or case.mode == "learn":
            return self._pass(case, decision.reason)
        waited = decision.waited_seconds
        # If the delay depends on the request, mail that did not have to wait gets no header.
        wants_header = waited or not case.settings.delay_varies
        if not wants_header or not self._is_first_of_message(case.request):
            return self._pass(case, decision.reason, waited_seconds=waited)
        action = self._replies.prepend_header(waited, time.time())
        return self._finish(
            case, decision.reason, action, delay_seconds=waited, waited_seconds=waited
        )

    def _reply_greylisted(self, case: _Case, decision: Decision) -> bytes:
        detail = f" ({decision.missing_seconds}s missing)" if decision.waited_seconds else ""
        if case.mode == "learn":
            return self._pass(case, Reason.LEARNING, f" ({decision.reason.text}{detail})")
        action = self._replies.greylisted(case.request, decision.missing_seconds)
        return self._finish(case, decision.reason, action, detail)

    def _reply_without_store(self, case: _Case) -> bytes:
        # A full store does not recover by itself, so deferring would refuse all new mail.
        is_full = isinstance(case.store_error, StoreFullError)
        if self._settings.on_store_failure == "pass" or case.mode == "learn" or is_full:
            return self._pass(case, Reason.PASSED_WITHOUT_STORE)
        return self._finish(case, Reason.DEFERRED_WITHOUT_STORE, STORE_AWAY)

    def _fail(self, case: _Case, error: Exception) -> bytes:
        """Let a request pass after an internal error of greyd, and observe the error."""
        self._observers.internal_error("requests", error, "the mail passes")
        return self._pass(case, Reason.INTERNAL_ERROR)

    def _pass(
        self, case: _Case, reason: Reason, detail: str = "", waited_seconds: int | None = None
    ) -> bytes:
        return self._finish(case, reason, DUNNO, detail, None, waited_seconds)

    def _finish(
        self,
        case: _Case,
        reason: Reason,
        reply: bytes,
        detail: str = "",
        delay_seconds: int | None = None,
        waited_seconds: int | None = None,
    ) -> bytes:
        """Pass the decision to the observers, and return the reply."""
        self._observers.decided(
            DecisionEvent(
                case.request,
                reason,
                time.perf_counter() - case.started_at,
                reply,
                detail,
                delay_seconds,
                waited_seconds,
                case.whitelist_entry,
                case.evidence,
                case.transaction,
                case.store_seconds,
                case.store_error,
                case.is_sender_denied,
                case.applied,
                case.sender_proof,
            )
        )
        return reply

    def _is_first_of_message(self, request: Request) -> bool:
        """Whether the header has not yet been added to this message for another recipient."""
        if request.instance is None:
            return True
        if self._instances.get(request.instance):
            return False
        self._instances.put(request.instance, True)
        return True

    def now(self, request: Request) -> int:
        """Return the time of the decision on a request, in seconds since 1970."""
        if self._settings.test_time and request.policy_test_time:
            digits = request.policy_test_time
            if digits.isdigit() and len(digits) <= 12:
                return int(digits)
        return int(self.clock.now())
