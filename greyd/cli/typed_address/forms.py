"""The forms that a typed address, domain or client can have; ``recognise`` determines which."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import TypeAlias

from greyd.cli.typed_address.decoration import (
    NULL_SENDER_TEXT,
    NotUnderstoodError,
    undecorated,
    value_in_line,
    visible_text,
)
from greyd.config.sender_groups import GROUP_PREFIX
from greyd.escaping import printable
from greyd.rules.address import Address, address_text, parse_address
from greyd.rules.names.internationalised import ascii_address, ascii_domain, both_forms
from greyd.rules.networks import Network, parse_network


@dataclass(frozen=True, slots=True)
class NullSender:
    """The sender of bounces, ``<>``."""

    def __str__(self) -> str:
        return "the null sender <>"


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A mail address."""

    local: bytes
    """The local part without quotes, as Postfix passes it on."""
    domain: bytes
    """In lower case and ASCII, without a dot at the end."""

    @property
    def text(self) -> bytes:
        """The address without decoration."""
        return b"%b@%b" % (self.local, self.domain)

    def __str__(self) -> str:
        return f"the mail address {printable(self.local)}@{both_forms(self.domain)}"


@dataclass(frozen=True, slots=True)
class DomainName:
    """A domain or a host's name."""

    name: bytes
    """In lower case and ASCII, without a dot at the end."""
    has_at: bool = False
    """Whether it was written ``@example.org``: all mail addresses of the domain."""

    def __str__(self) -> str:
        return f"the domain {both_forms(self.name)}"


@dataclass(frozen=True, slots=True)
class ClientNetwork:
    """A client's address, or a network."""

    network: Network

    @property
    def text(self) -> bytes:
        """The address, or the network in CIDR notation."""
        text = address_text(self.network.number, self.network.bits)
        return text if self.is_address else b"%b/%d" % (text, self.network.prefix)

    @property
    def is_address(self) -> bool:
        """Whether it is a single address."""
        return self.network.prefix == self.network.bits

    @property
    def address(self) -> Address | None:
        """The address; None for a network."""
        text = address_text(self.network.number, self.network.bits)
        return parse_address(text) if self.is_address else None

    def __str__(self) -> str:
        kind = "the client's address" if self.is_address else "the network"
        return f"{kind} {self.text.decode()}"


@dataclass(frozen=True, slots=True)
class ClientGroup:
    """A sender group (``--sender-group``)."""

    identity: bytes
    """``group:`` and the name, in lower case."""

    def __str__(self) -> str:
        return f"the sender group {printable(self.identity)}"


Recognised: TypeAlias = NullSender | MailAddress | DomainName | ClientNetwork | ClientGroup


_ESCAPED_AT = re.compile(r"[^\s%]+%40[^\s%]+")


def recognise(text: str) -> Recognised:
    """Return what a typed or pasted text means.

    Raises:
        NotUnderstoodError: it is not a single address, domain or network.
    """
    text = visible_text(text)
    if re.fullmatch(r"[^@:]*:\s*;", text):
        raise NotUnderstoodError(f"{printable(_encode(text))} is a group without addresses")
    if "@" not in text and _ESCAPED_AT.fullmatch(text) is not None:
        text = text.replace("%40", "@")
    if "@" in text or "mailto:" in text.lower():
        bare = undecorated(text, lambda each: _mail(each) is not None)
        if "@" in bare:
            return _mail(bare) or _explain_mail(bare)
        text = bare
    elif (bracketed := _bracketed_client(text)) is not None:
        return bracketed
    bare = undecorated(text, lambda each: _without_at(each) is not None)
    return _without_at(bare) or _explain_name(bare)


def recognise_in_line(line: str, labels: str) -> Recognised | None:
    """Return what the field of a log line means; None if the line has no such field.

    Args:
        line: a line of greyd, postgrey or Postfix.
        labels: the names of the field, separated by ``|``. That of a client may have no name, as in
            ``reject: RCPT from unknown[192.0.2.7]:``.

    Raises:
        NotUnderstoodError: the field is not a single address, domain or network.
    """
    line = visible_text(line)
    value = value_in_line(line, labels)
    if value is not None:
        return recognise(value or NULL_SENDER_TEXT)
    return _bracketed_client(line) if "client" in labels else None


# Mail addresses ----------------------------------------------------------------------------------

MAX_LOCAL_PART_CHARACTERS = 256
"""More than RFC 5321, 4.5.3.1.1, allows: rewritten senders (SRS) are longer in practice."""

_LOCAL_PART = re.compile(r'[^\x00-\x20\x7f-\xa0@"(),:;<>\[\\\]]+')
_QUOTED = re.compile(r'"(?P<text>(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"')
_LITERAL = re.compile(r"\[(?:ipv6:)?(?P<address>[0-9a-f:.]{2,45})\]", re.IGNORECASE)
_WHOLE_DOMAIN = re.compile(r"\*?@(?P<domain>[^@]+)")


