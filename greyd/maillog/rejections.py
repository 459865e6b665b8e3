"""Parses rejections of a recipient in the lines of Postfix's smtpd and postscreen, and of Exim.

Postfix replaces ``<``, ``>`` and white space in the HELO name by ``?``, but writes sender and
recipient as the client sent them. Therefore only the last ``> proto=`` certainly ends the
recipient, and of several possible ends of the sender the last one counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REJECTION_BYTES = 8 * 1024
"""Longer lines are not rejections: Postfix splits its lines at 2,000 bytes."""

_ADDRESS = rb"\[(?:[Ii][Pp][Vv]6:)?(?P<client_address>[0-9A-Fa-f.:]+)(?:/(?:32|128))?\]"

_ACTION = rb"(?:(?:milter-)?(?:reject|hold|discard)|reject_warning|warn|filter|redirect)"
_POSTFIX_START = re.compile(_ACTION + rb": RCPT from ").search
_POSTFIX = re.compile(
    _ACTION + rb": RCPT from"
    rb" (?:(?P<client_name>[^\s\[]+))?" + _ADDRESS + rb"(?::[0-9]{1,5})?"
    rb":? ?(?P<reply>.*); from=<(?P<sender>.*)>,? to=<(?P<recipient>.*(?=>,? proto=)|.*?)>"
    rb"(?:,? proto=(?P<protocol_name>[A-Z]{0,10}))?(?:,? helo=<(?P<helo_name>[^<>\s]*)>)?"
    rb"(?:.*? sasl_username=(?P<sasl_username>[^\s,\"]+))?"
).match

_EXIM = re.compile(
    rb"(?:\A| )H=(?P<client_name>[^\s(\[]+)?(?: ?\((?P<helo_name>[^()\s]*)\))?"
    rb" ?" + _ADDRESS + rb"(?::[0-9]{1,5})?(?P<more>(?: .*)?)"
    rb" F=<(?P<sender>.*)> (?:temporarily )?rejected (?:after )?RCPT"
    rb" (?:<(?P<recipient>[^>]*)>|(?P<bare_recipient>[^\s:]+))(?::|\s|\Z)"
)
_EXIM_LOGIN = re.compile(rb" A=[^:\s]+:(\S+)")


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected recipient."""

    place: int
    """Where in the line it begins."""
    attributes: Mapping[str, bytes]
    """The attributes of the policy request that the line contains, by their names."""
    is_complete: bool
    """Whether the request had no other names of the client: greyd's ACL for Exim sends no more."""
    reply: bytes = b""
    """What Postfix replied: the code and the text; empty for Exim."""

    @property
    def is_temporary(self) -> bool:
        """Whether the client was asked to try again."""
        return self.reply.startswith(b"4")


def parse_rejection(line: bytes) -> Rejection | None:
    """Return the rejection in a line; None if there is none."""
    if len(line) > MAX_REJECTION_BYTES:
        return None
    if found := _POSTFIX_START(line):
        # A sender's address may also contain these words; the first ones are Postfix's.
        rejection = parse_postfix_rejection(line, found.start())
        if rejection is not None:
            return rejection
    if found := _EXIM.search(line):
        return Rejection(found.start(), _exim_attributes(found), is_complete=True)
    return None


def parse_postfix_rejection(line: bytes, start: int) -> Rejection | None:
    """Return the rejection by Postfix that begins at an index in a line; None if there is none."""
    if found := _POSTFIX(line, start):
        given = {name: value for name, value in found.groupdict().items() if value is not None}
        reply = given.pop("reply")
        return Rejection(start, given, is_complete=False, reply=reply)
    return None


def _exim_attributes(found: re.Match[bytes]) -> dict[str, bytes]:
    """Return the attributes in ``H=name (helo) [address] … F=<sender> rejected RCPT <recipient>``.

    ``name`` is missing if it is not confirmed, and ``(helo)`` if the HELO name equals the name or
    is the address as a literal. greyd's ACL for Exim sends ``unknown`` for a missing name.
    """
    address, name, helo_name = found["client_address"], found["client_name"], found["helo_name"]
    attributes = {
        "client_name": name or b"unknown",
        "client_address": address,
        "sender": found["sender"],
        "recipient": found["recipient"] or found["bare_recipient"] or b"",
        "helo_name": (name or b"[%b]" % address) if helo_name is None else helo_name,
    }
    if login := _EXIM_LOGIN.search(found["more"]):
        attributes["sasl_username"] = login[1]
    return attributes
