"""A request that is explained, with everything that its steps are described from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.address import parse_address
from greyd.rules.keys import request_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.dns_trace import DnsQuery, ResolvedName
    from greyd.config.settings import Settings
    from greyd.policy.dry_run import DryRun
    from greyd.rules.address import Address
    from greyd.rules.keys import Keys
    from greyd.rules.reasons import Reason
    from greyd.rules.request import Request
    from greyd.whitelist.files import WhitelistContents
    from greyd.whitelist.matcher import Whitelists


@dataclass(frozen=True)
class ExplainedRequest:
    """A request, and what is known about it."""

    request: Request
    settings: Settings
    files: WhitelistContents
    whitelists: Whitelists
    dry_run: DryRun
    resolved_name: ResolvedName | None = None
    """The client's name in DNS now, if Postfix did not know one."""
    queries: Sequence[DnsQuery] = ()
    """The DNS queries of the policy's evidence collector."""
    is_undecided: bool = False
    """The decision depends on the store, which cannot be opened."""

    @property
    def reason(self) -> Reason | None:
        """The policy's reason; None for a request that it does not answer."""
        return self.dry_run.reason

    @property
    def address(self) -> Address | None:
        """The client's address; None for an invalid one."""
        return parse_address(self.request.client_address or b"")

    @property
    def keys(self) -> Keys | None:
        """The keys that the request has in the store; None for an invalid address."""
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
        """Return what is stored under a key."""
        record = self.dry_run.records.get(key)
        return record.value if record else None
