"""Parses the text of an option's value.

Each parser returns the value, or raises ValueError; its message describes the expected value.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, Any

from greyd.config.durations import parse_delay_seconds
from greyd.config.numbers import OFF_WORDS, parse_weight
from greyd.config.vocabulary import (
    DECIDING_SETTINGS,
    IDENTITY_WAYS,
    METRICS_ENDPOINT,
    SIGNALS,
    TRUST,
    Endpoint,
    Zone,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Parser = Callable[[str], Any]


_RESOLVER = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")
_TRUTH_VALUES = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False, "": False,
}  # fmt: skip


def parse_flag(text: str) -> bool:
    """Return a truth value: yes, no, on, off, true, false, 1, 0; an empty text is false."""
    value = _TRUTH_VALUES.get(text.lower())
    if value is None:
        raise ValueError("yes or no")
    return value


def one_of(*choices: str) -> Parser:
    """Return a parser that accepts exactly these words, in any case."""
    canonical = {choice.lower(): choice for choice in choices}

    def read(text: str) -> str:
        if text.lower() not in canonical:
            raise ValueError(f"one of {', '.join(choices)}" if choices[1:] else choices[0])
        return canonical[text.lower()]

    return read


def parse_text(text: str) -> str:
    """Return a text without control characters."""
    if not text.isprintable():
        raise ValueError("a text without control characters")
    return text


def parse_store(text: str) -> str:
    """Return a URL with its scheme in lower case: schemes ignore case (RFC 3986, section 3.1)."""
    scheme, colon, rest = parse_text(text).partition(":")
    return scheme.lower() + colon + rest


def parse_path(text: str) -> Path:
    """Return a path, not empty and without control characters."""
    if not text or not text.isprintable():
        raise ValueError("a path")
    return Path(text)


MAX_SOCKET_PATH_BYTES = 107
"""The capacity of the kernel's ``sun_path`` (unix(7)), less one byte for the closing NUL."""


def parse_unix_path(text: str) -> Path:
    """Return the path of a Unix socket, short enough for the kernel."""
    path = parse_path(text)
    if text.startswith("@"):
        raise ValueError(
            "the path of a file, such as /run/greyd/socket: an abstract socket has neither owner"
            " nor mode, and Postfix can't connect to it"
        )
    if len(text.encode()) > MAX_SOCKET_PATH_BYTES or not path.name:
        raise ValueError(f"the path of a file, of {MAX_SOCKET_PATH_BYTES} bytes at the most")
    return path


def parse_socket_mode(text: str) -> int:
    """Return the mode of a Unix socket, written in octal."""
    if not re.fullmatch(r"(0o|0)?[0-7]{3}", text):
        raise ValueError("a file mode in octal, such as 0660")
    return int(text.removeprefix("0o"), 8)


def parse_endpoint(text: str) -> Endpoint:
    """Parse ``[HOST:]PORT``: ``PORT`` alone is on localhost; ``:PORT`` is on all interfaces."""
    host, colon, port = text.strip().lower().rpartition(":")
    if not colon:
        host = "localhost"
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("[HOST:]PORT, such as 127.0.0.1:10023")
    return Endpoint("" if host == "*" else host.removeprefix("[").removesuffix("]"), int(port))


def parse_metrics_endpoint(text: str) -> Endpoint | None:
    """Return the endpoint of the metrics; None for ``0`` or ``off``, which disable them."""
    word = text.strip().lower()
    if word in OFF_WORDS:
        return None
    if word in ("on", "yes", "true"):
        return METRICS_ENDPOINT
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        raise ValueError(
            f"[HOST:]PORT, such as 127.0.0.1:{METRICS_ENDPOINT.port}, or off"
        ) from None
    return endpoint._replace(host="127.0.0.1") if endpoint.host == "localhost" else endpoint


_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def parse_metrics_host(text: str) -> str:
    """Return a host name in lower case, or an IP address without brackets."""
    host = text.strip().lower().removesuffix(".")
    for family in (AF_INET, AF_INET6):
        try:
            inet_pton(family, host.removeprefix("[").removesuffix("]"))
        except (OSError, ValueError):
            continue
        return host.removeprefix("[").removesuffix("]")
    if not _HOST_NAME.fullmatch(host):
        raise ValueError("a name or an address without a port, such as mx1.example.org")
    return host


def parse_resolver(text: str) -> Endpoint:
    """Parse ``ADDRESS[:PORT]``; an IPv6 address needs brackets."""
    parts = _RESOLVER.fullmatch(text.strip())
    host, port = (parts["v6"] or parts["v4"], int(parts["port"] or 53)) if parts else ("", 0)
    try:
        inet_pton(AF_INET6 if parts and parts["v6"] else AF_INET, host)
    except OSError:
        port = 0
    if not 0 < port <= 65535:
        raise ValueError("ADDRESS[:PORT], such as 127.0.0.1:53 or [::1]:53")
    return Endpoint(host, port)


_FACILITIES = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", *["-"] * 4, *(f"local{number}" for number in range(8)),
]  # fmt: skip


def parse_facility(text: str) -> int:
    """Return the number of a syslog facility, given its name."""
    if text.lower() not in _FACILITIES or text == "-":
        raise ValueError("a syslog facility, such as mail, daemon or local0")
    return _FACILITIES.index(text.lower())


