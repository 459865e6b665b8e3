"""Checks the public suffix list: its age, and whether a newer one is damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, ok, warning
from greyd.rules.public_suffixes import ADMIN_PATH, suffix_list_in_force

if TYPE_CHECKING:
    from datetime import date

    from greyd.config.settings import Settings
    from greyd.rules.public_suffixes import SelectedSuffixList


MAX_SUFFIXES_AGE_DAYS = 365


# The public suffix list ---------------------------------------------------------------------------


def check_public_suffixes(settings: Settings, today: date) -> list[Finding]:
    """Judge the list that a server started now would use."""
    return findings_of_list_in_force(suffix_list_in_force(), today, in_use=settings.needs_evidence)


def findings_of_list_in_force(
    found: SelectedSuffixList, today: date, *, in_use: bool
) -> list[Finding]:
    """Say whether the public suffix list is old, or a newer one can't be used.

    Where nobody is identified by the name of an organisation, only the lint of the whitelists
    reads it: then an old one is a hint.
    """
    check = "names: public suffix list"
    wrong = warning if in_use else hint
    age_days = (today - found.suffixes.date).days
    seen = f"{found.suffixes.path}, of {found.suffixes.date}"
    made = [
        wrong(check, fault, "systemctl restart greyd, once it is whole") for fault in found.faults
    ]
    if age_days > MAX_SUFFIXES_AGE_DAYS:
        made.append(
            wrong(
                check,
                f"{seen}: older than a year, so senders below newer suffixes count as one",
                f"apt install publicsuffix, or put the published list at {ADMIN_PATH};"
                " then systemctl restart greyd",
            )
        )
    return made or [ok(check, seen)]
