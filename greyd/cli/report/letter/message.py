"""Composes the letter: the report as text, as simple HTML, and as an attached page with charts.

Mail programs drop SVG and style sheets, so the HTML in the letter has neither, and loads nothing.
"""

from __future__ import annotations

import getpass
import io
import socket
import textwrap
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime, make_msgid
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.cli.report.candidates.proposals import not_whitelisted
from greyd.cli.report.page import render
from greyd.cli.report.text import print_report
from greyd.config.durations import format_duration, format_percentage
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from greyd.cli.context import CommandContext
    from greyd.cli.report.log_report import LogReport

TEXT_WIDTH = 76
"""The width of the text in columns, as RFC 5322, section 2.1.1, recommends (at most 78)."""

_POLICY = SMTP.clone(linesep="\n")
"""sendmail(8) expects the line ends of the system."""

_HTML = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1 style="font-size: 1.3em">{title}</h1>
<table cellpadding="4">
{rows}</table>
<p>The attached page has charts.</p>
<pre style="font-family: monospace; font-size: 0.9em; white-space: pre-wrap">{text}</pre>
</body>
</html>
""")


def compose(
    context: CommandContext, report: LogReport, recipients: Sequence[str], now: datetime | None,
    notice: str = "",
) -> EmailMessage:  # fmt: skip
    """Return the letter.

    Args:
        context: the command's settings.
        report: the figures.
        recipients: mail addresses, or names of local users.
        now: the date of the letter; None for the current time.
        notice: a line for the top of the letter; empty for none.
    """
    host = socket.gethostname()
    now = localtime(now)
    message = EmailMessage(policy=_POLICY)
    message["From"] = f"greyd <{getpass.getuser()}>"
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject(report, host)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid("greyd", domain=host)
    message["Auto-Submitted"] = "auto-generated"
    text = report_text(context, report)
    if notice:
        text = f"{textwrap.fill(notice, TEXT_WIDTH, break_long_words=False)}\n\n{text}"
    message.set_content(text, cte="8bit")
    message.add_alternative(_html(report, host, text), subtype="html", cte="8bit")
    candidates = not_whitelisted(report.candidates, context.settings)
    page = render(report, now.timestamp(), candidates)
    message.add_attachment(page, maintype="text", subtype="html", filename="greylisting.html")
    return message


def subject(report: LogReport, host: str) -> str:
    """Return the subject: whether greylisting has probably lost mail, which deserves a look."""
    contacts = report.first_contacts
    mails = counted(max(contacts.never_returned, report.lost_verified), "mail")
    kept_out = f"of {mails} kept out"
    if report.lost_verified:
        return f"Greylisting on {host}: {report.lost_verified:,} {kept_out} may be wanted"
    if contacts.never_returned:
        return f"Greylisting on {host}: none {kept_out} looks wanted"
    return f"Greylisting on {host}: no mail kept out"


def report_text(context: CommandContext, report: LogReport) -> str:
    """Return the report as plain text, at most ``TEXT_WIDTH`` columns wide."""
    from rich.console import Console

    output = io.StringIO()
    console = Console(
        file=output, width=TEXT_WIDTH, force_terminal=True, color_system=None, markup=False,
        highlight=False, emoji=False, no_color=True,
    )  # fmt: skip
    print_report(replace(context, as_json=False, _consoles=[console]), report)
    return output.getvalue()


def _html(report: LogReport, host: str, text: str) -> str:
    contacts, delays = report.first_contacts, report.delays
    figures = {
        "requests": f"{report.requests:,}",
        "greylisted": format_percentage(report.greylisted(), report.requests),
        "mails that never came back": f"{contacts.never_returned:,}",
        "of them from hosts with a verified name": f"{report.lost_verified:,}",
        "mails that passed after the delay": f"{contacts.waited:,}",
        "median wait": format_duration(delays.percentiles[50]) if delays else "–",
    }
    row = Markup('<tr><td>{}</td><td align="right"><b>{}</b></td></tr>\n')
    rows = Markup().join(row.format(name, figure) for name, figure in figures.items())
    return _HTML.format(title=subject(report, host), rows=rows, text=text)
