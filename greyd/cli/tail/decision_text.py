"""Formats a decision as one line: for a terminal of any width, for a pipe, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.cli.json_values import json_text
from greyd.cli.tables.column import Meaning
from greyd.cli.tables.shorten import shorten_address, shorten_middle
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable, printable_text
from greyd.rules.reasons import OUTCOMES, PASS, Category
from greyd.terminal import format_time, format_timestamp

if TYPE_CHECKING:
    from rich.text import Text

    from greyd.maillog.decisions import LoggedDecision

NARROW = 70
"""Below this width a line has neither the client nor the details of the reason."""

_ARROW = " → "
_UNDATED = "--:--:--"


def plain_line(decision: LoggedDecision) -> str:
    """Return a decision in full, as one line without control characters."""
    client = printable(decision.client_address) or "-"
    name = printable(decision.client_name)
    return "  ".join(
        (
            format_timestamp(decision.when) or "-",
            _verdict(decision),
            f"{name}[{client}]" if name else client,
            f"{_sender(decision)} -> {printable(decision.recipient) or '-'}",
            _reason(decision, is_short=False),
        )
    )


def terminal_line(decision: LoggedDecision, width: int) -> Text:
    """Return a decision as a coloured line of at most ``width`` terminal cells."""
    from rich.text import Text

    is_narrow = width < NARROW
    reason = _reason(decision, is_short=True)
    if is_narrow:
        reason = reason.partition(" (")[0]
    reason = shorten_middle(reason, width * (3 if is_narrow else 4) // 12)
    clock = format_time("%H:%M" if is_narrow else "%H:%M:%S", decision.when)
    undated = _UNDATED[: len("00:00") if is_narrow else None]
    line = Text(f"{clock if decision.when else undated} ", no_wrap=True)
    meaning = meaning_of(decision).value
    line.append(f"{_verdict(decision):<4}", meaning)
    line.append(" ")
    if not is_narrow:
        # The address, in a width that nearly all IPv4 addresses fit.
        client = shorten_middle(printable(decision.client_address) or "-", 17)
        line.append(f"{client:<15} ")
    room = width - len(line.plain) - len(_ARROW) - len(reason) - 1
    sender, recipient = _sender(decision), printable(decision.recipient) or "-"
    left = room // 2
    if len(sender) < left:
        left = len(sender)
    elif len(recipient) < room - left:
        left = room - len(recipient)
    line.append(shorten_address(sender, left))
    line.append(_ARROW, Meaning.SECONDARY.value)
    line.append(shorten_address(recipient, max(room - left, 1)))
    line.append(" ")
    line.append(reason, meaning)
    line.truncate(width, overflow="ellipsis")
    return line


def json_line(decision: LoggedDecision) -> dict[str, Any]:
    """Return a decision as a JSON object; its names are those of ``greyd list --json``."""
    return {
        "time": decision.when or None,
        "action": decision.action,
        "reason": decision.reason,
        "detail": decision.detail or None,
        "waited_seconds": decision.delay_seconds,
        "client_name": json_text(decision.client_name) or None,
        "client_address": json_text(decision.client_address) or None,
        "sender": json_text(decision.sender),
        "recipient": json_text(decision.recipient),
        "queue_id": json_text(decision.queue_id) or None,
        "identity": json_text(decision.identity) or None,
        "signals": json_text(decision.signals).split("+") if decision.signals else [],
    }


def meaning_of(decision: LoggedDecision) -> Meaning:
    """Return what the colour of a decision stands for."""
    reason = OUTCOMES.get((decision.action, decision.reason))
    if reason is not None and reason.category is Category.FAULT:
        return Meaning.BAD
    return Meaning.GOOD if decision.action == PASS else Meaning.WAITING


def _verdict(decision: LoggedDecision) -> str:
    return "pass" if decision.action == PASS else "wait"


def _sender(decision: LoggedDecision) -> str:
    return printable(decision.sender) or "<>"


def _reason(decision: LoggedDecision, *, is_short: bool) -> str:
    """Return the reason, with its detail and how long the mail has waited."""
    text = printable_text(decision.reason)
    if decision.delay_seconds is not None:
        waited = format_breakable_duration(decision.delay_seconds)
        # Every mail that has waited passes because its triplet was found, so the reason adds
        # nothing.
        return f"after {waited}" if is_short else f"{text}, waited {waited}"
    return f"{text} ({printable_text(decision.detail)})" if decision.detail else text
