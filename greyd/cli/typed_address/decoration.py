"""Removes what surrounds a pasted address: quotes, labels, brackets, display names, punctuation.

For example ``recipient=<bob@example.org>,`` and ``"Bob, Jr." <bob@example.org>`` become
``bob@example.org``. Text with two different addresses is refused.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import unquote

from greyd.errors import GreydError

if TYPE_CHECKING:
    from collections.abc import Callable


class NotUnderstoodError(GreydError):
    """A text that is not a single address, domain or network; the message gives the reason."""


MAX_TEXT_CHARACTERS = 2000

NULL_SENDER_TEXT = "<>"

_MAX_LAYERS = 40

# Characters --------------------------------------------------------------------------------------

_TERMINAL_CODE = re.compile(r"(?:\x1b|#033)\[[0-9;?]{0,20}[A-Za-z]")
_SYSLOG_ESCAPES = re.compile(r"(?:#0[0-3][0-7])+\Z")
"""Control characters at the end of a line as rsyslog writes them, e.g. ``#015`` for CR."""
_ENTITY = re.compile(
    r"&(?:lt|gt|quot|apos|amp|nbsp|commat|#\d{1,7}|#x[0-9a-f]{1,6});", re.IGNORECASE
)
_JSON_ESCAPE = re.compile(r"\\u00(3c|3e|22|27|40|26)", re.IGNORECASE)
_PERCENT_ESCAPES = re.compile(r"(?:%[89A-F][0-9A-F])+")
"""Bytes outside ASCII as ``printable`` writes them in logs and lists; ``%`` itself stays."""

_ALIKE = str.maketrans({
    **dict.fromkeys("＠﹫", "@"),
    **dict.fromkeys("＜﹤〈⟨", "<"),
    **dict.fromkeys("＞﹥〉⟩", ">"),
    **dict.fromkeys("“”„‟«»″＂", '"'),
    **dict.fromkeys("‘’‚‛‹›′´＇", "'"),
    "：": ":", "，": ",", "；": ";", "［": "[", "］": "]", "／": "/",
})  # fmt: skip
"""Typographic and full-width forms of the characters around an address."""

_JOINERS = "\u200c\u200d"
"""Zero-width characters that belong to names in some scripts (RFC 5892, A.1 and A.2)."""


