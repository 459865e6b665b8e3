"""Logs the shadow's decisions.

A line of its own follows the server's line, unless both decisions let the mail pass::

    shadow=pass, shadow_reason=not suspicious, answer=greylist, client_name=…, client_address=…,
    sender=…, recipient=…, identity=…, signals=…

It does not contain ``action=``: programs that read the server's lines do not count it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.escaping import percent_encode
from greyd.monitoring.log import Severity, render_json
from greyd.monitoring.log_observer import request_fields, request_text
from greyd.policy.observers import Observer
from greyd.policy.shadow_decision import action_in_mode_on
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.monitoring.log import Log
    from greyd.policy.shadow_decision import ShadowDecision


class ShadowLog(Observer):
    """Logs the decisions of the shadow, unless both decisions let the mail pass."""

    def __init__(self, log: Log) -> None:
        """Write lines to ``log``, in its format."""
        self._log = log
        self._render = _json_line if log.as_json else _text_line

    def shadow_decided(self, decisions: Sequence[ShadowDecision]) -> None:
        """Log the decisions."""
        if self._log.most >= Severity.INFO:
            render = self._render
            lines = [render(each) for each in decisions if each.actions != _BOTH_PASS]
            self._log.write_all(Severity.INFO, lines)


_BOTH_PASS = (PASS, PASS)


def _text_line(decision: ShadowDecision) -> bytes:
    event = decision.shadow
    real, shadow = action_in_mode_on(decision.real.reason), action_in_mode_on(event.reason)
    line = (
        f"shadow={shadow}, shadow_reason={event.reason.text}{event.detail}, answer={real}".encode()
    )
    if event.request.queue_id:
        line = event.request.queue_id + b": " + line
    return percent_encode(line + request_text(event))


def _json_line(decision: ShadowDecision) -> bytes:
    event = decision.shadow
    fields: dict[str, object] = {
        "shadow": action_in_mode_on(event.reason),
        "shadow_reason": event.reason.text + event.detail,
        "answer": action_in_mode_on(decision.real.reason),
    }
    if event.request.queue_id:
        fields["queue_id"] = event.request.queue_id.decode(errors="backslashreplace")
    return render_json(fields | request_fields(event), Severity.INFO)
