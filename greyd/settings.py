"""What can be set, in one table: options, environment variables, the TOML file, and their defaults.

A setting's value is the first that is found of: the command line, the words of ``GREYD_OPTS``,
``GREYD_…`` in the environment, the TOML file, ``POSTGREY_OPTS`` and ``POSTGREY_TEXT``, the default.
All of them give text, read by the same function, so a value means the same wherever it stands. The
grammar of the command line is postgrey's: ``--name=value``, ``--name value``, ``-name value``; no
abbreviations; parsing ends at ``--``.

Everything here is pure: arguments and texts go in, ``Settings`` or a ``SettingsError`` come out.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, fields
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton  # arithmetic on addresses, no I/O
from typing import TYPE_CHECKING, Any, NamedTuple

from greyd.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Reader = Callable[[str], Any]

DAY = 86400
HOUR = 3600

GREYLIST_TEXT = "Greylisted, see http://postgrey.schweikert.ch/help/%r.html"
HEADER = "X-Greylist: delayed %t seconds by greyd-%v at %h; %d"


class SettingsError(Exception):
    """A setting is wrong; the text says where, what, and what to do."""


class SetupError(Exception):
    """The server can't be started so; the text says what is wrong and what to do."""


class Endpoint(NamedTuple):
    """Where to listen: a host (empty for all interfaces) and a port."""

    host: str
    port: int

    def to_ask(self) -> Endpoint:
        """Return where this machine can ask who listens there: of all interfaces on loopback."""
        return self._replace(host=_LOOPBACK.get(self.host, self.host))


# Those are what is asked for, and nothing is bound here.
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
ALL_INTERFACES = frozenset(_LOOPBACK)
"""Hosts of an ``Endpoint`` that stand for all addresses of the machine."""


METRICS_ENDPOINT = Endpoint("127.0.0.1", 9923)

DELAYS = ("CLEAN", "UNSURE", "SUSPICIOUS", "LISTED")

MODES = ("on", "learn", "off")

IDENTITY_WAYS = ("spf", "name")
"""How it can be known for whom a client sends."""

SIGNALS = (
    "no_ptr", "ptr_mismatch", "helo_not_fqdn", "helo_no_address", "sender_no_mx", "generic_name",
    "dnsbl", "rhsbl", "spf_fail",
)  # fmt: skip
"""Marks of spamware that a client can show."""


class Kind(Enum):
    """How an option stands on the command line."""

    VALUE = "value"
    FLAG = "flag"
    OPTIONAL = "optional"
    """``--name`` or ``--name=value``."""
    MANY = "many"
    """May be given several times."""


# Readers: text → value; ValueError(what is expected) where the text is none ---------------------

_WHOLE = re.compile(r"[-+]?[0-9][0-9_]{0,20}")
_LARGEST = 10**12
_LARGEST_INT = 2**31 - 1  # of C, which listen(2) takes
_MIN_STORE_BYTES, _MAX_STORE_BYTES = 2**20, 2**47  # the latter is half of SQLite's own limit
_A_CENTURY = 36_525 * DAY  # longer lives than that no store can keep
_RESOLVER = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?")


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text) or abs(number := int(text.replace("_", ""))) > _LARGEST:
        raise ValueError("a whole number")
    return number


def _between(least: int, most: int, what: str) -> Reader:
    def read(text: str) -> int:
        number = _whole(text)
        if not least <= number <= most:
            raise ValueError(f"{what} from {least} to {most}")
        return number

    return read


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,15}) ?([kmgt]?)(?:i?b)?", text.lower())
    number = int(found[1]) << 10 * " kmgt".index(found[2] or " ") if found else 0
    if not _MIN_STORE_BYTES <= number <= _MAX_STORE_BYTES:
        raise ValueError("a size from 1M to 128T, in bytes or with K, M, G or T (4G)")
    return number


def _at_least_nought(text: str) -> int:
    return _not_negative(_whole(text))


def _not_negative(number: int) -> int:
    if number < 0:
        raise ValueError("a whole number, 0 or more")
    return number


def _days(text: str) -> int:
    return min(_not_negative(_whole(text)) * DAY, _A_CENTURY)


def _retry_window(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}[hH]?", text):
        raise ValueError("a number of days, or of hours with an h (6h)")
    seconds = int(text[:-1]) * HOUR if text[-1] in "hH" else int(text) * DAY
    return min(seconds, _A_CENTURY)


