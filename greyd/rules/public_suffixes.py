"""Which public suffix list is in force: the newest of those that this machine has.

The list says below which names somebody can register one of his own (publicsuffix.org). One comes
with greyd; a package of the operating system, or a file of the administrator's, renews it without
a new greyd.
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
    """There is no public suffix list."""


ADMIN_PATH = Path("/etc/greyd/public_suffix_list.dat")
SYSTEM_PATH = Path("/usr/share/publicsuffix/public_suffix_list.dat")
"""Of the package publicsuffix, under this name on Debian, Fedora and their relatives."""

MAX_LIST_BYTES = 4 * 1024 * 1024
"""Ten times the list of 2026."""

_VERSION = re.compile(r"^// VERSION: (\d{4}-\d\d-\d\d)", re.MULTILINE)
_MARKERS = ("// ===BEGIN ICANN DOMAINS===", "// ===END PRIVATE DOMAINS===")


@dataclass(frozen=True, slots=True)
class SuffixList:
    """A public suffix list, and its source."""

    path: Path
    date: date
    """The date of its VERSION line, or of its file if it has none."""
    text: str

    def parse(self) -> PublicSuffixList:
        """Return the parsed list."""
        from publicsuffixlist import PublicSuffixList

        # A suffix that is not in the list may belong to anybody, so it identifies nobody.
        return PublicSuffixList(self.text, accept_unknown=False)


@dataclass(frozen=True, slots=True)
class SelectedSuffixList:
    """The list in force, and the faults of others."""

    suffixes: SuffixList
    faults: Sequence[str]


class _InvalidListError(Exception):
    """A file is no public suffix list, or not all of one."""


@cache
def suffix_list_in_force() -> SelectedSuffixList:
    """Return the newest list of this machine; cached."""
    return newest_list((ADMIN_PATH, SYSTEM_PATH))


def newest_list(others: Sequence[Path]) -> SelectedSuffixList:
    """Return the newest of greyd's own list and ``others``, of which none needs to be there.

    One that is damaged is left out and told: without its end, mail from all below a suffix would
    count as one sender's.

    Raises:
        SuffixListError: there is no list at all.
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
