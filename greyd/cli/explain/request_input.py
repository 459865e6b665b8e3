"""Reads the request to explain from options, a log line or standard input."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.maillog.single_line import read_log_line
from greyd.policy.protocol import RequestParser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.config.settings import Settings
    from greyd.rules.request import Request

MAX_INPUT_BYTES = 1024 * 1024
"""The maximum size of a request on standard input."""


def request_attributes(given: Mapping[str, str | None], log_line: str | None) -> dict[str, bytes]:
    """Return the attributes in the options and the log line; empty if neither is given.

    Raises:
        CommandError: the client's address, the sender or the recipient is missing.
        MailLogError: the log line contains neither a decision nor a rejection.
    """
    from_options = {
        name: text.encode(errors="surrogateescape")
        for name, text in given.items()
        if text is not None
    }
    from_line = read_log_line(log_line) if log_line is not None else {}
    attributes = {**from_line, **from_options}
    if not attributes:
        return {}
    needed = ("client_address", "sender", "recipient")
    if missing := [name for name in needed if name not in attributes]:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise CommandError(f"{options}: missing (a bounce has --sender=)")
    # Postfix 2.3 and later sends an empty etrn_domain; its absence would change the reply.
    return {"request": b"smtpd_access_policy", "etrn_domain": b"", **attributes}


def parse_request(attributes: Mapping[str, bytes], settings: Settings) -> Request:
    """Return the request as the server would parse it.

    If ``attributes`` is empty, read the request from standard input.

    Raises:
        CommandError: the input is not a request.
    """
    if attributes:
        for name, value in attributes.items():
            if b"\n" in value or b"\r" in value:
                raise CommandError(f"{name}: a value of a request has no line breaks")
        data = b"".join(b"%b=%b\n" % (name.encode(), each) for name, each in attributes.items())
    elif sys.stdin.isatty():
        raise CommandError(
            "no request: give --client-address, --sender and --recipient, or --log-line, or the"
            " request on standard input"
        )
    else:
        data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        if len(data) > MAX_INPUT_BYTES:
            raise CommandError(
                f"standard input: a request is not larger than {MAX_INPUT_BYTES} bytes"
            )
    parser = RequestParser(of_identity=settings.needs_evidence)
    request = next(iter(parser.feed(data.lstrip(b"\r\n") + b"\n\n")), None)
    if request is None or not _has_attribute(request):
        raise CommandError(
            "standard input: no request; a request has lines such as sender=alice@example.com"
        )
    return request


def _has_attribute(request: Request) -> bool:
    """Return whether a request has at least one valid attribute."""
    attributes = request._asdict()
    del attributes["garbage"]
    return any(value is not None for value in attributes.values())
