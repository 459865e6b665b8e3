"""Checks that whitelist files are readable and valid, and that the server has loaded them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.whitelist.files import files_in_force, read_whitelist_files
from greyd.whitelist.list_names import CLIENTS, NEVER_AUTO, RECIPIENTS, SENDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.process import ListeningProcess
    from greyd.doctor.server_metrics import ServerMetrics
    from greyd.whitelist.matcher import Whitelists

MAX_SHOWN_LINES = 5
_RARE = {SENDERS: "senders", NEVER_AUTO: "clients never to auto-whitelist"}
"""The lists that few servers have, with texts about their entries."""
RELOAD = "systemctl reload greyd"


def check_whitelists(
    settings: Settings, metrics: ServerMetrics | None, process: ListeningProcess | None
) -> list[Finding]:
    """Load the whitelists as the server does, and compare them with the server's metrics."""
    lists = read_whitelist_files(settings)
    whitelists = lists.whitelists()
    named = [
        *files_in_force(settings.whitelist_clients, "whitelist_clients"),
        *files_in_force(settings.whitelist_recipients, "whitelist_recipients"),
        *settings.list_override,
        *settings.whitelist_senders,
        *settings.never_auto_whitelist,
        *settings.sender_logins,
    ]
    files = [path for path in named if path.exists()]
    return [
        finding_of_lines(whitelists, files),
        *(
            error("whitelists: readable", f"{fault}; the server goes on without it", RELOAD)
            for fault in lists.errors
        ),
        finding_of_permissions(files, process),
        finding_of_use(whitelists, metrics),
    ]


def finding_of_lines(whitelists: Whitelists, files: Sequence[Path]) -> Finding:
    """Report the number of entries, or the lines that have a fault."""
    check = "whitelists: lines"
    faults = whitelists.diagnostics
    if not faults:
        names = ", ".join(map(str, files)) or "no file"
        counts = {which: len(entries) for which, entries in whitelists.by_name().items()}
        texts = [f"{counts[which]} {which}" for which in (CLIENTS, RECIPIENTS)]
        texts += [f"{counts[which]} {text}" for which, text in _RARE.items() if counts[which]]
        return ok(check, f"{', '.join(texts)} from {names}")
    shown = "; ".join(str(each) for each in faults[:MAX_SHOWN_LINES])
    more = f"; and {len(faults) - MAX_SHOWN_LINES} more" if len(faults) > MAX_SHOWN_LINES else ""
    return warning(check, f"{shown}{more}", f"correct these lines, then {RELOAD}")


def finding_of_permissions(files: Sequence[Path], process: ListeningProcess | None) -> Finding:
    """Check that the server's user can read the files."""
    check = "whitelists: readable"
    if process is None or not process.is_greyd:
        return not_checked(check, "the server's user is unknown", "run greyd doctor as root")
    groups = groups_of(process)
    closed = [path for path in files if not is_readable(path, process.uid, groups)]
    if closed:
        return error(
            check,
            f"{process.user} cannot read {', '.join(map(str, closed))}",
            f"chmod a+r {closed[0]}; chmod a+x {closed[0].parent}",
        )
    return ok(check, f"by {process.user}")


def groups_of(process: ListeningProcess) -> frozenset[int]:
    """Return the numbers of a process's groups; empty if they cannot be read."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return frozenset()
    lines = [line for line in text.splitlines() if line.startswith(("Gid:", "Groups:"))]
    return frozenset(int(word) for line in lines for word in line.split()[1:])


def is_readable(path: Path, uid: int, groups: frozenset[int]) -> bool:
    """Whether a user can read a file, according to the modes of the file and its folders."""
    path = path.resolve()
    return uid == 0 or (
        _has_right(path, uid, groups, stat.S_IROTH)
        and all(_has_right(folder, uid, groups, stat.S_IXOTH) for folder in path.parents)
    )


def _has_right(path: Path, uid: int, groups: frozenset[int], right: int) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_uid == uid:
        right <<= 6
    elif status.st_gid in groups:
        right <<= 3
    return bool(status.st_mode & right)


def finding_of_use(whitelists: Whitelists, metrics: ServerMetrics | None) -> Finding:
    """Check that the server has loaded the current content of the files."""
    check = "whitelists: in use"
    if metrics is None:
        return not_checked(check, "the server's metrics cannot be read")
    if metrics.value("greyd_whitelist_last_read_successful") == 0:
        return error(
            check,
            "the server could not read a file and keeps the entries from before",
            "journalctl -u greyd (names the file and the reason)",
        )
    counts = {which: len(entries) for which, entries in whitelists.by_name().items()}
    loaded = {name: metrics.value("greyd_whitelist_entries", name) or 0 for name in counts}
    differing = [
        f"{loaded[name]:.0f} {_RARE.get(name, name)} in the server, {count} in the files"
        for name, count in counts.items()
        if loaded[name] != count
    ]
    if differing:
        return hint(check, f"{'; '.join(differing)}: the files have changed since", RELOAD)
    return ok(check, "the server has as many entries as the files")