def parse_names(choices: Sequence[str], text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list; each must be one of ``choices``."""
    names = tuple(each.strip().lower() for each in text.split(",") if each.strip())
    if not names or not set(names) <= set(choices):
        raise ValueError(f"some of {', '.join(choices)}, with commas")
    return names


def parse_identity_ways(text: str) -> tuple[str, ...]:
    """Return the ways to identify a client's organisation, in order of preference."""
    return tuple(way for way in parse_names((*IDENTITY_WAYS, "subnet"), text) if way != "subnet")


def parse_signals(text: str) -> tuple[str, ...]:
    """Return the signals that make a client suspicious."""
    return SIGNALS if text.strip().lower() == "all" else parse_names(SIGNALS, text)


_OWN_DOMAIN = re.compile(r"(?=.{1,253}\Z)[^\s.@/:;,\"'\[\]]{1,63}(\.[^\s.@/:;,\"'\[\]]{1,63})+")


def parse_own_domain(text: str) -> str:
    """Return a domain in lower case, or the path of a file that lists domains."""
    if text.startswith("/"):
        return str(parse_path(text))
    domain = text.strip().lower().strip(".")
    if not _OWN_DOMAIN.fullmatch(domain) or not domain.isprintable():
        raise ValueError("a domain, such as example.com, or the path of a file with domains")
    return domain


_ZONE_LABEL = r"(?:[A-Za-z0-9_-]{1,63}|\{key\})"
_ZONE = re.compile(rf"(?=.{{1,190}}\Z)(?!.*\{{key\}}.*\{{key\}}){_ZONE_LABEL}(?:\.{_ZONE_LABEL})+")


def parse_zone(text: str) -> Zone:
    """Parse ``ZONE[=SECONDS][;codes=FIRST-LAST,…][;weight=NUMBER][;key_file=FILE]``."""
    first, *others = text.split(";")
    name, _, seconds = first.partition("=")
    zone = Zone(zone_name(name), parse_delay_seconds(seconds) if seconds else None)
    for each in others:
        key, _, value = each.partition("=")
        key = key.lower()
        if key == "delay":
            zone = zone._replace(delay_seconds=parse_delay_seconds(value))
        elif key == "codes":
            zone = zone._replace(codes=tuple(map(parse_codes, value.split(","))))
        elif key == "weight":
            zone = zone._replace(weight=parse_weight(value))
        elif key == "key_file":
            zone = zone._replace(key_file=parse_path(value))
        else:
            raise ValueError("ZONE=SECONDS;codes=127.0.0.2-127.0.0.11;weight=0.5;key_file=FILE")
    if (zone.delay_seconds or 0) < 0:
        raise ValueError("ZONE=SECONDS, not less than 0")
    return _with_key(zone)


def _with_key(zone: Zone) -> Zone:
    """Check that a zone with ``{key}``, and no other, has a file with the key."""
    if ("{key}" in zone.name) is not (zone.key_file is not None):
        raise ValueError("{key}.ZONE;key_file=FILE, both of them or neither")
    return zone


def zone_name(text: str) -> str:
    """Return the name of a zone in lower case."""
    if not _ZONE.fullmatch(text):
        raise ValueError("a DNS zone, such as zen.spamhaus.org")
    return text.lower()


def parse_codes(text: str) -> tuple[int, int]:
    """Return the first and last address, as integers, of a range ``FIRST[-LAST]``."""
    first, _, last = text.partition("-")
    try:
        numbers = [int(IPv4Address(each)) for each in (first, last or first)]
    except ValueError:
        raise ValueError("codes such as 127.0.0.2-127.0.0.11") from None
    return numbers[0], numbers[1]


def parse_dnswl(text: str) -> Zone:
    """Parse ``ZONE[=LEVEL][,support]``: a DNS whitelist and its minimum trust level.

    The level is medium by default. With ``support``, a listing outweighs a weak signal, but is no
    pass. ``;effect=support`` means the same. ``;key_file=FILE`` names the file with the key.
    """
    first, *others = text.split(";")
    files = [each for each in others if each.lower().startswith("key_file=")]
    others = [each.lower() for each in others if each not in files]
    name, _, level = first.partition("=")
    level, comma, effect = level.lower().partition(",")
    if comma:
        others.insert(0, f"effect={effect}")
    if (level and level not in TRUST) or not set(others) <= {"effect=support", "effect=pass"}:
        raise ValueError(f"ZONE=LEVEL or ZONE=LEVEL,support, with one of {', '.join(TRUST)}")
    supports = "effect=support" in others
    zone = Zone(zone_name(name), trust=TRUST.index(level or "medium"), supports=supports)
    if files:
        zone = zone._replace(key_file=parse_path(files[-1].partition("=")[2]))
    return _with_key(zone)


def parse_setting_change(text: str) -> tuple[str, str]:
    """Return name and value of ``NAME=VALUE``; the name is one of ``DECIDING_SETTINGS``."""
    name, equals, value = text.partition("=")
    name = name.strip().lower().lstrip("-").replace("_", "-")
    if name not in DECIDING_SETTINGS:
        from difflib import get_close_matches

        similar = get_close_matches(name, DECIDING_SETTINGS, 3)
        shown = ", ".join(dict.fromkeys([*similar, *DECIDING_SETTINGS[:3]]))
        raise ValueError(
            f"NAME=VALUE, with a setting that affects decisions: {shown}, …"
            f" (greyd replay --with= and TAB lists all {len(DECIDING_SETTINGS)})"
        )
    if not equals:
        raise ValueError(f"a value: {name}=VALUE")
    return name, value.strip()
