"""A request to explain, with all facts that the descriptions of the steps need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.address import parse_address
from greyd.rules.keys import request_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.alternatives import Alternative
    from greyd.cli.explain.dns_trace import DnsQuery
    from greyd.config.settings import Settings
    from greyd.dns.reverse_names import ResolvedName
    from greyd.dns.sources.faults import SourceFault
    from greyd.maillog.decisions import LoggedDecision
    from greyd.policy.applied_settings import AppliedSettings
    from greyd.policy.dry_run import DryRun
    from greyd.rules.address import Address
    from greyd.rules.keys import Keys
    from greyd.rules.reasons import Reason
    from greyd.rules.request import Request
    from greyd.whitelist.files import WhitelistContents
    from greyd.whitelist.matcher import Whitelists


@dataclass(frozen=True)
class ExplainedRequest:
    """A request with its settings, its whitelists and the policy's dry run."""

    request: Request
    settings: Settings
    """The settings that apply to this request."""
    files: WhitelistContents
    whitelists: Whitelists
    dry_run: DryRun
    resolved_name: ResolvedName | None = None
    """The client's current name in DNS, if the request has none."""
    is_name_missing: bool = False
    """Whether the input has no name of the client, and DNS gave none: the request says unknown."""
    unanswered_names: Sequence[bytes] = ()
    """The names of the address of which DNS did not say whether they resolve back to it."""
    name_failures: Sequence[DnsQuery] = ()
    """The queries for the client's name or address that DNS did not answer."""
    is_without_dns: bool = False
    """Whether no DNS query was sent, as ``--no-dns`` says."""
    host: bytes = b""
    """The client's name, if the input has no address and DNS gave none; otherwise empty."""
    queries: Sequence[DnsQuery] = ()
    """The DNS queries of the policy's evidence collector."""
    source_faults: Sequence[SourceFault] = ()
    """The faults of the DNS lists and the resolver that are out of order now."""
    missing: Sequence[str] = ()
    """The attributes that may change the decision, but that the input does not have."""
    alternatives: Sequence[Alternative] = ()
    """The different decisions for each kind of the missing attributes; empty if all are equal."""
    logged: LoggedDecision | None = None
    """The server's decision then, if the request comes from its log."""
    is_undecided: bool = False
    """Whether the decision is unknown because the store, which it depends on, cannot be opened."""

    @property
    def reason(self) -> Reason | None:
        """The policy's reason; None for a request that the policy does not answer."""
        return self.dry_run.reason

    @property
    def applied(self) -> AppliedSettings | None:
        """What applies to this request, but not to all; None if all have the same settings."""
        return self.dry_run.applied

    @property
    def address(self) -> Address | None:
        """The client's address; None if it is invalid."""
        return parse_address(self.request.client_address or b"")

    @property
    def keys(self) -> Keys | None:
        """The keys of the request's entries in the store; None if the client address is invalid."""
        request, address = self.request, self.address
        if address is None:
            return None
        return request_keys(
            address,
            request.sender or b"",
            request.recipient or b"",
            self.settings,
            self.dry_run.evidence,
        )

    def value(self, key: bytes) -> bytes | None:
        """Return the value stored under a key; None if the store has no entry."""
        record = self.dry_run.records.get(key)
        return record.value if record else None
