"""Applies the server's policy to a request, and collects the facts that explain the decision."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.cli.explain.alternatives import DNS_ANSWERS, Alternative, find_alternatives
from greyd.cli.explain.client_names import complete_names
from greyd.cli.explain.dns_trace import SilentLookup
from greyd.cli.explain.explained_request import ExplainedRequest
from greyd.policy.dry_run import dry_run
from greyd.rules.evidence import ProvenIdentity
from greyd.rules.hostnames import domain_of, normal_name, organisation_of
from greyd.rules.site_rules.sender_proof import SenderProof

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.cli.explain.client_names import ClientNames
    from greyd.cli.explain.dns_trace import RecordingLookup
    from greyd.cli.explain.probed_sources import ProbingCollector
    from greyd.cli.explain.request_input import RequestInput
    from greyd.config.settings import Settings
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.policy.dry_run import DryRun, Readable
    from greyd.policy.evidence_sources import EvidenceCollector, SenderCheck
    from greyd.rules.address import Address
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request
    from greyd.whitelist.files import WhitelistContents
    from greyd.whitelist.matcher import Whitelists


class Examiner:
    """Examines one request with a server's settings, whitelists, store and DNS."""

    def __init__(
        self,
        settings: Settings,
        files: WhitelistContents,
        store: Readable,
        lookup: RecordingLookup,
        collector: DnsEvidenceCollector | ProbingCollector | None,
        sender_check: SenderCheck | None = None,
    ) -> None:
        """Create an examiner.

        Args:
            settings: the server's settings, with a host name.
            files: the server's whitelist files.
            store: the server's store.
            lookup: queries the DNS, and records the queries.
            collector: collects evidence with ``lookup``; None if the settings need none.
            sender_check: checks the senders of expected mail with ``lookup``.
        """
        self._settings = settings
        self._files = files
        self._whitelists: Whitelists = files.whitelists()
        self._store = store
        self._lookup = lookup
        self._collector = collector
        self._sender_check = sender_check

    async def examine(self, given: RequestInput) -> ExplainedRequest:
        """Return a request, the server's decision on it, and all facts that explain it.

        Raises:
            CommandError: the input is not a request.
        """
        settings = self._settings
        names = await complete_names(given, settings, self._lookup)
        is_name_missing = "client_name" in names.missing
        request = given.parse(names.attributes, settings)
        name_failures = [each for each in self._lookup.queries if not each.is_answered]
        self._lookup.queries.clear()
        collector: EvidenceCollector | None = self._collector
        if self._collector is not None and (names.logged_signals or names.logged_identity):
            identity = names.logged_identity if settings.identity else b""
            collector = _WithLoggedEvidence(self._collector, names, identity)
        result = await self._decide(request, collector)
        queries = tuple(self._lookup.queries)
        alternatives: tuple[Alternative, ...] = ()
        if result.evidence_collected and isinstance(self._lookup, SilentLookup):
            names.missing.append(DNS_ANSWERS)
        if names.missing and result.evidence_collected:
            alternatives = await self._alternatives(given, names, request, result)
        if isinstance(self._lookup, SilentLookup) and result.lacks_sender_proof:
            names.missing[:] = dict.fromkeys((*names.missing, DNS_ANSWERS))
            alternatives = await self._with_sender_proof(request, collector, result, alternatives)
        return ExplainedRequest(
            request=request,
            settings=result.applied.settings if result.applied else settings,
            files=self._files,
            whitelists=self._whitelists,
            dry_run=result,
            resolved_name=names.resolved,
            is_name_missing=is_name_missing,
            unanswered_names=names.unanswered,
            name_failures=name_failures,
            is_without_dns=isinstance(self._lookup, SilentLookup),
            host=given.host,
            queries=queries,
            missing=tuple(names.missing),
            alternatives=alternatives,
            logged=given.decision,
        )

    async def _decide(self, request: Request, collector: EvidenceCollector | None) -> DryRun:
        return await dry_run(
            request, self._settings, self._whitelists, self._store, collector, self._sender_check
        )

    async def _alternatives(
        self, given: RequestInput, names: ClientNames, request: Request, result: DryRun
    ) -> tuple[Alternative, ...]:
        """Return the decisions for all kinds of the missing attributes; empty if all are equal."""
        variants = [("names without a signal", result.evidence)]
        if DNS_ANSWERS in names.missing:
            answered = replace(result.evidence, unsure=False, resolver_off=False)
            variants = [
                ("names and answers from DNS without a signal", answered),
                ("no answer from DNS", result.evidence),
            ]
        if "helo_name" in names.missing and names.attributes["client_name"] != b"unknown":
            likely = {**names.attributes, "helo_name": names.attributes["client_name"]}
            with_helo = await self._decide(given.parse(likely, self._settings), self._collector)
            variants.append(("the client's name as its HELO name", with_helo.evidence))
        return await find_alternatives(
            names.missing,
            self._settings,
            variants,
            lambda evidence: self._decide(request, _KnownEvidence(evidence)),
        )

    async def _with_sender_proof(
        self,
        request: Request,
        collector: EvidenceCollector | None,
        result: DryRun,
        alternatives: tuple[Alternative, ...],
    ) -> tuple[Alternative, ...]:
        """Add the decision that an SPF pass would cause for a whitelisted sender."""
        proven = await dry_run(
            request, self._settings, self._whitelists, self._store, collector, _SenderIsProven()
        )
        if result.reason is None or proven.reason is None:
            return alternatives
        without = Alternative("no SPF pass for the sender", result.reason, result.detail)
        passed = Alternative("an SPF pass for the sender", proven.reason, proven.detail)
        return (*(alternatives or (without,)), passed)


class _SenderIsProven:
    """A sender check that treats every sender as proven."""

    def check(
        self,
        _request: Request,
        _address: Address,
        _domain: bytes,
        on_result: Callable[[bool], None],
    ) -> None:
        on_result(False)

    def prove(
        self, _request: Request, _address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        on_result(SenderProof("spf"))

    def close(self) -> None:
        """Do nothing: nothing is pending."""


class _KnownEvidence:
    """Returns evidence that was collected before."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def collect(
        self, _request: Request, _address: Address, found: Callable[[Evidence], None]
    ) -> None:
        found(self._evidence)

    def close(self) -> None:
        """Do nothing: nothing is pending."""


class _WithLoggedEvidence:
    """Adds what the log line has to the evidence: signals and identity by missing attributes."""

    def __init__(
        self,
        collector: DnsEvidenceCollector | ProbingCollector,
        names: ClientNames,
        identity: bytes,
    ) -> None:
        self._collector = collector
        self._signals = names.logged_signals
        self._organisation = identity
        self._was_vouched = names.was_vouched

    def collect(
        self, request: Request, address: Address, found: Callable[[Evidence], None]
    ) -> None:
        def add(evidence: Evidence) -> None:
            identities = evidence.identities
            if self._organisation not in (b"", *(each.organisation for each in identities)):
                identities = (self._identity(request), *identities)
            vouched = evidence.is_vouched or self._was_vouched
            found(replace(evidence, identities=identities, is_vouched=vouched))

        self._collector.collect(request, address, add, self._signals)

    def _identity(self, request: Request) -> ProvenIdentity:
        """Return the logged identity; the line does not name the proof."""
        is_owner = self._organisation == organisation_of(domain_of(request.sender or b""))
        is_clients = self._organisation == organisation_of(normal_name(request.client_name))
        way = "name" if is_clients and request.sender and not is_owner else "spf"
        return ProvenIdentity(self._organisation, way, is_owner)

    def close(self) -> None:
        self._collector.close()
