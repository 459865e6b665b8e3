"""Lines of the shadow: nobody else takes them for decisions, and the report reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.reader import read_decisions, read_entries
from greyd.maillog.shadow_lines import LoggedShadowDecision, parse_shadow_decision
from greyd.monitoring.log import Line, Log
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.shadow.log import ShadowLog
from greyd.policy.events import DecisionEvent
from greyd.policy.shadow_decision import ShadowDecision
from greyd.rules.evidence import Evidence
from greyd.rules.reasons import Reason
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAIL = Request(
    client_name=b"mx.example.com",
    client_address=b"192.0.2.7",
    sender=b"alice@example.com",
    recipient=b"bob@example.org",
)
CASES = [
    (MAIL, Reason.NEW, Reason.NOT_SUSPICIOUS, ""),
    (MAIL, Reason.EARLY_RETRY, Reason.EARLY_RETRY, " (20s missing)"),
    (MAIL, Reason.TRIPLET_FOUND, Reason.NEW, ""),
    (MAIL, Reason.LEARNING, Reason.IDENTITY_AWL, ""),
    (MAIL._replace(sender=b"", queue_id=b"4F1A2B"), Reason.NEW, Reason.CLIENT_AWL, ""),
    (MAIL._replace(sender=b"a, recipient=x@e.org, action=pass@e.com"), Reason.NEW, Reason.NEW, ""),
    (MAIL._replace(helo_name=b"mx, signals=no_ptr"), Reason.NEW, Reason.OUTBOUND, ""),
]


class Sink:
    """Keeps the lines of a log."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.lines += [line.text for line in lines]


def logged(
    request: Request, real: Reason, shadow: Reason, detail: str, *, as_json: bool
) -> list[bytes]:
    """Return the line of the server and the line of its shadow."""
    sink = Sink()
    log = Log(sink, as_json=as_json)
    evidence = Evidence(signals=("no_ptr",))
    events = [
        DecisionEvent(request, real, 0.1),
        DecisionEvent(request, shadow, 0.1, detail=detail, evidence=evidence),
    ]
    LogObserver(log).decided(events[:1])
    ShadowLog(log).shadow_decided([ShadowDecision(*events)])
    log.close(10)
    return sink.lines


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("request_", "real", "shadow", "detail"), CASES)
def test_what_is_logged_is_read(
    request_: Request, real: Reason, shadow: Reason, detail: str, as_json: bool
) -> None:
    lines = logged(request_, real, shadow, detail, as_json=as_json)
    of_server, of_shadow = (parse_decision(0, line) for line in lines)
    assert of_server is not None
    assert of_shadow is None
    assert parse_shadow_decision(0, lines[0]) is None
    read = parse_shadow_decision(0, lines[1])
    assert read is not None
    assert read.answer == ("greylist" if real is Reason.LEARNING else real.action)
    expected = replace(
        of_server,
        when=read.decision.when,
        action=shadow.action,
        reason=shadow.text,
        detail=detail.strip(" ()"),
        signals=b"no_ptr",
    )
    assert read.decision == expected


@pytest.mark.parametrize("as_json", [False, True])
def test_only_the_report_reads_them_from_a_file(tmp_path: Path, as_json: bool) -> None:
    texts = [line for case in CASES for line in logged(*case, as_json=as_json)]
    head = b"" if as_json else b"2026-03-02T00:00:00+00:00 mx1 greyd[7]: "
    file = tmp_path / "mail.log"
    file.write_bytes(b"".join(head + text + b"\n" for text in texts))
    assert len(list(read_decisions([file]))) == len(CASES)
    kinds = [type(each) for each in read_entries([file])]
    assert kinds == [LoggedDecision, LoggedShadowDecision] * len(CASES)
