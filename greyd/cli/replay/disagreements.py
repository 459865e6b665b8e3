"""Counts, by cause, the attempts that today's settings decide differently from the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.escaping import printable
from greyd.plurals import counted
from greyd.rules.address import parse_address
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.maillog.attempts import Attempt
    from greyd.whitelist.matcher import Whitelists

MAX_ENTRIES = 10_000
"""The maximum number of whitelist entries that are counted one by one."""

_MAX_NAMED_ENTRIES, _MAX_PAIRS = 3, 4
"""How many entries and pairs of decisions the sentences name."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """The decision in the log, and that of today's settings."""

    logged: str
    decided: str


class Disagreements:
    """Counts attempts by the decision in the log and that of today's settings."""

    def __init__(self, whitelists: Whitelists) -> None:
        """Name the entries of ``whitelists`` that let mail pass which waits in the log."""
        self._whitelists = whitelists
        self._pairs: Counter[_Pair] = Counter()
        self._entries: Counter[bytes] = Counter()

    @property
    def count(self) -> int:
        """The number of attempts with two different decisions."""
        return self._pairs.total() + self._entries.total()

    def add(self, attempt: Attempt, logged: Reason | None, decided: Reason) -> None:
        """Count an attempt.

        Args:
            attempt: the attempt.
            logged: the reason in the log; None if it is not one of greyd's.
            decided: today's reason.
        """
        entry = self._entry(attempt, decided)
        if entry is not None and (entry in self._entries or len(self._entries) < MAX_ENTRIES):
            self._entries[entry] += 1
            return
        text = _outcome(logged) if logged else "pass" if attempt.passed else "greylist"
        self._pairs[_Pair(text, _outcome(decided))] += 1

    def _entry(self, attempt: Attempt, decided: Reason) -> bytes | None:
        entry = None
        if decided is Reason.CLIENT_WHITELIST:
            address = parse_address(attempt.client_address)
            entry = self._whitelists.match_client(attempt.client_name, address)
        elif decided is Reason.RECIPIENT_WHITELIST:
            entry = self._whitelists.match_recipient(attempt.recipient)
        elif decided is Reason.SENDER_WHITELIST:
            entry = self._whitelists.match_sender(attempt.sender)
        return None if entry is None else entry.text

    def sentences(self) -> Iterator[str]:
        """Yield a line for each cause, the most frequent first."""
        lines = [
            (count, f"{count:,}: {each.logged} in the log, {each.decided} today")
            for each, count in self._pairs.most_common(_MAX_PAIRS)
        ]
        if self._entries:
            total, common = self._entries.total(), self._entries.most_common(_MAX_NAMED_ENTRIES)
            names = ", ".join(printable(entry) for entry, _ in common)
            rest = len(self._entries) - len(common)
            more = f" and {rest:,} more" if rest else ""
            lines.append((
                total,
                f"{total:,} pass because of a whitelist entry that the log does not show (added"
                f" since?): {names}{more}",
            ))  # fmt: skip
        yield from (line for _, line in sorted(lines, key=lambda each: -each[0]))
        if (rest := len(self._pairs) - _MAX_PAIRS) > 0:
            yield f"… and {counted(rest, 'other pair')} of decisions; --json has all"

    def dump(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "by_whitelist_entry": [
                {"entry": printable(entry), "attempts": count}
                for entry, count in self._entries.most_common()
            ],
            "by_decisions": [
                {"log": each.logged, "today": each.decided, "attempts": count}
                for each, count in self._pairs.most_common()
            ],
        }


def _outcome(reason: Reason) -> str:
    return f"{reason.action}: {reason.text}"
