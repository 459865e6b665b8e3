"""The description of one step of a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.whitelist.entries import WhitelistEntry
    from greyd.whitelist.near_misses.reasons import NearMiss


@dataclass
class ExplainedStep:
    """The values compared at one step, and the result."""

    name: str
    text: str
    details: Sequence[str] = ()
    match: WhitelistEntry | None = None
    """The whitelist entry that matches, if any."""
    near: Sequence[NearMiss] = ()
    """Whitelist entries that nearly match."""
    decides: bool = False

    def lines(self) -> Iterator[str]:
        """Yield the lines to print below ``text``."""
        yield from self.details
        for miss in self.near:
            yield f'near: {miss.file}:{miss.line}: "{entry_text(miss.text)}" {miss.why}'

    def as_json(self) -> dict[str, Any]:
        """Return the step as a JSON object."""
        match = self.match and {
            "file": self.match.file, "line": self.match.line, "entry": entry_text(self.match.text)
        }  # fmt: skip
        near = [
            {"file": each.file, "line": each.line, "entry": entry_text(each.text), "why": each.why}
            for each in self.near
        ]
        return {
            "step": self.name,
            "decides": self.decides,
            "text": self.text,
            "details": list(self.details),
            "match": match,
            "near": near,
        }


def entry_text(text: bytes) -> str:
    """Return a whitelist entry for display."""
    return excerpt(text[:200].decode(errors="backslashreplace"))
