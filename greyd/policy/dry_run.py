"""A dry run: the reply that a server would send to a request, without any change to the store.

The server's own policy decides. Its store is read-only, and its only observer records the decision.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from greyd.policy.control_poller import ControlPoller
from greyd.policy.observers import Observer, Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.rules.control import Control
from greyd.rules.evidence import NO_EVIDENCE
from greyd.runtime.clock import SteadyClock
from greyd.store.contract import TransactionalStore, call_when_done

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.policy.applied_settings import AppliedSettings
    from greyd.policy.events import DecisionEvent
    from greyd.policy.evidence_sources import EvidenceCollector, SenderCheck
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.reasons import Reason
    from greyd.rules.request import Request
    from greyd.rules.site_rules.sender_proof import SenderProof
    from greyd.rules.transaction import Change, Record, Rule
    from greyd.store.contract import DoneCallback
    from greyd.whitelist.matcher import Whitelists


class Readable(Protocol):
    """A store that a dry run can read."""

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``; None without one."""


@dataclass
class DryRun:
    """The reply to a request, and the data on which the decision is based."""

    reply: bytes | None = None
    """The action of access(5) and its text; None for a request that gets no reply."""
    event: DecisionEvent | None = None
    """The policy's decision; None for a request that gets no reply."""
    mode: str = ""
    """The mode in force."""
    control: Control = field(default_factory=Control)
    """The content of the control record."""
    now: int = 0
    """The time of the decision, in seconds since 1970."""
    records: dict[bytes, Record | None] = field(default_factory=dict)
    """The entries that the rules have read, by key; None for a key without an entry."""

    @property
    def reason(self) -> Reason | None:
        """The reason why the request passes or is greylisted; None without a reply."""
        return self.event.reason if self.event else None

    @property
    def detail(self) -> str:
        """The text that the log adds to the reason."""
        return self.event.detail if self.event else ""

    @property
    def evidence(self) -> Evidence:
        """The evidence about the client; ``NO_EVIDENCE`` if none was collected."""
        return (self.event and self.event.evidence) or NO_EVIDENCE

    @property
    def evidence_collected(self) -> bool:
        """Whether the policy has collected evidence."""
        return self.event is not None and self.event.evidence is not None

    @property
    def applied(self) -> AppliedSettings | None:
        """The settings that apply to this request; None if they are the same for all requests."""
        return self.event.applied if self.event else None

    @property
    def sender_proof(self) -> SenderProof | None:
        """Whether the whitelisted sender was proven; None if that was not checked."""
        return self.event.sender_proof if self.event else None

    @property
    def lacks_sender_proof(self) -> bool:
        """Whether the sender is whitelisted, but was not proven."""
        return self.sender_proof is not None and not self.sender_proof.way

    @property
    def is_sender_denied(self) -> bool:
        """Whether the mail is expected from this sender, but SPF denies the client."""
        return self.event is not None and self.event.is_sender_denied

    @property
    def decision(self) -> Decision | None:
        """The decision of the rules; None if an exemption decided, or the store failed."""
        transaction = self.event and self.event.transaction
        return transaction.decision if transaction else None

    @property
    def changes(self) -> Sequence[Change]:
        """The changes that the server would store."""
        transaction = self.event and self.event.transaction
        return transaction.changes if transaction else ()

    @property
    def store_error(self) -> str:
        """The reason why the store could not be read; empty without an error."""
        error = self.event and self.event.store_error
        return str(error) if error else ""


async def dry_run(
    request: Request,
    settings: Settings,
    whitelists: Whitelists,
    store: Readable,
    collector: EvidenceCollector | None,
    sender_check: SenderCheck | None = None,
) -> DryRun:
    """Return the reply that a server with these settings would send to the request now."""
    result = DryRun()
    read_only = _ReadOnlyStore(store, result.records)
    policy = Policy(settings, whitelists, read_only, Observers(_Recorder(result)), collector)
    policy.sender_check = sender_check
    poller = ControlPoller(settings, _ReadOnlyStore(store, {}), policy, Observers())
    await poller.poll()
    result.control = poller.control
    now = policy.now(request)
    result.mode, result.now = policy.mode, now
    # The decision uses this time, too: DNS queries may take longer than a second.
    policy.clock = SteadyClock(wall=lambda: float(now), elapsed=lambda: 0.0)
    reply: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    policy.answer(request, PendingReply(reply.set_result))
    result.reply = await reply
    return result


class _Recorder(Observer):
    """Records the decision."""

    def __init__(self, result: DryRun) -> None:
        self._result = result

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        (self._result.event,) = events


class _ReadOnlyStore(TransactionalStore):
    """Runs rules on the entries of a store, records the entries, and discards the changes."""

    def __init__(self, store: Readable, records: dict[bytes, Record | None]) -> None:
        self._store = store
        self._records = records

    def begin(self, keys: Sequence[bytes], rule: Rule[Any], done: DoneCallback) -> None:
        call_when_done(self._run(keys, rule), done)

    async def _run(self, keys: Sequence[bytes], rule: Rule[Any]) -> Any:
        records = [await self._store.get(key) for key in keys]
        self._records.update(zip(keys, records, strict=True))
        answer, _ = rule([None if record is None else record.value for record in records])
        return answer
