"""Writes and reads logs for the tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from greyd.maillog.reader import read_decisions
from greyd.monitoring.log import Line as Written
from greyd.monitoring.log import Log
from greyd.monitoring.log_observer import LogObserver
from greyd.policy.events import DecisionEvent
from greyd.rules.reasons import Reason
from tests.evidence import evidence_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.maillog.decisions import LoggedDecision
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request


NEW = b"action=greylist, reason=new, client_name=mx.example.com, client_address=192.0.2.7, " \
    b"sender=alice@example.com, recipient=bob@example.org"  # fmt: skip

SHOWN = evidence_for("example.com", signals=("no_ptr", "helo_is_ours"))

NOON = 1_795_521_600.0
"""2026-11-24 12:00:00 in UTC."""


def written(folder: Path, *texts: bytes, name: str = "mail.log", at: float = NOON + 3600) -> Path:
    path = folder / name
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    os.utime(path, (at, at))
    return path


def read(path: Path, **how: Any) -> list[LoggedDecision]:
    return list(read_decisions([path], **how))


def senders(*paths: Path) -> list[bytes]:
    return [each.sender for each in read_decisions(paths)]


class _Kept:
    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def write(self, lines: Sequence[Written]) -> None:
        self.texts += [line.text for line in lines]


def logged_by_greyd(request: Request, *, as_json: bool, evidence: Evidence = SHOWN) -> bytes:
    """Return greyd's own line about a decision."""
    kept = _Kept()
    log = Log(kept, as_json=as_json)
    event = DecisionEvent(
        request, Reason.EARLY_RETRY, 0.0, detail=" (38s missing)", evidence=evidence
    )
    LogObserver(log).decided([event])
    log.close(10)
    return kept.texts[0]


def exported(*entries: dict[bytes, bytes]) -> bytes:
    """Return entries of the journal as ``journalctl -o export`` writes them."""
    text = b""
    for fields in entries:
        for name, value in fields.items():
            if b"\n" in value:
                text += name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
            else:
                text += name + b"=" + value + b"\n"
        text += b"\n"
    return text


def entry(message: bytes, program: bytes = b"greyd", second: int = 0) -> dict[bytes, bytes]:
    return {
        b"__CURSOR": b"s=1;i=2",
        b"__REALTIME_TIMESTAMP": b"%d" % ((NOON + second) * 1_000_000),
        b"_TRANSPORT": b"syslog",
        b"SYSLOG_IDENTIFIER": program,
        b"MESSAGE": message,
        b"_PID": b"7",
    }
