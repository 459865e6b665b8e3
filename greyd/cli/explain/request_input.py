"""Reads the request to explain from options, a log line or standard input."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.request_options import read_request_options
from greyd.policy.protocol import RequestParser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.config.settings import Settings
    from greyd.maillog.decisions import LoggedDecision
    from greyd.rules.request import Request

MAX_INPUT_BYTES = 1024 * 1024
"""The maximum size of a request on standard input."""


@dataclass(frozen=True, slots=True)
class RequestInput:
    """The attributes of the request to explain."""

    attributes: Mapping[str, bytes]
    """By name; without ``is_complete`` some may be missing that the server got or would get."""
    is_complete: bool = False
    """Whether the server got no other names of the client than these."""
    decision: LoggedDecision | None = None
    """The server's decision, if the request comes from its log."""
    host: bytes = b""
    """The client's name, if its address is unknown; otherwise empty."""
    text: bytes = b""
    """The request as Postfix sends it, if it comes from standard input; otherwise empty."""

    def parse(self, attributes: Mapping[str, bytes], settings: Settings) -> Request:
        """Return the request with ``attributes``, as the server would parse it.

        Raises:
            CommandError: the input is not a request.
        """
        text = self.text or _text(attributes)
        parser = RequestParser(of_identity=settings.needs_evidence)
        request = next(iter(parser.feed(text.lstrip(b"\r\n") + b"\n\n")), None)
        if request is None or not _has_attribute(request):
            raise CommandError(
                "standard input: no request; a request has lines such as sender=alice@example.com"
            )
        return request


def read_request(
    given: Mapping[str, str | None], log_line: str | None, host: bytes = b""
) -> RequestInput:
    """Return the attributes that were given, and those of a log line; else read standard input.

    What was given takes precedence over the log line.

    Args:
        given: the attributes by name; None for those that were not given.
        log_line: a line of the mail log, or None.
        host: the client's name if only that is known; ``given`` has no address then.

    Raises:
        CommandError: the client's address, the sender or the recipient is missing or not
            valid, or standard input has no request.
        MailLogError: the log line contains neither a decision nor a rejection.
    """
    from_options = read_request_options(given)
    if host:
        from_options = {"client_name": host, **from_options, "client_address": b"unknown"}
    logged = None
    if log_line is not None:
        # The parser of logs takes long to import, and most requests are typed.
        from greyd.maillog.single_line import read_log_line

        logged = read_log_line(log_line)
    if logged is None and not from_options:
        return RequestInput({}, is_complete=True, text=_read_standard_input())
    attributes = {**(logged.attributes if logged else {}), **from_options}
    needed = ("client_address", "sender", "recipient")
    if missing := [name for name in needed if name not in attributes]:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise CommandError(
            f"{options}: missing (a bounce has --sender=); or give all three:"
            " greyd explain ADDRESS SENDER RECIPIENT"
        )
    # A changed request is not the one that the server decided on.
    is_same = logged is not None and all(
        logged.attributes.get(name, value) == value for name, value in from_options.items()
    )
    return RequestInput(
        # Postfix 2.3 and later sends an empty etrn_domain; its absence would change the reply.
        {"request": b"smtpd_access_policy", "etrn_domain": b"", **attributes},
        is_complete=logged is not None and logged.is_complete and is_same,
        decision=logged.decision if logged is not None and is_same else None,
        host=host,
    )


def _read_standard_input() -> bytes:
    if sys.stdin.isatty():
        raise CommandError(
            "no request: greyd explain ADDRESS SENDER RECIPIENT ('<>' is the sender of a bounce),"
            " or greyd explain 'LINE OF THE LOG', or the request on standard input"
        )
    text = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(text) > MAX_INPUT_BYTES:
        raise CommandError(f"standard input: a request is not larger than {MAX_INPUT_BYTES} bytes")
    return text or b"\n"


def _text(attributes: Mapping[str, bytes]) -> bytes:
    for name, value in attributes.items():
        if b"\n" in value or b"\r" in value:
            raise CommandError(f"{name}: a value of a request has no line breaks")
    return b"".join(b"%b=%b\n" % (name.encode(), each) for name, each in attributes.items())


def _has_attribute(request: Request) -> bool:
    """Return whether a request has at least one valid attribute."""
    attributes = request._asdict()
    del attributes["garbage"]
    return any(value is not None for value in attributes.values())
