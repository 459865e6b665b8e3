"""Builds the requests that ``greyd ask`` sends: from defaults, words, options or a file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.explain.typed_request import read_words
from greyd.cli.request_options import read_request_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_FILE_BYTES = 1024 * 1024

_DEFAULT_REQUEST = {
    "request": b"smtpd_access_policy",
    "protocol_state": b"RCPT",
    "protocol_name": b"ESMTP",
    "helo_name": b"mail.example.com",
    "queue_id": b"",
    "sender": b"alice@example.com",
    "recipient": b"bob@example.org",
    "recipient_count": b"0",
    "client_address": b"192.0.2.7",
    "client_name": b"mail.example.com",
    "reverse_client_name": b"mail.example.com",
    "instance": b"",
    "sasl_username": b"",
    "etrn_domain": b"",
}
"""What Postfix sends at RCPT TO (SMTPD_POLICY_README); the names are those of RFC 2606."""

Request = dict[str, bytes]
"""The attributes of a request by name, in the order in which they are sent."""


def build_requests(words: Sequence[str], options: Mapping[str, str | None]) -> list[Request]:
    """Return the requests to send: those of a file, or one with defaults.

    Args:
        words: a file's name, ``-`` for standard input, or client, sender and recipient.
        options: the attributes from options; None for those not given. They take precedence.

    Raises:
        CommandError: an attribute is not valid, or the file can't be read or has no request.
    """
    given = {name: text for name, text in options.items() if text is not None}
    file = _file_of(words)
    if file is None:
        given = {**_attributes_of(words), **given}
    named = {
        name: _checked_value(name, value) for name, value in read_request_options(given).items()
    }
    if file is not None:
        return [each | named for each in _requests_of_file(file)]
    # The client's name is also the default of the reverse name and the HELO name.
    name = named.get("client_name", _DEFAULT_REQUEST["client_name"])
    return [_DEFAULT_REQUEST | {"reverse_client_name": name, "helo_name": name} | named]


def encode(attributes: Mapping[str, bytes]) -> bytes:
    """Return a request as Postfix sends it: lines of name=value, and an empty line."""
    lines = [
        b"%b=%b\n" % (name.encode(errors="surrogateescape"), value)
        for name, value in attributes.items()
    ]
    return b"".join(lines) + b"\n"


def _file_of(words: Sequence[str]) -> str | None:
    """Return the file that the arguments name; None if they describe a request."""
    if len(words) != 1:
        return None
    (word,) = words
    is_path = word == "-" or "/" in word.partition("[")[0]
    return word if is_path or Path(word).exists() else None


def _attributes_of(words: Sequence[str]) -> Mapping[str, str]:
    typed = read_words(words) if len(words) <= len(_DEFAULT_REQUEST) else None
    if typed is None or typed.log_line is not None:
        raise CommandError(
            "write greyd ask ADDRESS SENDER RECIPIENT, or greyd ask FILE; greyd explain reads lines"
            " of a log"
        )
    return typed.attributes


def _requests_of_file(file: str) -> list[Request]:
    given = _read_file(file).replace(b"\r\n", b"\n")
    requests = []
    for text in re.split(rb"\n\n+", given.strip(b"\n")):
        lines = [line.partition(b"=") for line in text.split(b"\n")]
        if not all(equals for _, equals, _ in lines):
            raise CommandError(
                f"{file}: not a request: expected lines like sender=alice@example.com"
            )
        requests.append({name.decode(errors="surrogateescape"): value for name, _, value in lines})
    return requests


def _checked_value(name: str, value: bytes) -> bytes:
    if b"\n" in value or b"\r" in value:
        option = name.replace("_", "-")
        raise CommandError(f"--{option}: a value must not contain a line break")
    return value


def _read_file(file: str) -> bytes:
    try:
        if file == "-":
            text = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                text = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    if len(text) > MAX_FILE_BYTES:
        raise CommandError(f"{file}: larger than {MAX_FILE_BYTES} bytes")
    return text