def _mail(text: str) -> MailAddress | DomainName | None:
    """Read a mail address, or all addresses of a domain (``@example.org``)."""
    if (whole := _WHOLE_DOMAIN.fullmatch(text)) is not None:
        name = _domain(whole["domain"])
        return None if name is None else DomainName(name, has_at=True)
    local, at, domain = text.rpartition("@")
    name = (_domain(domain) or _literal(domain)) if at else None
    if name is None or len(local) > MAX_LOCAL_PART_CHARACTERS:
        return None
    if _LOCAL_PART.fullmatch(local):
        return MailAddress(_encode(unicodedata.normalize("NFC", local)), name)
    if (quoted := _QUOTED.fullmatch(local)) is not None and quoted["text"]:
        return MailAddress(_encode(re.sub(r"\\(.)", r"\1", quoted["text"])), name)
    return None


def _literal(domain: str) -> bytes | None:
    """Read the address literal in ``bob@[192.0.2.7]`` (RFC 5321, 4.1.3)."""
    literal = _LITERAL.fullmatch(domain)
    if literal is None or parse_address(literal["address"].encode()) is None:
        return None
    return domain.lower().encode()


def _explain_mail(text: str) -> MailAddress:
    local, _, domain = text.rpartition("@")
    where = printable(_encode(text))
    if len(found := text.replace(",", " ").replace(";", " ").split()) > 1 and (
        sum("@" in each for each in found) > 1
    ):
        raise NotUnderstoodError(f"several addresses ({where}); give one")
    if not domain or not local:
        raise NotUnderstoodError(f"{where} is not a mail address: part of it is missing")
    if not (_domain(domain) or _literal(domain)):
        raise NotUnderstoodError(
            f"{where} is not a mail address: {printable(_encode(domain))} is not a domain"
        )
    raise NotUnderstoodError(
        f"{where} is not a mail address; a local part with spaces or marks is written in quotes:"
        f' "{printable(_encode(local))}"@{printable(_encode(domain))}'
    )


def stored_form(address: bytes) -> bytes:
    """Return a stored address in the form of ``MailAddress.text``.

    The domain is converted to ASCII, and loses a final dot, which Postfix passes on; the local part
    loses its quotes, which other mail servers pass on.
    """
    local, at, domain = ascii_address(address).rpartition(b"@")
    if len(local) > 1 and local.startswith(b'"') and local.endswith(b'"'):
        local = re.sub(rb"\\(.)", rb"\1", local[1:-1], flags=re.DOTALL)
    return local + at + domain.removesuffix(b".")


# Domains -----------------------------------------------------------------------------------------

MAX_DOMAIN_BYTES = 253

_LABEL = re.compile(rb"[a-z0-9_-]{1,63}")
_URL = re.compile(
    r"(?:https?|smtps?|submissions?|tcp|inet):(?://)?(?P<host>[^/?#]+).*", re.IGNORECASE
)
_PORT = re.compile(r"(?P<host>[^:\s]+):[0-9]{1,5}")


def _domain(text: str) -> bytes | None:
    """Read a domain in ASCII.

    Labels that are invalid in IDNA stay as they are: entries have them in this form. Punctuation
    and spaces are never part of a name.
    """
    name = ascii_domain(_encode(unicodedata.normalize("NFC", text))).lower()
    labels = name.removesuffix(b".").split(b".")
    if not all(map(_is_label, labels)) or len(name) > MAX_DOMAIN_BYTES:
        return None
    return b".".join(labels)


def _is_label(label: bytes) -> bool:
    if label.isascii():
        return _LABEL.fullmatch(label) is not None
    text = label.decode(errors="surrogateescape")
    return len(label) <= MAX_DOMAIN_BYTES and all(
        (each.isalnum() or each in "-_")
        if each.isascii()
        else unicodedata.category(each)[0] in "LMNS" or unicodedata.category(each) == "Cs"
        for each in text
    )


# Clients -----------------------------------------------------------------------------------------

