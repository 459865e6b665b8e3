"""Parses the lines in which greyd logs the decisions of its shadow (``--shadow``)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.lines import parse_json_object

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class LoggedShadowDecision:
    """A decision of the shadow. Not frozen, for the reason given for ``LoggedDecision``."""

    decision: LoggedDecision
    """The request, and what the shadow would have answered."""
    answer: str
    """The action that the server has answered: ``pass`` or ``greylist``."""

    @property
    def when(self) -> float:
        """Unix time; 0 if the line has no date."""
        return self.decision.when


_SHADOW = re.compile(
    rb"((?:[0-9A-Za-z]{5,30}: )?)shadow=(pass|greylist), shadow_reason=([^,]{1,161})"
    rb", answer=(pass|greylist)"
).match


def parse_shadow_decision(when: float, text: bytes) -> LoggedShadowDecision | None:
    """Return the shadow's decision in the text of a line; None if there is none."""
    if text[:1] == b"{":
        return _parse_json(when, text)
    if (head := _SHADOW(text)) is None:
        return None
    # The rest of the line is that of a decision of the server.
    line = b"%baction=%b, reason=%b%b" % (*head.group(1, 2, 3), text[head.end() :])
    decision = parse_decision(when, line)
    return None if decision is None else LoggedShadowDecision(decision, head[4].decode())


def _parse_json(when: float, text: bytes) -> LoggedShadowDecision | None:
    event = parse_json_object(text)
    if event is None or event.get("answer") not in {"pass", "greylist"}:
        return None
    event |= {"action": event.get("shadow"), "reason": event.get("shadow_reason", "")}
    decision = parse_decision(when, json.dumps(event).encode())
    return None if decision is None else LoggedShadowDecision(decision, event["answer"])


_DECISION_MARK, _SHADOW_MARK = b"action", b"shadow_reason"


def decision_finder() -> Callable[[bytes, int], int]:
    """Return a function that finds the next decision in a block, of the server or its shadow.

    It searches each part of a block only once for each of the two.
    """
    searched = b""
    next_shadow = -1

    def find(block: bytes, start: int) -> int:
        nonlocal searched, next_shadow
        if block is not searched or 0 <= next_shadow < start:
            searched, next_shadow = block, block.find(_SHADOW_MARK, start)
        decision = block.find(_DECISION_MARK, start)
        return (
            decision
            if next_shadow < 0
            else min(decision, next_shadow)
            if decision >= 0
            else next_shadow
        )

    return find
