"""The forms of a mail address: without its tag, without its extension, with ``#`` for numbers."""

from __future__ import annotations

import re

_BATV = re.compile(rb"prvs=([^=]*)=([^=]+)=?")
"""Tag and address in either order; postgrey allows one more ``=`` at the end."""
_BATV_TAG = re.compile(rb"[0-9a-z]{10}")
_LONE_NUMBER = re.compile(rb"\b[0-9]+\b")


def normalise_sender(sender: bytes) -> bytes:
    """Return the sender without the parts that differ from mail to mail (postgrey's behaviour).

    In the local part, this removes a BATV tag and the extension from the first ``+`` on, and
    replaces each whole word of digits by ``#``. A sender without ``@`` stays unchanged.
    """
    local, at, domain = sender.partition(b"@")
    if not at:
        return sender
    return replace_numbers(local_part_without_tags(local)) + at + domain


def local_part_without_tags(local: bytes) -> bytes:
    """Return a local part without a BATV tag, and without the extension from the first ``+`` on."""
    if local.startswith(b"prvs="):
        local = _without_batv_tag(local)
    return local.partition(b"+")[0]


def replace_numbers(local: bytes) -> bytes:
    """Return a local part with ``#`` for each whole word of digits."""
    return _LONE_NUMBER.sub(b"#", local)


def _without_batv_tag(local: bytes) -> bytes:
    batv = _BATV.fullmatch(local)
    if batv is None:
        return local
    left, right = batv.groups()
    # Tag and address occur in both orders; if both parts look like a tag, the first one is the tag.
    tag_is_right = _BATV_TAG.match(right) and not _BATV_TAG.match(left)
    return left if tag_is_right else right