_IN_BRACKETS = re.compile(
    r"(?<!@)\[(?:ipv6:)?(?P<address>[0-9a-f:.]{2,45})(?:%\w+)?\]", re.IGNORECASE
)
_IN_PARENTHESES = re.compile(
    r"[\w.-]*\s+\((?:ipv6:)?(?P<address>[0-9a-f:.]{2,45})\)", re.IGNORECASE
)
_ZONE = re.compile(r"(?P<address>[0-9a-f:.]+:[0-9a-f:.]*)%[\w.-]{1,15}", re.IGNORECASE)
_WILDCARD = re.compile(r"(?P<octets>(?:[0-9]{1,3}\.){1,3})(?:[*x]\.){0,2}[*x]", re.IGNORECASE)
_DOTTED_MASK = re.compile(r"[0-9.]{7,15}/[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


def _bracketed_client(text: str) -> ClientNetwork | None:
    """Read the one address in brackets, as in ``name[192.0.2.7]:25`` and in log lines."""
    found = {each["address"].lower() for each in _IN_BRACKETS.finditer(text)}
    networks = [parse_network(each.encode()) for each in found]
    if len(networks) > 1 and all(networks):
        raise NotUnderstoodError(f"several addresses ({', '.join(sorted(found))}); give one")
    if len(networks) != 1 or networks[0] is None:
        return None
    after = text.rpartition("]")[2]
    # "[2001:db8::]/48": the whole text has to be read.
    return None if after.startswith("/") else ClientNetwork(networks[0])


def _without_at(text: str) -> NullSender | DomainName | ClientNetwork | ClientGroup | None:
    """Read a text that is not a mail address."""
    if text == NULL_SENDER_TEXT:
        return NullSender()
    if (network := _network(text)) is not None:
        return ClientNetwork(network)
    if text.lower().encode(errors="surrogateescape").startswith(GROUP_PREFIX):
        return _group(text)
    if (url := _URL.fullmatch(text)) is not None:
        return _without_at(url["host"])
    if (port := _PORT.fullmatch(text)) is not None:
        return _without_at(port["host"])
    # Treat a final dot as punctuation at first: after the loop it is part of the name.
    name = _domain(text) if not text.endswith(".") else None
    return DomainName(name) if name and _may_be_domain(name) else None


_NUMBER_LIKE = re.compile(rb"[0-9-]+|0x[0-9a-f]+")


def _may_be_domain(name: bytes) -> bool:
    """Whether a name has a letter at its end: others are ranges and numbers of addresses."""
    return _NUMBER_LIKE.fullmatch(name.rpartition(b".")[2]) is None


def _network(text: str) -> Network | None:
    """Read an address or a network in any of the usual notations."""
    text = re.sub(r"\Aipv6:", "", text, flags=re.IGNORECASE)
    if (inside := _IN_PARENTHESES.fullmatch(text)) is not None:
        return parse_network(inside["address"].encode())
    if (bracketed := re.fullmatch(r"\[(?P<address>[^\]]+)\](?P<mask>/[0-9]+)", text)) is not None:
        text = re.sub(r"\Aipv6:", "", bracketed["address"], flags=re.IGNORECASE) + bracketed["mask"]
    if (zone := _ZONE.fullmatch(text)) is not None:
        text = zone["address"]
    if (wildcard := _WILDCARD.fullmatch(text)) is not None:
        octets = wildcard["octets"].rstrip(".").split(".")
        text = ".".join([*octets, "0", "0", "0"][:4]) + f"/{8 * len(octets)}"
    if _DOTTED_MASK.fullmatch(text) is not None:
        try:
            text = str(ipaddress.IPv4Network(text, strict=False))
        except ValueError:
            return None
    return parse_network(text.encode(errors="surrogateescape"))


def _group(text: str) -> ClientGroup | None:
    name = text.lower().encode(errors="surrogateescape").rstrip(b".,;")
    return ClientGroup(name) if re.fullmatch(rb"group:[\w.-]+", name) else None


def _explain_name(text: str) -> DomainName:
    shown = printable(_encode(text))
    if re.fullmatch(r"\*?\.[^*@]+", text) and (name := _domain(text.lstrip("*."))):
        raise NotUnderstoodError(
            f"{shown} has a wildcard; a domain includes its subdomains: write {printable(name)}"
        )
    if re.fullmatch(r"[0-9.]+-[0-9.]+|[0-9a-f:.]+:[0-9a-f:.]*-[0-9a-f:.]+", text, re.IGNORECASE):
        raise NotUnderstoodError(
            f"{shown} is a range of addresses; write networks, such as 192.0.2.0/28"
        )
    if re.fullmatch(r"0x[0-9a-f]+", text, re.IGNORECASE):
        raise NotUnderstoodError(f"{shown} is a number, not an address; write 192.0.2.7")
    octets = text.split(".")
    if (
        1 < len(octets) < 4
        and all(re.fullmatch("[0-9]{1,3}", each) for each in octets)
        and (max(map(int, octets)) < 256)
    ):
        network = ".".join([*octets, "0", "0", "0"][:4])
        raise NotUnderstoodError(
            f"{shown} is not an address; for the network write {network}/{8 * len(octets)}"
        )
    if re.fullmatch(r"[0-9.]+(?:/[0-9.]*)?|[0-9a-f]*:[0-9a-f:.]*(?:/[0-9]*)?", text, re.IGNORECASE):
        raise NotUnderstoodError(f"{shown} is not a valid IP address or network")
    raise NotUnderstoodError(f"{shown} is not an address, domain or network" if text else "empty")


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
