"""Checks the public suffix list: its age, and whether a newer file is damaged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, ok, warning
from greyd.rules.public_suffixes import ADMIN_PATH, suffix_list_in_force

if TYPE_CHECKING:
    from datetime import date

    from greyd.config.settings import Settings
    from greyd.rules.public_suffixes import SelectedSuffixList

MAX_LIST_AGE_DAYS = 365


def check_public_suffixes(settings: Settings) -> list[Finding]:
    """Check the public suffix list that a server would use if it started now."""
    today = datetime.now(UTC).date()
    return findings_of_list(suffix_list_in_force(), today, in_use=settings.uses_dns)


def findings_of_list(found: SelectedSuffixList, today: date, *, in_use: bool) -> list[Finding]:
    """Judge the selected list.

    Without ``in_use`` the server identifies no client by its organisation, and only the checks of
    the whitelists use the list: an old list is then a hint, not a warning.
    """
    check = "names: public suffix list"
    wrong = warning if in_use else hint
    age_days = (today - found.suffixes.date).days
    seen = f"{found.suffixes.path}, of {found.suffixes.date}"
    made = [
        wrong(check, fault, "replace that file, then systemctl restart greyd")
        for fault in found.faults
    ]
    if age_days > MAX_LIST_AGE_DAYS:
        made.append(
            wrong(
                check,
                f"{seen}: older than a year, so greyd takes all senders below a newer suffix for"
                " one organisation",
                f"apt install publicsuffix, or save the current list as {ADMIN_PATH};"
                " then systemctl restart greyd",
            )
        )
    return made or [ok(check, seen)]