def _more_than_nothing(what: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 < number <= DAY:
            raise ValueError(f"{what}, more than 0")
        return number

    return read


_seconds = _more_than_nothing("seconds")
_weight = _more_than_nothing("a weight")


def _flag(text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "on": True}
    values |= {"0": False, "false": False, "no": False, "off": False, "": False}
    if text.lower() not in values:
        raise ValueError("yes or no")
    return values[text.lower()]


def _one_of(*choices: str) -> Reader:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text without control characters")
    return text


def _store(text: str) -> str:
    """Read a URL; schemes are case-blind (RFC 3986, section 3.1)."""
    scheme, colon, rest = _text(text).partition(":")
    return scheme.lower() + colon + rest


def _path(text: str) -> Path:
    if not text or not text.isprintable():
        raise ValueError("a path")
    return Path(text)


MAX_SOCKET_PATH_BYTES = 107
"""What fits into the kernel's ``sun_path`` (unix(7)) with its closing NUL."""


def _unix_path(text: str) -> Path:
    path = _path(text)
    if text.startswith("@"):
        raise ValueError(
            "the path of a file, such as /run/greyd/socket: an abstract socket has neither owner"
            " nor mode, and Postfix can't connect to it"
        )
    if len(text.encode()) > MAX_SOCKET_PATH_BYTES or not path.name:
        raise ValueError(f"the path of a file, of {MAX_SOCKET_PATH_BYTES} bytes at the most")
    return path


def _socket_mode(text: str) -> int:
    if not re.fullmatch(r"(0o|0)?[0-7]{3}", text):
        raise ValueError("a file mode in octal, such as 0660")
    return int(text.removeprefix("0o"), 8)


def _endpoint(text: str) -> Endpoint:
    """Read ``[HOST:]PORT``; no host means localhost, an empty one or ``*`` all interfaces."""
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host = "localhost"
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("[HOST:]PORT, such as 127.0.0.1:10023")
    return Endpoint("" if host == "*" else host.removeprefix("[").removesuffix("]"), int(port))


def _metrics(text: str) -> Endpoint | None:
    if text == "0":
        return None
    endpoint = _endpoint(text)
    return endpoint._replace(host="127.0.0.1") if endpoint.host == "localhost" else endpoint


_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def _metrics_host(text: str) -> str:
    """Read a name, or an address with or without brackets."""
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


def _resolver(text: str) -> Endpoint:
    """Read ``ADDRESS[:PORT]``; an IPv6 address with a port stands in brackets."""
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


def _facility(text: str) -> int:
    if text.lower() not in _FACILITIES or text == "-":
        raise ValueError("a syslog facility, such as mail, daemon or local0")
    return _FACILITIES.index(text.lower())


def _delay(text: str) -> int | tuple[int, ...]:
    numbers = tuple(_whole(each) for each in text.split(","))
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) != len(DELAYS) or min(numbers) < 0:
        raise ValueError(f"a number of seconds, or {len(DELAYS)} of them: {','.join(DELAYS)}")
    return numbers


def _names_of(choices: Sequence[str], text: str) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    if not names or not set(names) <= set(choices):
        raise ValueError(f"some of {', '.join(choices)}, with commas")
    return names


def _ways(text: str) -> tuple[str, ...]:
    return tuple(way for way in _names_of((*IDENTITY_WAYS, "subnet"), text) if way != "subnet")


def _signals(text: str) -> tuple[str, ...]:
    return SIGNALS if text == "all" else _names_of(SIGNALS, text)


class Zone(NamedTuple):
    """A DNS list, and what its answers mean."""

    name: str
    delay_seconds: int | None = None
    """Of those that stand on it; None: as of all that are listed."""
    codes: tuple[tuple[int, int], ...] = ()
    """First and last of the answers that count, as numbers; without any all in 127.0.0.0/8."""
    weight: float = 1.0
    """A client is listed where the weights of the lists that it stands on reach 1."""
    trust: int = 0
    """The least level of trust that counts, of a whitelist."""


_ZONE = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})+")
TRUST = ("none", "low", "medium", "high")
"""Levels of DNS whitelists (dnswl.org's), the least first."""


