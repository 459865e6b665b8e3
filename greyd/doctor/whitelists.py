"""The whitelists: whether the files in force can be read, say what is meant, and are in use.

And the public suffix list: whether it is so old that it takes many senders for one.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.whitelist.files import files_in_force, read_whitelist_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.process import ListeningProcess
    from greyd.doctor.server_metrics import ServerMetrics
    from greyd.whitelist.matcher import Whitelists


MAX_SHOWN_LINES = 5
RELOAD = "systemctl reload greyd"


def check_whitelists(
    settings: Settings, found: ServerMetrics | None, process: ListeningProcess | None
) -> list[Finding]:
    """Read the whitelists as the server would, and compare with what it has."""
    read = read_whitelist_files(settings)
    whitelists, failed = read.whitelists(), read.failed
    files = [
        *files_in_force(settings.whitelist_clients, "whitelist_clients"),
        *files_in_force(settings.whitelist_recipients, "whitelist_recipients"),
        *settings.list_override,
    ]
    there = [path for path in files if path.exists()]
    made = [finding_of_lines(whitelists, there)]
    made += [
        error("whitelists: readable", f"{fault}; the server goes on without it", RELOAD)
        for fault in failed
    ]
    made += findings_of_rights(there, process)
    made += findings_of_use(whitelists, found)
    return made


def finding_of_lines(whitelists: Whitelists, files: Sequence[Path]) -> Finding:
    """Say how many entries there are, and which lines are not understood."""
    check = "whitelists: lines"
    diagnostics = whitelists.diagnostics
    seen = (
        f"{len(whitelists.clients)} clients, {len(whitelists.recipients)} recipients from"
        f" {', '.join(map(str, files)) or 'no file'}"
    )
    if not diagnostics:
        return ok(check, seen)
    shown = "; ".join(str(each) for each in diagnostics[:MAX_SHOWN_LINES])
    more = (
        f"; and {len(diagnostics) - MAX_SHOWN_LINES} more"
        if len(diagnostics) > MAX_SHOWN_LINES
        else ""
    )
    return warning(check, f"{shown}{more}", f"correct these lines, then {RELOAD}")


def findings_of_rights(files: Sequence[Path], process: ListeningProcess | None) -> list[Finding]:
    """Say whether the server's user can read the files."""
    check = "whitelists: readable"
    if process is None or not process.is_greyd:
        return [not_checked(check, "whom the server runs as is not known", "run this as root")]
    groups = groups_of(process)
    closed = [path for path in files if not readable(path, process.uid, groups)]
    if closed:
        return [
            error(
                check,
                f"{process.user} can't read {', '.join(map(str, closed))}",
                f"chmod a+r {closed[0]}; chmod a+x {closed[0].parent}",
            )
        ]
    return [ok(check, f"by {process.user}")]


def groups_of(process: ListeningProcess) -> frozenset[int]:
    """Return the groups of a process."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return frozenset()
    lines = [line for line in text.splitlines() if line.startswith(("Gid:", "Groups:"))]
    return frozenset(int(word) for line in lines for word in line.split()[1:])


def readable(path: Path, uid: int, groups: frozenset[int]) -> bool:
    """Whether a user can read a file: by its mode, and by those of the folders above it."""
    path = path.resolve()
    return uid == 0 or (
        _may(path, uid, groups, stat.S_IROTH)
        and all(_may(folder, uid, groups, stat.S_IXOTH) for folder in path.parents)
    )


def _may(path: Path, uid: int, groups: frozenset[int], right: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    if found.st_uid == uid:
        right <<= 6
    elif found.st_gid in groups:
        right <<= 3
    return bool(found.st_mode & right)


def findings_of_use(whitelists: Whitelists, found: ServerMetrics | None) -> list[Finding]:
    """Say whether what the server has is what the files say now."""
    check = "whitelists: in use"
    if found is None:
        return [not_checked(check, "the server does not say")]
    if found.value("greyd_whitelist_last_read_successful") == 0:
        return [
            error(
                check,
                "the server could not read a file; the one before stays in force",
                "journalctl -u greyd (which, and why)",
            )
        ]
    counts = {"clients": len(whitelists.clients), "recipients": len(whitelists.recipients)}
    differ = [
        f"{found.value('greyd_whitelist_entries', name) or 0:.0f} {name}, the files have {count}"
        for name, count in counts.items()
        if found.value("greyd_whitelist_entries", name) != count
    ]
    if differ:
        return [hint(check, f"the server has {'; '.join(differ)}: they are newer", RELOAD)]
    return [ok(check, "the server has as many entries as the files")]
