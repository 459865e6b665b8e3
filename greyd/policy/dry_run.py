"""What the server would answer to a request, and by what: asked of its own policy, storing nothing.

The policy here is the server's, with its rules and their order. Only what it stands between is
another: a store that is read and never written, and an observer that keeps what is told.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from greyd.monitoring.log import Log, Severity
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.observer import Observer
from greyd.policy.control_poller import ControlPoller
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.rules.control import Control
from greyd.rules.evidence import NO_EVIDENCE, Evidence
from greyd.rules.greylist import Decision
from greyd.store.contract import TransactionalStore, call_when_done
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.log import Line
    from greyd.policy.policy import EvidenceCollector
    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Record, Rule
    from greyd.store.contract import DoneCallback
    from greyd.whitelist.matcher import Whitelists


class Readable(Protocol):
    """What is asked of a store here."""

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""


@dataclass
class DryRun:
    """What the policy says, and what it rests on."""

    reply: bytes | None = None
    """What Postfix would be told; None where it would get no answer."""
    action: str = ""
    """``pass`` or ``greylist``; empty without an answer."""
    reason: str = ""
    """One of ``greyd.rules.reasons.OUTCOMES``."""
    detail: str = ""
    """What the log adds to the reason."""
    log: list[str] = field(default_factory=list)
    """Lines that the server would write."""
    mode: str = ""
    """In force."""
    control: Control = field(default_factory=Control)
    """What an administrator has told all servers."""
    now: int = 0
    """The time that counts."""
    evidence_collected: bool = False
    """Whether it was asked who the client is."""
    evidence: Evidence = NO_EVIDENCE
    records: dict[bytes, Record | None] = field(default_factory=dict)
    """What is stored under the keys that the rules wanted."""
    decision: Decision | None = None
    """The rules'; None where the request did not come so far."""
    changes: Sequence[Change] = ()
    """What the server would store."""
    fault: str = ""
    """Why the store could not be asked."""


async def dry_run(
    request: Request,
    settings: Settings,
    whitelists: Whitelists,
    store: Readable,
    collector: EvidenceCollector | None,
) -> DryRun:
    """Ask what would be answered now."""
    inquiry = DryRun()
    log = Log(_Kept(inquiry), Severity.ERROR, as_json=settings.log_format == "json")
    observer = _Told(inquiry, log, settings)
    policy = Policy(settings, whitelists, _Looking(store, inquiry), observer, collector)
    # What an administrator has told the servers counts here too; only its lines are not wanted.
    poller = ControlPoller(settings, _Reading(store), policy, observer)
    await poller.poll()
    inquiry.control = poller.control
    inquiry.mode, inquiry.now = policy.mode, policy.now(request)
    log.most = Severity.INFO
    told: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    try:
        policy.answer(request, PendingReply(told.set_result))
        inquiry.reply = await told
    finally:
        log.close(5)
    return inquiry


class _Kept:
    """A log's sink that keeps the lines."""

    def __init__(self, inquiry: DryRun) -> None:
        self._inquiry = inquiry

    def write(self, lines: Sequence[Line]) -> None:
        self._inquiry.log += [line.text.decode() for line in lines]


class _Told(Observer):
    """Keeps what the policy tells of its answer."""

    def __init__(self, inquiry: DryRun, log: Log, settings: Settings) -> None:
        super().__init__(Metrics(), log, passes_without_store=settings.passes_without_store)
        self._inquiry = inquiry

    def flush(self) -> None:
        for answer in self._answers:
            self._inquiry.action, self._inquiry.reason = answer.action, answer.reason
            self._inquiry.detail = answer.detail
        super().flush()

    def evidence_collected(self, evidence: Evidence) -> None:
        self._inquiry.evidence, self._inquiry.evidence_collected = evidence, True
        super().evidence_collected(evidence)


class _Reading(TransactionalStore):
    """Lets rules decide on what is stored, and stores nothing."""

    def __init__(self, store: Readable) -> None:
        self._store = store

    def begin(self, keys: Sequence[bytes], rule: Rule[Any], done: DoneCallback) -> None:
        call_when_done(self._decide(keys, rule), done)

    async def _decide(self, keys: Sequence[bytes], rule: Rule[Any]) -> Any:
        records = [await self._store.get(key) for key in keys]
        return self._ask(rule, keys, records)[0]

    def _ask(
        self, rule: Rule[Any], _keys: Sequence[bytes], records: Sequence[Record | None]
    ) -> tuple[Any, Sequence[Change]]:
        return rule([None if record is None else record.value for record in records])


class _Looking(_Reading):
    """Keeps what the rules saw and said."""

    def __init__(self, store: Readable, inquiry: DryRun) -> None:
        super().__init__(store)
        self._inquiry = inquiry

    async def _decide(self, keys: Sequence[bytes], rule: Rule[Any]) -> Any:
        try:
            return await super()._decide(keys, rule)
        except StoreError as error:
            self._inquiry.fault = str(error)
            raise

    def _ask(
        self, rule: Rule[Any], keys: Sequence[bytes], records: Sequence[Record | None]
    ) -> tuple[Any, Sequence[Change]]:
        inquiry = self._inquiry
        inquiry.records.update(zip(keys, records, strict=True))
        answer, inquiry.changes = super()._ask(rule, keys, records)
        if isinstance(answer, Decision):
            inquiry.decision = answer
        return answer, inquiry.changes