def _zone(text: str) -> Zone:
    """Read ``ZONE[=SECONDS][;codes=FIRST-LAST,…][;weight=NUMBER]``."""
    first, *others = text.split(";")
    name, _, seconds = first.partition("=")
    zone = Zone(_zone_name(name), _whole(seconds) if seconds else None)
    for each in others:
        key, _, value = each.partition("=")
        if key == "delay":
            zone = zone._replace(delay_seconds=_whole(value))
        elif key == "codes":
            zone = zone._replace(codes=tuple(map(_codes, value.split(","))))
        elif key == "weight":
            zone = zone._replace(weight=_weight(value))
        else:
            raise ValueError("ZONE=SECONDS;codes=127.0.0.2-127.0.0.11;weight=0.5")
    if (zone.delay_seconds or 0) < 0:
        raise ValueError("ZONE=SECONDS, not less than 0")
    return zone


def _zone_name(text: str) -> str:
    if not _ZONE.fullmatch(text):
        raise ValueError("a zone of DNS, such as zen.spamhaus.org")
    return text.lower()


def _codes(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    try:
        numbers = [int(IPv4Address(each)) for each in (first, last or first)]
    except ValueError:
        raise ValueError("codes such as 127.0.0.2-127.0.0.11") from None
    return numbers[0], numbers[1]


def _dnswl(text: str) -> Zone:
    name, _, level = text.partition("=")
    if level and level not in TRUST:
        raise ValueError(f"ZONE=LEVEL, with one of {', '.join(TRUST)}")
    return Zone(_zone_name(name), trust=TRUST.index(level or "medium"))


# The table --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set."""

    name: str
    """As on the command line, without dashes."""
    field: str
    """Its field of ``Settings``."""
    read: Reader
    help: str
    kind: Kind = Kind.VALUE
    metavar: str = ""
    spellings: tuple[str, ...] = ()
    """Other names; one letter is a short option."""
    zero_is_default: bool = False
    """``0`` means the default (postgrey's behaviour); said in a warning."""
    empty_is_default: bool = False
    """An empty text means the default; said in a warning."""
    bare: str = ""
    """What an ``OPTIONAL`` option without a value means."""
    default: str = ""
    """The default as the help shows it."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "GREYD_" + self.name.upper().replace("-", "_")

    @property
    def key(self) -> str:
        """The key in the TOML file."""
        return self.name.replace("-", "_")


OPTIONS: tuple[Option, ...] = (
    # Where it listens
    Option(
        "inet", "inet", _endpoint, "Listen on TCP; without a host on localhost, both families.",
        Kind.MANY, "[HOST:]PORT", ("i",), default="localhost:10023",
    ),
    Option("unix", "unix", _unix_path, "Listen on a Unix socket.", Kind.MANY, "PATH", ("u",)),
    Option(
        "socketmode", "socket_mode", _socket_mode, "Mode of the Unix sockets.",
        metavar="OCTAL", zero_is_default=True, default="0666",
    ),
    Option(
        "listen-queue-size", "listen_queue_size",
        _between(0, _LARGEST_INT, "a number of connections"),
        "Connections that may wait to be accepted.", metavar="N", zero_is_default=True,
        default="1024",
    ),
    Option("exim", "exim", _flag, "Close the connection after each reply, for Exim.", Kind.FLAG),
    # What it decides
    Option(
        "delay", "delay_seconds", _delay,
        "How long an unknown triplet is greylisted. Four numbers with commas: for clients that are"
        " clean, unsure, suspicious, listed.",
        metavar="SECONDS", zero_is_default=True, default="300",
    ),
    Option(
        "max-age", "max_age_seconds", _days,
        "After how long without sight a triplet or a client is forgotten.",
        metavar="DAYS", zero_is_default=True, default="35",
    ),
    Option(
        "retry-window", "retry_window_seconds", _retry_window,
        "How long a greylisted triplet waits for its retry.", metavar="DAYS|HOURSh", default="2",
    ),
    Option(
        "auto-whitelist-clients", "auto_whitelist_clients", _at_least_nought,
        "Whitelist a client once it has come back so often; 0 turns it off.",
        Kind.OPTIONAL, "N", bare="5", default="5",
    ),
    # Who it is
    Option(
        "preset", "preset", _one_of("recommended"),
        "Know senders by who they are: turns on what this part of the page has, as"
        " docs/identity.md says; each can still be set by itself.",
        metavar="recommended",
    ),
    Option(
        "identity", "identity", _ways,
        "By what to know for whom a client sends: spf, name, subnet, in this order.",
        metavar="WAYS", default="subnet",
    ),
    Option(
        "auto-whitelist-identities", "auto_whitelist_identities", _at_least_nought,
        "Whitelist an identity once it has come back so often; 0 turns it off.",
        metavar="N", default="0",
    ),
    Option(
        "identity-age", "identity_age_seconds", _days,
        "Days that must lie between its first and its last success.", metavar="DAYS", default="1",
    ),
    Option(
        "greylist", "greylist", _one_of("all", "suspicious"),
        "suspicious: only clients that show a signal, or stand on a list, wait.",
        metavar="all|suspicious", default="all",
    ),
    Option(
        "signals", "signals", _signals,
        "The signals that count: " + ", ".join(SIGNALS) + ".", metavar="NAMES", default="all",
    ),
    Option(
        "dnsbl", "dnsbl", _zone, "Clients on this DNS blocklist always wait, SECONDS if given.",
        Kind.MANY, "ZONE[=SECONDS]",
    ),
    Option(
        "rhsbl", "rhsbl", _zone,
        "So do those whose name, HELO or sender's domain is on this one.",
        Kind.MANY, "ZONE[=SECONDS]",
    ),
    Option(
        "dnswl", "dnswl", _dnswl,
        "Clients on this DNS whitelist pass, from a level of trust on (none, low, medium, high).",
        Kind.MANY, "ZONE[=LEVEL]",
    ),
    Option(
        "list-override", "list_override", _path,
        "Clients whose listings do not count: domain or address, then OK.", Kind.MANY, "FILE",
    ),
    Option(
        "learn-outbound", "learn_outbound", _flag,
        "Let answers to our users' mail in at once (policy_context=outbound at submission).",
        Kind.FLAG,
    ),
    Option(
        "lookup-by-subnet", "lookup_by_subnet", _flag,
        "A triplet's client is its network (this is the default).", Kind.FLAG,
    ),
    Option(
        "lookup-by-host", "lookup_by_host", _flag, "A triplet's client is its address.", Kind.FLAG,
    ),
    Option(
        "ipv4cidr", "ipv4cidr", _between(0, 32, "a prefix length"),
        "Prefix length of an IPv4 client's network.", metavar="BITS", zero_is_default=True,
        default="24",
    ),
    Option(
        "ipv6cidr", "ipv6cidr", _between(0, 128, "a prefix length"),
        "Prefix length of an IPv6 client's network.", metavar="BITS", zero_is_default=True,
        default="64",
    ),
    Option(
        "mode", "mode", _one_of(*MODES),
        "learn: remember and log, but pass all mail; off: pass all mail.",
        metavar="on|learn|off", default="on",
    ),
    Option(
        "whitelist-clients", "whitelist_clients", _path,
        "Clients that are never greylisted; replaces the default files.", Kind.MANY, "FILE",
    ),
    Option(
        "whitelist-recipients", "whitelist_recipients", _path,
        "Recipients that are never greylisted; replaces the default files.", Kind.MANY, "FILE",
    ),
    # What it answers
    Option(
        "greylist-action", "greylist_action", _text, "The access(5) action for greylisted mail.",
        metavar="ACTION", zero_is_default=True, empty_is_default=True, default="DEFER_IF_PERMIT",
    ),
    Option(
        "greylist-text", "greylist_text", _text,
        "Its text; %s is the seconds still to wait, %r the recipient's domain.",
        metavar="TEXT", zero_is_default=True, empty_is_default=True, default=GREYLIST_TEXT,
    ),
    Option(
        "x-greylist-header", "header", _text,
        "Header of mail that had to wait; %t seconds waited, %v version, %h host name, %d date.",
        metavar="TEXT", zero_is_default=True, empty_is_default=True, default=HEADER,
    ),
    Option(
        "hostname", "hostname", _text, "Host name in that header.", metavar="NAME",
        default="this host's",
    ),
    # Where it remembers
    Option(
        "store", "store", _store,
        "sqlite:PATH, redis://HOST/0, rediss://, valkey://, unix://, redis+sentinel://,"
        " redis+cluster://, memory://.",
        metavar="URL", default="SQLite in --dbdir",
    ),
    Option(
        "store-password-file", "store_password_file", _path,
        "The password for Redis is what FILE holds, so that it stands in no URL.", metavar="FILE",
    ),
    Option(
        "sentinel-user", "sentinel_user", _text,
        "The user at Sentinel itself; --store names the user at the Redis that it watches.",
        metavar="NAME",
    ),
    Option(
        "sentinel-password-file", "sentinel_password_file", _path,
        "The password for Sentinel itself is what FILE holds.", metavar="FILE",
    ),
    Option(
        "dbdir", "dbdir", _path, "Folder of the SQLite store.", metavar="PATH",
        default="/var/lib/greyd for root, else ~/.local/state/greyd",
    ),
    Option(
        "max-store-size", "max_store_bytes", _bytes,
        "How large the SQLite file may grow; then new triplets pass ungreylisted.",
        metavar="SIZE", default="4G",
    ),
    Option(
        "store-timeout", "store_timeout_seconds", _seconds,
        "How long a request waits for the store in all.", metavar="SECONDS", default="0.3",
    ),
    Option(
        "store-connect-timeout", "store_connect_timeout_seconds", _seconds,
        "How long each step of connecting to Redis may take, in the background.",
        metavar="SECONDS", default="5",
    ),
    Option(
        "on-store-failure", "on_store_failure", _one_of("pass", "defer"),
        "What happens to mail while the store is away.", metavar="pass|defer", default="pass",
    ),
    Option(
        "key-prefix", "key_prefix", _text, "Begins every key in Redis.", metavar="TEXT",
        default="greyd:",
    ),
    Option("privacy", "privacy", _flag, "Remember only hashes (postgrey's SHA-1).", Kind.FLAG),
    Option(
        "privacy-key", "privacy_key_file", _path,
        "With --privacy: hash with HMAC-SHA-256 under the secret in FILE.", metavar="FILE",
    ),
    # What it asks
    Option(
        "resolver", "resolvers", _resolver, "Ask this DNS server; its address, IPv6 in brackets.",
        Kind.MANY, "ADDRESS[:PORT]", default="those in /etc/resolv.conf",
    ),
    Option(
        "dns-timeout", "dns_timeout_seconds", _seconds,
        "How long a request waits for all its DNS lookups together.", metavar="SECONDS",
        default="1.5",
    ),
    # How it runs
    Option("daemonize", "daemonize", _flag, "Go to the background.", Kind.FLAG, spellings=("d",)),
    Option("pidfile", "pidfile", _path, "Write the process id to PATH.", metavar="PATH"),
    Option("user", "user", _text, "Run as this user.", metavar="USER", default="the starting user"),
    Option("group", "group", _text, "Run as this group.", metavar="GROUP", default="the user's"),
    Option(
        "workers", "workers", _between(1, 64, "a number of processes"),
        "Processes that answer requests.", metavar="N", default="1",
    ),
    Option("config", "config", _path, "A TOML file with the same settings.", metavar="FILE",
           default="/etc/greyd/greyd.toml"),
    Option("test-time", "test_time", _flag,
           "Take the time from the request's policy_test_time; for tests only.", Kind.FLAG),
    # What it tells
    Option("metrics", "metrics", _metrics, "Serve metrics and health over HTTP; 0 turns it off.",
           metavar="[HOST:]PORT", default="127.0.0.1:9923"),
    Option(
        "metrics-host", "metrics_host", _metrics_host,
        "A name of this server in the URL of its metrics port, beside localhost, its address and,"
        " where --metrics does not listen on loopback, --hostname; others are refused.",
        Kind.MANY, "NAME",
    ),
    Option("status-details", "status_details", _flag,
           "Name clients, senders and recipients that wait on the metrics port's page.", Kind.FLAG),
    Option("log-format", "log_format", _one_of("postgrey", "json"), "How decisions are logged.",
           metavar="postgrey|json", default="postgrey"),
    Option("syslog-facility", "syslog_facility", _facility, "Facility when logging to syslog.",
           metavar="NAME", spellings=("syslogfacility", "facility"), default="mail"),
    Option("syslog-ident", "syslog_ident", _text, "Program name in syslog.", metavar="NAME",
           default="greyd"),
    Option("quiet", "quiet", _flag, "Log only warnings and notices.", Kind.FLAG, spellings=("q",)),
    Option("verbose", "verbose", _flag, "Log each step of a decision.", Kind.FLAG,
           spellings=("v",)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of ``greyd serve``, read and checked."""

    inet: tuple[Endpoint, ...] = ()
    unix: tuple[Path, ...] = ()
    socket_mode: int = 0o666
    listen_queue_size: int = 1024
    exim: bool = False
    delay_seconds: int = 300
    delays: tuple[int, ...] = ()
    """For clients that are clean, unsure, suspicious, listed, where they differ."""
    max_age_seconds: int = 35 * DAY
    retry_window_seconds: int = 2 * DAY
    auto_whitelist_clients: int = 5
    preset: str = ""
    identity: tuple[str, ...] = ()
    auto_whitelist_identities: int = 0
    identity_age_seconds: int = DAY
    greylist: str = "all"
    signals: tuple[str, ...] = SIGNALS
    dnsbl: tuple[Zone, ...] = ()
    rhsbl: tuple[Zone, ...] = ()
    dnswl: tuple[Zone, ...] = ()
    list_override: tuple[Path, ...] = ()
    learn_outbound: bool = False
    lookup_by_subnet: bool = True
    lookup_by_host: bool = False
    ipv4cidr: int = 24
    ipv6cidr: int = 64
    mode: str = "on"
    whitelist_clients: tuple[Path, ...] = ()
    whitelist_recipients: tuple[Path, ...] = ()
    greylist_action: str = "DEFER_IF_PERMIT"
    greylist_text: str = GREYLIST_TEXT
    header: str = HEADER
    hostname: str | None = None
    store: str = field(default="", repr=False)
    """A URL; it may hold a password."""
    store_password_file: Path | None = None
    store_password: str | None = field(default=None, repr=False)
    """The secret read from ``store_password_file``."""
    sentinel_user: str = ""
    sentinel_password_file: Path | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    """The secret read from ``sentinel_password_file``."""
    dbdir: Path | None = None
    max_store_bytes: int = 4 * 1024**3
    store_timeout_seconds: float = 0.3
    store_connect_timeout_seconds: float = 5.0
    on_store_failure: str = "pass"
    key_prefix: str = "greyd:"
    privacy: bool = False
    privacy_key_file: Path | None = None
    privacy_key: bytes | None = field(default=None, repr=False)
    """The secret read from ``privacy_key_file``."""
    resolvers: tuple[Endpoint, ...] = ()
    dns_timeout_seconds: float = 1.5
    daemonize: bool = False
    pidfile: Path | None = None
    user: str = ""
    group: str = ""
    workers: int = 1
    config: Path | None = None
    test_time: bool = False
    metrics: Endpoint | None = METRICS_ENDPOINT
    metrics_host: tuple[str, ...] = ()
    status_details: bool = False
    log_format: str = "postgrey"
    syslog_facility: int = 2
    syslog_ident: str = "greyd"
    quiet: bool = False
    verbose: bool = False
    warnings: tuple[str, ...] = ()
    """What is odd but no error, to be logged at the start."""

    @property
    def delay_varies(self) -> bool:
        """Whether not all requests have the same delay."""
        return bool(self.delays or self.dnsbl or self.rhsbl)

    @property
    def longest_delay_seconds(self) -> int:
        """The longest delay that a request may have."""
        lists = (zone.delay_seconds or 0 for zone in (*self.dnsbl, *self.rhsbl))
        return max([self.delay_seconds, *self.delays, *lists])

    @property
    def passes_without_store(self) -> bool:
        """Whether mail passes while the store is away; while learning nothing is deferred."""
        return self.on_store_failure == "pass" or self.mode == "learn"

    @property
    def knows_more(self) -> bool:
        """Whether more is to be found out of a client than its request's triplet."""
        lists = self.dnsbl or self.rhsbl or self.dnswl
        suspicious = self.delays or self.greylist == "suspicious"
        return bool(self.identity or lists or suspicious or self.learn_outbound)


_DEFAULTS = {each.name: each.default for each in fields(Settings)}
_BY_SPELLING = {
    spelling: option
    for option in OPTIONS
    for name in (option.name, *option.spellings)
    # One dash before a long name and two before a short one are taken too, as postgrey does.
    for spelling in (f"--{name}", f"-{name}")
}
_BY_NAME = {option.name: option for option in OPTIONS}
_BY_KEY = {option.key: option for option in OPTIONS}
_BY_VARIABLE = {option.variable: option for option in OPTIONS}

OWN_OPTIONS = "GREYD_OPTS"
"""The variable with words that count as if they stood on the command line."""

POSTGREY_OPTIONS = "POSTGREY_OPTS"
POSTGREY_TEXT = "POSTGREY_TEXT"
"""What Debian's ``/etc/default/postgrey`` sets."""

_OF_POSTGREYS_PROCESS = ("daemonize", "dbdir", "group", "pidfile", "user")


class Given(NamedTuple):
    """One value as it was written somewhere."""

    option: Option
    text: str
    where: str
    """How to name the place in a message: ``--delay``, ``GREYD_DELAY``, ``/etc/…: delay``."""


# Sources ----------------------------------------------------------------------------------------


def from_arguments(arguments: Sequence[str]) -> tuple[list[Given], list[str]]:
    """Read a command line (without the program's and the command's name).

    Returns:
        The values in their order, and what stands after the first word that is no option; empty
        words, which Debian's init script passes, are left out.

    Raises:
        SettingsError: an unknown option, a value missing or too many.
    """
    given: list[Given] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word:
            continue
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            rest.insert(0, word)
            break
        given.append(_option(word, rest))
    return given, [word for word in rest if word]


def _option(word: str, rest: list[str]) -> Given:
    """Read the option ``word``, taking its value from ``rest`` where it stands there."""
    name, equals, text = word.partition("=")
    option = _BY_SPELLING.get(name)
    if option is None:
        raise SettingsError(f"{shown(name)}: no such option; see greyd serve --help")
    if option.kind is Kind.FLAG:
        if equals:
            raise SettingsError(f"{name} takes no value")
        text = "yes"
    elif option.kind is Kind.OPTIONAL:
        if not equals and rest and not rest[0].startswith("-"):
            text = rest.pop(0)
        text = text or option.bare
    elif not equals:
        if not rest:
            raise SettingsError(f"{name} needs a value: {name}={option.metavar}")
        text = rest.pop(0)
    return Given(option, text, name)


def from_environment(environment: Mapping[str, str]) -> tuple[list[Given], list[str]]:
    """Read the ``GREYD_…`` variables; several values of one are separated by white space.

    Returns:
        The values, and the names of variables that mean nothing.
    """
    given = []
    unknown = []
    for variable, text in environment.items():
        if not variable.startswith("GREYD_") or variable == OWN_OPTIONS:
            continue
        option = _BY_VARIABLE.get(variable)
        if option is None:
            unknown.append(variable)
            continue
        texts = text.split() if option.kind is Kind.MANY else [text]
        given += [Given(option, each, variable) for each in texts]
    return given, unknown


def from_words(environment: Mapping[str, str], variable: str) -> tuple[list[Given], list[str]]:
    """Read a variable that holds options, in words as systemd makes of ``$VARIABLE``.

    Returns:
        As ``from_arguments``.

    Raises:
        SettingsError: as ``from_arguments``, or a quotation mark is not closed.
    """
    try:
        given, ignored = from_arguments(shlex.split(environment.get(variable, "")))
    except (ValueError, SettingsError) as error:
        raise SettingsError(f"{variable}: {error}") from None
    return [each._replace(where=f"{variable}: {each.where}") for each in given], ignored


def from_postgrey(
    environment: Mapping[str, str],
) -> tuple[list[Given], list[Given], list[str]]:
    """Read the variables of Debian's ``/etc/default/postgrey``.

    Where postgrey's process puts its files and whom it runs as is no affair of this one, which may
    well not have the rights to it.

    Returns:
        The values; those of postgrey's process; and what stands after a word that is no option.

    Raises:
        SettingsError: as ``from_words``.
    """
    words, ignored = from_words(environment, POSTGREY_OPTIONS)
    of_process = [each for each in words if each.option.name in _OF_POSTGREYS_PROCESS]
    given = [each for each in words if each not in of_process]
    if text := environment.get(POSTGREY_TEXT):
        given.append(Given(_BY_NAME["greylist-text"], text, POSTGREY_TEXT))
    return given, of_process, ignored


def from_table(table: Mapping[str, object], file: str) -> list[Given]:
    """Read the keys of a TOML file.

    Raises:
        SettingsError: an unknown key, or a value of a type that means nothing.
    """
    given = []
    for key, value in table.items():
        option = _BY_KEY.get(key) or _BY_NAME.get(key)
        where = f"{file}: {shown(key)}"
        if option is None or option.name == "config":
            raise SettingsError(f"{where}: no such setting; see greyd serve --help for the names")
        values = value if isinstance(value, list) and option.kind is Kind.MANY else [value]
        given += [Given(option, _toml_text(each, where), where) for each in values]
    return given


def _toml_text(value: object, where: str) -> str:
    if isinstance(value, dict) and isinstance(zone := value.get("zone"), str):
        rest = {name: each for name, each in value.items() if name != "zone"}
        return ";".join([zone, *(f"{name}={_toml_list(rest[name], where)}" for name in rest)])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingsError(f"{where}: give a text, a number, true or false")


def _toml_list(value: object, where: str) -> str:
    values = value if isinstance(value, list) else [value]
    return ",".join(_toml_text(each, where) for each in values)


# Settings ---------------------------------------------------------------------------------------

_PRESETS: dict[str, dict[str, Any]] = {
    "recommended": {
        "identity": ("spf", "name"),
        "auto_whitelist_identities": 3,
        "greylist": "suspicious",
        "dnsbl": (Zone("zen.spamhaus.org", 3600),),
        "rhsbl": (Zone("dbl.spamhaus.org", 3600),),
        "dnswl": (Zone("list.dnswl.org", trust=TRUST.index("medium")),),
        "learn_outbound": True,
    }
}


def settle(*sources: Iterable[Given], warnings: Iterable[str] = ()) -> Settings:
    """Make settings of what the sources give, the first source counting most.

    Within a source the last value of an option counts; of options that may be given several times
    all do.

    Raises:
        SettingsError: a value can't be read, or two of them can't both be.
    """
    chosen: dict[str, Any] = {}
    notices = list(warnings)
    for source in sources:
        values: dict[str, Any] = {}
        for given in source:
            value = _value(given, notices)
            if given.option.field == "store" and values.get("store", value) != value:
                raise SettingsError(f"{given.where}: two stores; name one")
            if given.option.kind is Kind.MANY:
                value = (*values.get(given.option.field, ()), value)
            values[given.option.field] = value
        chosen = {**values, **chosen}
    chosen = {**_PRESETS.get(chosen.get("preset", ""), {}), **chosen}
    if isinstance(delays := chosen.get("delay_seconds"), tuple):
        # What is asked without the classes has the delay of those that one can't be sure of.
        chosen |= {"delays": delays, "delay_seconds": delays[DELAYS.index("UNSURE")]}
    settings = Settings(**chosen, warnings=tuple(notices))
    _check(settings)
    return settings


def _value(given: Given, notices: list[str]) -> Any:
    option, text, where = given
    default = _DEFAULTS[option.field]
    if (option.empty_is_default and not text) or (
        option.zero_is_default and _is_zero(option, text)
    ):
        notices.append(f"{where}={shown(text)}: the default is taken ({option.default})")
        return default
    try:
        return option.read(text)
    except ValueError as error:
        value = "…" if option.field == "store" else shown(text)
        raise SettingsError(f"{where}={value}: expected {error}") from None


def _is_zero(option: Option, text: str) -> bool:
    if option.read is _text:
        return text == "0"
    return bool(_WHOLE.fullmatch(text)) and not int(text.replace("_", ""))


def _check(settings: Settings) -> None:
    if not settings.identity:
        for name, value in (
            ("learn-outbound", settings.learn_outbound),
            ("auto-whitelist-identities", settings.auto_whitelist_identities),
        ):
            if value:
                raise SettingsError(f"--{name} means nothing without --identity=spf,name; add it")
    if settings.privacy_key_file and not settings.privacy:
        raise SettingsError("--privacy-key means nothing without --privacy; add it")
    if settings.store_password_file and not settings.store.startswith(("redis", "valkey", "unix:")):
        raise SettingsError(
            "--store-password-file means nothing without a Redis; add --store=redis://HOST/0"
        )
    of_sentinel = settings.sentinel_user or settings.sentinel_password_file
    if of_sentinel and "+sentinel:" not in settings.store:
        raise SettingsError(
            "--sentinel-user and --sentinel-password-file mean nothing without Sentinel; add"
            " --store=redis+sentinel://HOST/NAME/0"
        )
    if settings.workers > 1 and settings.store.startswith("memory:"):
        raise SettingsError(
            "--workers: memory:// is one process's own; use SQLite or Redis, or one worker"
        )
