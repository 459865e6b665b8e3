"""What a replay found out about the log itself, apart from the servers' results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.replay.mail_replay import MailReplay


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """Figures of a replay; see the attributes of ``MailReplay`` with the same names."""

    first: int
    last: int
    attempts: int
    mails: int
    open: int
    compared: int
    agreed: int
    known_before: int
    difference_count: int
    """The number of attempts that today's settings decide in another way than the log."""
    difference_sentences: Sequence[str]
    """A line for each cause, the most frequent first."""

    @classmethod
    def of(cls, replay: MailReplay) -> ReplaySummary:
        """Return the summary of a replay."""
        return cls(
            first=replay.first,
            last=replay.last,
            attempts=replay.attempts,
            mails=replay.mails,
            open=replay.open,
            compared=replay.compared,
            agreed=replay.agreed,
            known_before=replay.known_before,
            difference_count=replay.disagreements.count,
            difference_sentences=list(replay.disagreements.sentences()),
        )
