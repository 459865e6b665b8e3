"""Mail logs for the tests: scripted attempts in the form of greyd or Postfix."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

START = 1_795_003_200
"""2026-11-18 12:00:00 in UTC."""


@dataclass
class MailLog:
    """A growing log, with times in seconds since its beginning."""

    folder: Path
    _lines: list[tuple[float, bytes]] = field(default_factory=list)

    def add(self, at: float, program: str, text: str | bytes) -> None:
        """Write a log line of a program."""
        data = text.encode() if isinstance(text, str) else text
        date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START + at))
        micros = int(at % 1 * 1e6)
        head = f"{date}.{micros:06d}+00:00 mx1 {program}[77]: ".encode()
        self._lines.append((at, head + data))

    def decided(
        self,
        at: float,
        said: str,
        sender: str = "alice@example.com",
        *,
        name: str = "mx.example.com",
        address: str = "192.0.2.7",
        recipient: str = "bob@example.org",
        more: str = "",
    ) -> None:
        """Write a decision, such as ``greylist, reason=new``."""
        by = f"sender={sender}, " if sender else ""
        self.add(
            at,
            "greyd",
            f"action={said}, client_name={name}, client_address={address}, {by}"
            f"recipient={recipient}{more}",
        )

    def rejected(
        self,
        at: float,
        sender: str = "alice@example.com",
        *,
        name: str = "mx.example.com",
        address: str = "192.0.2.7",
        recipient: str = "bob@example.org",
        helo: str = "mx.example.com",
    ) -> None:
        """Write Postfix's lines for greylisted mail."""
        self.add(
            at,
            "postfix/smtpd",
            f"NOQUEUE: reject: RCPT from {name}[{address}]: 450 4.2.0 <{recipient}>: Recipient"
            f" address rejected: Greylisted, see http://postgrey.schweikert.ch/help/x.html;"
            f" from=<{sender}> to=<{recipient}> proto=ESMTP helo=<{helo}>",
        )

    def accepted(
        self,
        at: float,
        number: str,
        sender: str = "alice@example.com",
        *recipients: str,
        name: str = "mx.example.com",
        address: str = "192.0.2.7",
        sasl: bool = False,
    ) -> None:
        """Write Postfix's lines for mail that it accepts and delivers."""
        login = ", sasl_method=PLAIN, sasl_username=bob" if sasl else ""
        self.add(at, "postfix/smtpd", f"{number}: client={name}[{address}]{login}")
        self.add(at, "postfix/cleanup", f"{number}: message-id=<1@example.com>")
        size = f"size=500, nrcpt={len(recipients) or 1} (queue active)"
        self.add(at, "postfix/qmgr", f"{number}: from=<{sender}>, {size}")
        for recipient in recipients or ("bob@example.org",):
            how = "relay=local, delay=0.1, delays=0/0/0/0, dsn=2.0.0, status=sent (delivered)"
            self.add(at + 1, "postfix/local", f"{number}: to=<{recipient}>, {how}")
        self.add(at + 1, "postfix/qmgr", f"{number}: removed")

    def lines(self) -> list[bytes]:
        """Return the lines in the order of their times."""
        return [line for _, line in sorted(self._lines, key=lambda each: each[0])]

    def written(self, *, leave_out: int = 0) -> Path:
        """Write it to a file, without its first lines."""
        path = self.folder / "mail.log"
        path.write_bytes(b"".join(line + b"\n" for line in self.lines()[leave_out:]))
        os.utime(path, (START + 10**6, START + 10**6))
        return path