def visible_text(text: str) -> str:
    """Return a text without invisible characters, and with plain spaces for all other spaces.

    Escapes of HTML, JSON, terminals and greyd's own lists are decoded.

    Raises:
        NotUnderstoodError: the text is longer than ``MAX_TEXT_CHARACTERS``.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        raise NotUnderstoodError(f"longer than {MAX_TEXT_CHARACTERS} characters")
    text = _TERMINAL_CODE.sub("", text)
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0].lower()), text)
    text = _JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text)
    text = _PERCENT_ESCAPES.sub(lambda escapes: unquote(escapes[0], errors="surrogateescape"), text)
    text = text.translate(_ALIKE)
    return "".join(_visible(text, at) for at in range(len(text))).strip()


def _visible(text: str, at: int) -> str:
    character = text[at]
    if character.isascii():
        return " " if character.isspace() else character
    if character in _JOINERS and 0 < at < len(text) - 1:
        joins = not (text[at - 1].isascii() or text[at + 1].isascii())
        return character if joins else ""
    match unicodedata.category(character):
        case "Cf":
            return ""
        case "Zs" | "Zl" | "Zp":
            return " "
    return " " if character.isspace() else character


# Log lines ---------------------------------------------------------------------------------------

_VALUE = r"""["']?\s*[=:]\s*(?P<value><[^<>]*>|"[^"]*"|[^\s,;]*)"""


def value_in_line(text: str, labels: str) -> str | None:
    """Return the value of the field in a log line that has one of the labels, separated by ``|``.

    It is None if there is no such field, or if several have different values.
    """
    field = re.compile(rf"""(?:\A|[\s,;{{"'])(?:{labels}){_VALUE}""", re.IGNORECASE)
    values = {found["value"] for found in field.finditer(text)}
    return values.pop() if len(values) == 1 else None


# Layers ------------------------------------------------------------------------------------------

_SENDER_LABELS = r"sender|from|envelope-from|mail from|smtp\.mailfrom"
_FIELDS = (
    f"{_SENDER_LABELS}|recipient|to|orig_to|rcpt to|client|client_address|client_name|client-ip"
    "|reverse_client_name|remote_ip|rip|helo|helo_name"
)
"""Labels before ``=`` or ``:``: others, before ``=``, may begin a local part (``user=host@…``)."""
_HEADERS = (
    r"return-path|reverse-path|b?cc(?=:\s)|delivered-to|x-original-to|reply-to|user|address|e-?mail"
    "|ip|domain"
)
_LABEL = re.compile(
    rf"[\s\"'{{(,;]*(?:(?P<field>{_FIELDS})['\"]?\s*[=:]|(?P<header>{_HEADERS})['\"]?\s*:)"
    r"(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_SENDER_LABEL = re.compile(rf"{_SENDER_LABELS}|re(?:turn|verse)-path", re.IGNORECASE)
_NEXT_FIELD = re.compile(r"[,;]?\s+['\"]?[a-z_]{2,30}['\"]?[=:]", re.IGNORECASE)
"""Ends the value of a labelled field, e.g. ``, relay=``."""
_PROTOCOL = re.compile(r"(?:smtp|sip|sips|xmpp|im|acct):(?P<rest>[^/\s]+@.*)", re.IGNORECASE)
"""The kind of an address in directories (``SMTP:bob@example.org`` of Exchange)."""
_TITLE = re.compile(r"[\w .-]{1,60}:\s+(?P<rest>[^\s@]+@.*)", re.DOTALL)
"""A title before an address, such as the name of a group (RFC 5322, 3.4) or of a column."""
_NUMBER = re.compile(r"[0-9]{1,4}[.)]\s+(?P<rest>[^\s@]+@.*)", re.DOTALL)
_SPACED_AT = re.compile(r"(?P<local>[^\s@]+)\s+@\s+(?P<domain>[^\s@]+)")
_COMMENT_AT_AT = re.compile(r"\s*\([^()@]*\)\s*(?=@)|(?<=@)\s*\([^()@]*\)\s*")
"""Comments next to the ``@`` (RFC 5322, 3.2.2): ``bob(work)@example.org``."""
_LINK = re.compile(r"\[[^\[\]]*\]\((?P<target>[^()]*)\)")
_MAILTO = re.compile(r"mailto:(?://)?(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_QUERY = re.compile(r"\?(?:subject|body|cc|bcc|to|in-reply-to)=.*\Z", re.IGNORECASE | re.DOTALL)
_IN_ANGLES = re.compile(r"<([^<>]*)>")
_SOURCE_ROUTE = re.compile(r"@[^:@]+(?:,@[^:@]+)*:(?P<rest>[^@]+@[^@]+)")
"""``@relay.example:bob@example.org`` (RFC 5321, appendix C)."""
_COMMENT = re.compile(r"\s*\([^()]*\)\Z")
_BULLET = re.compile(r"\A[-*•·]\s+")
_QUOTED_LOCAL_PART = re.compile(r'"(?:[^"\\]|\\.)*"@')
_PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
_EMPHASIS = "*_~|"
_LEADING_MARKS = ",;:([{<'`\\|"
_TRAILING_MARKS = ",;.:!?)]}>'`\"\\|…。"


def undecorated(text: str, is_complete: Callable[[str], bool]) -> str:
    """Return a visible text without its layers, up to the first that ``is_complete`` accepts.

    The null sender is returned as ``<>``.

    Raises:
        NotUnderstoodError: the text has several different addresses.
    """
    for _ in range(_MAX_LAYERS):
        text = text.strip()
        inner = _without_named_layer(text)
        if inner == text:
            if is_complete(text):
                return text
            inner = _without_marks(text)
        if inner == text:
            return text
        text = inner
    return text


def _without_named_layer(text: str) -> str:
    """Remove an unmistakable layer: a label, a link, angle brackets, ``mailto:``."""
    if text == NULL_SENDER_TEXT:
        return text
    if (label := _LABEL.fullmatch(text)) is not None:
        return _value_of(label["field"] or label["header"], label["rest"])
    if (link := _LINK.search(text)) is not None:
        return link["target"]
    if "<" in text and ">" in text and (inner := _within_angles(text)) is not None:
        return inner
    if (mailto := _MAILTO.fullmatch(text)) is not None:
        return unquote(_before_query(mailto["rest"]), errors="surrogateescape")
    if (inner := _without_prefix(text)) != text:
        return inner
    text = _QUERY.sub("", text)
    if (route := _SOURCE_ROUTE.fullmatch(text)) is not None:
        return route["rest"]
    if len(text) > 2 and text[0] == text[-1] and text[0] in _EMPHASIS:
        return text[1:-1]
    # No address begins with an apostrophe, though a local part may.
    return text.lstrip("'`")


def _without_prefix(text: str) -> str:
    """Remove what directories, lists and headers write before an address or beside its ``@``."""
    for prefix in (_PROTOCOL, _NUMBER, _TITLE):
        if (found := prefix.fullmatch(text)) is not None:
            _require_no_other_address(text, found["rest"])
            return found["rest"]
    if (spaced := _SPACED_AT.fullmatch(text)) is not None:
        return f"{spaced['local']}@{spaced['domain']}"
    return text if text.startswith('"') else _COMMENT_AT_AT.sub("", text)


def _value_of(label: str, rest: str) -> str:
    """Return the value of a labelled field; without one, a sender is the null sender."""
    value = rest.strip()
    if (following := _NEXT_FIELD.search(value)) is not None:
        _require_no_other_address(value, value[: following.start()])
        value = value[: following.start()]
    is_empty = not value.strip(_TRAILING_MARKS + " ")
    return NULL_SENDER_TEXT if is_empty and _SENDER_LABEL.fullmatch(label) else value


_ANY_ADDRESS = re.compile(r"[^\s@<>\"'(),;:=]+@[^\s@<>\"'(),;:]+")


def _require_no_other_address(text: str, taken: str) -> None:
    """Check that a text has no mail address besides the one taken from it."""
    found = list(dict.fromkeys(each.rstrip(".").lower() for each in _ANY_ADDRESS.findall(text)))
    if len(found) > 1 or (found and "@" not in taken):
        raise NotUnderstoodError(f"several addresses ({', '.join(found[:3] or [taken])}); give one")


def _before_query(link: str) -> str:
    return re.split(r"[?|]", link, maxsplit=1)[0]


def _within_angles(text: str) -> str | None:
    """Return what angle brackets contain; ``<>`` for an empty pair, None without a pair."""
    groups = list(_IN_ANGLES.finditer(text))
    if not groups:
        return None
    values = list(dict.fromkeys(each[1].strip().lower() for each in groups))
    after = text[groups[-1].end() :]
    if len(values) > 1 or _ANY_ADDRESS.search(after):
        found = [each or NULL_SENDER_TEXT for each in values] + _ANY_ADDRESS.findall(after)
        raise NotUnderstoodError(f"several addresses ({', '.join(found[:3])}); give one")
    return groups[0][1] if values[0] else NULL_SENDER_TEXT


def _without_marks(text: str) -> str:
    """Remove one pair of brackets or quotes, one comment, or one mark at an end."""
    if not text:
        return text
    bare = text.removeprefix('\\"')
    if bare.startswith('"') and not _QUOTED_LOCAL_PART.match(bare):
        bare = bare[1:]
    if bare != text:
        return bare.removesuffix('"').removesuffix("\\")
    if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
        return text[1:-1]
    for mark in (_BULLET, _COMMENT, _SYSLOG_ESCAPES):
        if (shorter := mark.sub("", text, count=1)) != text and shorter:
            return shorter
    if text[-1] in _TRAILING_MARKS:
        return text[:-1]
    return text[1:] if text[0] in _LEADING_MARKS else text
