"""The public suffix list in force: the newest one on this machine.

The list contains the names below which anyone can register a domain (publicsuffix.org). greyd's
dependency publicsuffixlist brings one. A package of the operating system, or the administrator's
own file, can provide a newer list without a new version of greyd.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.errors import GreydError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from publicsuffixlist import PublicSuffixList


class SuffixListError(GreydError):
    """No usable public suffix list was found."""


ADMIN_PATH = Path("/etc/greyd/public_suffix_list.dat")
SYSTEM_PATH = Path("/usr/share/publicsuffix/public_suffix_list.dat")
"""The file of the package ``publicsuffix`` on Debian, Fedora and their derivatives."""

MAX_LIST_BYTES = 4 * 1024 * 1024
"""Maximum size of a list: ten times the size of 2026."""

_VERSION = re.compile(r"^// VERSION: (\d{4}-\d\d-\d\d)", re.MULTILINE)
_MARKERS = ("// ===BEGIN ICANN DOMAINS===", "// ===END PRIVATE DOMAINS===")


@dataclass(frozen=True, slots=True)
class SuffixList:
    """The text of a public suffix list, its file and its date."""

    path: Path
    date: date
    """The date in the line ``VERSION``; without that line, the modification date of the file."""
    text: str

    def parse(self, *, only_icann: bool = False) -> PublicSuffixList:
        """Parse the list; names below no suffix in the list have no registered domain.

        Args:
            only_icann: leave out the private section: the suffixes of companies that let their
                customers choose names below their own domain.
        """
        from publicsuffixlist import PublicSuffixList

        # Anyone may register names below an unknown suffix, so such a name identifies nobody.
        return PublicSuffixList(self.text, accept_unknown=False, only_icann=only_icann)


@dataclass(frozen=True, slots=True)
class SelectedSuffixList:
    """The public suffix list in force, and a message for each damaged list."""

    suffixes: SuffixList
    faults: Sequence[str]


class _InvalidListError(Exception):
    """A file is not a complete public suffix list."""


@cache
def suffix_list_in_force() -> SelectedSuffixList:
    """Return the newest list on this machine. The result is cached.

    Raises:
        SuffixListError: no list is usable.
    """
    return newest_list((ADMIN_PATH, SYSTEM_PATH))


def newest_list(others: Sequence[Path]) -> SelectedSuffixList:
    """Return the newest of the bundled list and ``others``, which are files that may not exist.

    A damaged list is not used, and causes a message in ``faults``: with a truncated list, all names
    below a missing suffix would count as one organisation.

    Raises:
        SuffixListError: no list is usable.
    """
    faults, lists = [], []
    for path in (_bundled(), *others):
        try:
            lists.append(_read(path))
        except FileNotFoundError:
            continue
        except (OSError, _InvalidListError) as error:
            why = getattr(error, "strerror", None) or error
            faults.append(f"public suffix list {path}: {why}; it is not used, copy it again")
    if not lists:
        raise SuffixListError(f"no public suffix list; put one at {ADMIN_PATH}")
    return SelectedSuffixList(max(lists, key=lambda each: each.date), faults)


def _bundled() -> Path:
    from publicsuffixlist import PSLFILE

    return Path(PSLFILE)


def _read(path: Path) -> SuffixList:
    with path.open("rb") as file:
        data = file.read(MAX_LIST_BYTES + 1)
        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    if len(data) > MAX_LIST_BYTES:
        raise _InvalidListError(f"more than {MAX_LIST_BYTES >> 20} MiB")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _InvalidListError("not UTF-8") from None
    for each in _MARKERS:
        if each not in text:
            raise _InvalidListError(f"no line {each}, so it is not all there")
    return SuffixList(path, _date_in(text) or written_at, text)


def _date_in(text: str) -> date | None:
    found = _VERSION.search(text)
    try:
        return date.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
