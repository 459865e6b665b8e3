"""Where ``greyd report`` mails the report, and with which program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.report.letter.sendmail import find_sendmail, read_recipients, send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.cli.context import CommandContext
    from greyd.cli.report.log_report import LogReport


@dataclass(frozen=True, slots=True)
class Letter:
    """Where to mail the report, and with which program."""

    recipients: Sequence[str]
    sendmail: Path

    @classmethod
    def from_options(cls, recipients: Sequence[str], program: Path | None) -> Letter | None:
        """Check the options before the log is read, which takes time; None without a recipient."""
        if not recipients:
            if program is not None:
                raise CommandError("--sendmail: there is nothing to send without --mail-to")
            return None
        return cls(read_recipients(recipients), find_sendmail(program))

    def send(self, context: CommandContext, result: LogReport) -> None:
        """Send the report, and print the recipients."""
        from greyd.cli.report.letter.message import compose
        from greyd.cli.report.letter.mode_notice import mode_notice

        letter = compose(context, result, self.recipients, None, mode_notice(context))
        send(letter, self.recipients, self.sendmail)
        context.print(f"mailed the report to {', '.join(self.recipients)}")
