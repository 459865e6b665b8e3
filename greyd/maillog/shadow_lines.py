"""Parses the lines in which greyd logs the decisions of its shadow (``--shadow``)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.json_lines import parse_json_object


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
    event = parse_json_object(text[: text.rfind(b"}") + 1])
    if event is None or event.get("answer") not in ("pass", "greylist"):
        return None
    event |= {"action": event.get("shadow"), "reason": event.get("shadow_reason", "")}
    decision = parse_decision(when, json.dumps(event).encode())
    return None if decision is None else LoggedShadowDecision(decision, event["answer"])
