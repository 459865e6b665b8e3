"""Finds this machine's mail log: the usual files of the distributions, or the journal."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.maillog.sources.journal import has_entries, journal_source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USUAL_LOGS = tuple(
    Path("/var/log") / each
    for each in (
        "mail.log",  # Debian, Ubuntu, macOS, Synology, Gentoo with rsyslog
        "maillog",  # Fedora, RHEL, FreeBSD, OpenBSD, NetBSD, Slackware, Plesk, cPanel, iRedMail
        "mail",  # openSUSE, SLES
        "mail/mail.log",  # docker-mailserver, Arch and Alpine with syslog-ng
        "mail.info",  # older versions of Debian and openSUSE
        "mail/mail.info",
        "mail/info.log",  # Mageia
        "mail/info",
        "mail/maillog",
        "mail/current",  # Gentoo with metalog
        "postgrey.log",
        "postgrey/postgrey.log",
        "greyd.log",
        "greyd/greyd.log",
        "messages",  # Gentoo with syslog-ng, Alpine with busybox, Synology
        "syslog",
        "everything.log",  # Arch with syslog-ng
        "everything/current",
    )
)
"""Where distributions write the mail log, the most probable file first."""

STALE_SECONDS = 2 * 86400
"""A log without a write for longer than this may have been replaced by the journal."""

_BLOCK_BYTES = 1 << 20
_MAX_SCANNED_BYTES = 256 << 20
"""Maximum length of the part of a file that is searched for a decision."""

_MAX_ROTATED_FILES = 1000


def find_usual_logs(files: Sequence[Path], since: float) -> list[str]:
    """Return the sources to read: a usual file or the journal; empty if there is none.

    The first file with a decision counts, then the journal, then the first file with a line of
    Postfix. With ``since``, a Unix time, the file's rotated predecessors of the period are added.
    """
    present = [each for each in files if _has_content(each)]
    with_decisions = next((each for each in present if _contains(each, b"action=")), None)
    if with_decisions and not _is_stale(with_decisions):
        return _with_rotated(with_decisions, since)
    if has_entries(("SYSLOG_IDENTIFIER=greyd", "SYSLOG_IDENTIFIER=postgrey")):
        return [journal_source(since)]
    with_mail = with_decisions or next(
        (each for each in present if _contains(each, b"postfix")), None
    )
    if with_mail:
        return _with_rotated(with_mail, since)
    if has_entries(("SYSLOG_FACILITY=2",)):
        return [journal_source(since)]
    return _with_rotated(present[0], since) if present else []


def first_unreadable(files: Sequence[Path], chosen: Sequence[str]) -> Path | None:
    """Return the first file, preferred to the chosen source, that this user may not read."""
    for path in files:
        if str(path) in chosen:
            return None
        if _has_content(path) and not os.access(path, os.R_OK):
            return path
    return None


def _has_content(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def _is_stale(path: Path) -> bool:
    return path.stat().st_mtime < time.time() - STALE_SECONDS


def _contains(path: Path, wanted: bytes) -> bool:
    """Whether a file contains the given bytes; False if it cannot be read."""
    rest = b""
    try:
        with path.open("rb") as file:
            for _ in range(_MAX_SCANNED_BYTES // _BLOCK_BYTES):
                if not (block := file.read(_BLOCK_BYTES)):
                    return False
                if wanted in rest + block:
                    return True
                rest = block[-len(wanted) :]
    except OSError:
        return False
    return False


def _with_rotated(path: Path, since: float) -> list[str]:
    return [str(path), *(_rotated(path, since) if since else ())]


def _rotated(path: Path, since: float) -> Iterator[str]:
    """Yield the rotated files of a log that may contain lines after a Unix time."""
    for number, each in enumerate(sorted(path.parent.glob(f"{path.name}[.-]*"))):
        try:
            if number < _MAX_ROTATED_FILES and each.is_file() and each.stat().st_mtime >= since:
                yield str(each)
        except OSError:
            continue
