"""``--verbose``: a policy that logs each step of its decisions.

A class of its own, so that without the option not even a condition is asked. The lines of one
request have the same beginning, which tells them from those of others at the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.escaping import percent_encode
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.store.contract import TransactionalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.log import Log
    from greyd.monitoring.observer import Observer
    from greyd.policy.policy import _Case
    from greyd.rules.address import Address
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request
    from greyd.rules.transaction import Answer, Change, Remembered, Rule
    from greyd.store.contract import DoneCallback
    from greyd.whitelist.matcher import Whitelists

MAX_VALUE = 200
"""Bytes of a value of a stranger's that a line shows."""


def _shown(data: bytes) -> str:
    return percent_encode(data[:MAX_VALUE]).decode() or "(empty)"


def _beginning(request: Request) -> str:
    named = (request.client_address, request.sender, request.recipient)
    return "step: " + ", ".join(_shown(each or b"") for each in named)


class _LoggedStore(TransactionalStore):
    """Logs what a rule has seen, and what it changes, once that is stored."""

    def __init__(self, store: TransactionalStore, log: Log) -> None:
        self._store = store
        self._log = log
        self.beginning = ""
        """Of the lines about the next question."""

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        beginning, steps = self.beginning, list[str]()

        def watched(remembered: Remembered) -> tuple[Answer, Sequence[Change]]:
            # In the store's thread, and again where others were faster: logged is what holds.
            answer, changes = rule(remembered)
            steps[:] = [
                f"remembered {_shown(key)}: {'nothing' if value is None else _shown(value)}"
                for key, value in zip(keys, remembered, strict=True)
            ] + [f"stored {_shown(each.key)}: {_shown(each.value)}" for each in changes]
            return answer, changes

        def logged(answer: Any, error: Exception | None) -> None:
            for step in steps if error is None else [f"the store: {error}"]:
                self._log.debug(f"{beginning}: {step}")
            done(answer, error)

        self._store.begin(keys, watched, logged)


class VerbosePolicy(Policy):
    """Answers requests, and logs each step."""

    def __init__(
        self,
        settings: Settings,
        whitelists: Whitelists,
        store: TransactionalStore,
        observer: Observer,
    ) -> None:
        """Answer by ``settings``, and log to the observer's log."""
        self._logged = _LoggedStore(store, observer.log)
        super().__init__(settings, whitelists, self._logged, observer)

    def _step(self, request: Request, text: str) -> None:
        self._observer.log.debug(f"{_beginning(request)}: {text}")

    def answer(self, request: Request, reply: PendingReply) -> None:
        """Answer a request, and log what was asked and answered."""
        given = zip(request._fields, request, strict=True)
        values = [f"{name}={_shown(v)}" for name, v in given if isinstance(v, bytes)]
        self._step(request, f"asked {' '.join(values)}")
        self._logged.beginning = _beginning(request)

        def logged(action: bytes | None) -> None:
            self._step(request, "not answered" if action is None else f"answered {_shown(action)}")
            reply.send(action)

        super().answer(request, PendingReply(logged))

    def _exemption(self, request: Request, address: Address | None) -> str:
        reason = super()._exemption(request, address)
        if not reason:
            mode = f"mode {self.mode}, {len(self.whitelists.clients)} clients and"
            lists = f"{len(self.whitelists.recipients)} recipients whitelisted"
            self._step(request, f"no list or option lets it pass ({mode} {lists})")
            return reason
        entry = None
        if reason == "client whitelist":
            entry = self.whitelists.match_client(request.client_name or b"", address)
        elif reason == "recipient whitelist":
            entry = self.whitelists.match_recipient(request.recipient or b"")
        where = f", {entry.file}:{entry.line}: {_shown(entry.text)}" if entry else ""
        self._step(request, f"exempt: {reason}{where}")
        return reason

    def _weigh_with(self, case: _Case, address: Address, evidence: Evidence) -> None:
        known = [
            f"{name}={_shown(value) if isinstance(value, bytes) else value}"
            for name, value in zip(evidence._fields, evidence, strict=True)
            if value not in (b"", "", (), None, False)
        ]
        self._step(case.request, f"found out {' '.join(known) or 'nothing'}")
        super()._weigh_with(case, address, evidence)

    def _weigh(self, case: _Case, address: Address) -> None:
        self._logged.beginning = _beginning(case.request)
        super()._weigh(case, address)

    def _carry_out(self, case: _Case, decision: Decision) -> bytes:
        what = "passes" if decision.passes else f"waits {decision.missing_seconds} s more"
        waited = f", waited {decision.waited_seconds} s"
        self._step(case.request, f"decided: {decision.reason}, {what}{waited}")
        return super()._carry_out(case, decision)
