"""All options in one table: names, environment variables, TOML keys, help and parsers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.config.parsers import (
    MAX_INT,
    integer_between,
    one_of,
    parse_bytes,
    parse_days,
    parse_delay,
    parse_dnswl,
    parse_endpoint,
    parse_facility,
    parse_flag,
    parse_identity_ways,
    parse_metrics_endpoint,
    parse_metrics_host,
    parse_not_negative,
    parse_path,
    parse_resolver,
    parse_retry_window,
    parse_seconds,
    parse_signals,
    parse_socket_mode,
    parse_store,
    parse_text,
    parse_unix_path,
    parse_zone,
)
from greyd.config.vocabulary import GREYLIST_TEXT, HEADER, MODES, SIGNALS

if TYPE_CHECKING:
    from greyd.config.parsers import Parser


class Arity(Enum):
    """How an option stands on the command line."""

    VALUE = "value"
    FLAG = "flag"
    OPTIONAL = "optional"
    """``--name`` or ``--name=value``."""
    MANY = "many"
    """May be given several times."""


# The table --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be set."""

    name: str
    """As on the command line, without dashes."""
    field: str
    """Its field of ``Settings``."""
    read: Parser
    help: str
    kind: Arity = Arity.VALUE
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
        "inet", "inet", parse_endpoint,
        "Listen on TCP; without a host on localhost, both families.",
        Arity.MANY, "[HOST:]PORT", ("i",), default="localhost:10023",
    ),
    Option("unix", "unix", parse_unix_path, "Listen on a Unix socket.", Arity.MANY, "PATH", ("u",)),
    Option(
        "socketmode", "socket_mode", parse_socket_mode, "Mode of the Unix sockets.",
        metavar="OCTAL", zero_is_default=True, default="0666",
    ),
    Option(
        "listen-queue-size", "listen_queue_size",
        integer_between(0, MAX_INT, "a number of connections"),
        "Connections that may wait to be accepted.", metavar="N", zero_is_default=True,
        default="1024",
    ),
    Option(
        "exim", "exim", parse_flag,
        "Close the connection after each reply, for Exim.", Arity.FLAG,
    ),
    # What it decides
    Option(
        "delay", "delay_seconds", parse_delay,
        "How long an unknown triplet is greylisted. Four numbers with commas: for clients that are"
        " clean, unsure, suspicious, listed.",
        metavar="SECONDS", zero_is_default=True, default="300",
    ),
    Option(
        "max-age", "max_age_seconds", parse_days,
        "After how long without sight a triplet or a client is forgotten.",
        metavar="DAYS", zero_is_default=True, default="35",
    ),
    Option(
        "retry-window", "retry_window_seconds", parse_retry_window,
        "How long a greylisted triplet waits for its retry.", metavar="DAYS|HOURSh", default="2",
    ),
    Option(
        "auto-whitelist-clients", "auto_whitelist_clients", parse_not_negative,
        "Whitelist a client once it has come back so often; 0 turns it off.",
        Arity.OPTIONAL, "N", bare="5", default="5",
    ),
    # Who it is
    Option(
        "preset", "preset", one_of("recommended"),
        "Know senders by who they are: turns on what this part of the page has, as"
        " docs/identity.md says; each can still be set by itself.",
        metavar="recommended",
    ),
    Option(
        "identity", "identity", parse_identity_ways,
        "By what to know for whom a client sends: spf, name, subnet, in this order.",
        metavar="WAYS", default="subnet",
    ),
    Option(
        "auto-whitelist-identities", "auto_whitelist_identities", parse_not_negative,
        "Whitelist an identity once it has come back so often; 0 turns it off.",
        metavar="N", default="0",
    ),
    Option(
        "identity-age", "identity_age_seconds", parse_days,
        "Days that must lie between its first and its last success.", metavar="DAYS", default="1",
    ),
    Option(
        "greylist", "greylist", one_of("all", "suspicious"),
        "suspicious: only clients that show a signal, or stand on a list, wait.",
        metavar="all|suspicious", default="all",
    ),
    Option(
        "signals", "signals", parse_signals,
        "The signals that count: " + ", ".join(SIGNALS) + ".", metavar="NAMES", default="all",
    ),
    Option(
        "dnsbl", "dnsbl", parse_zone,
        "Clients on this DNS blocklist always wait, SECONDS if given.",
        Arity.MANY, "ZONE[=SECONDS]",
    ),
    Option(
        "rhsbl", "rhsbl", parse_zone,
        "So do those whose name, HELO or sender's domain is on this one.",
        Arity.MANY, "ZONE[=SECONDS]",
    ),
    Option(
        "dnswl", "dnswl", parse_dnswl,
        "Clients on this DNS whitelist pass, from a level of trust on (none, low, medium, high).",
        Arity.MANY, "ZONE[=LEVEL]",
    ),
    Option(
        "list-override", "list_override", parse_path,
        "Clients whose listings do not count: domain or address, then OK.", Arity.MANY, "FILE",
    ),
    Option(
        "learn-outbound", "learn_outbound", parse_flag,
        "Let answers to our users' mail in at once (policy_context=outbound at submission).",
        Arity.FLAG,
    ),
    Option(
        "lookup-by-subnet", "lookup_by_subnet", parse_flag,
        "A triplet's client is its network (this is the default).", Arity.FLAG,
    ),
    Option(
        "lookup-by-host", "lookup_by_host", parse_flag,
        "A triplet's client is its address.", Arity.FLAG,
    ),
    Option(
        "ipv4cidr", "ipv4cidr", integer_between(0, 32, "a prefix length"),
        "Prefix length of an IPv4 client's network.", metavar="BITS", zero_is_default=True,
        default="24",
    ),
    Option(
        "ipv6cidr", "ipv6cidr", integer_between(0, 128, "a prefix length"),
        "Prefix length of an IPv6 client's network.", metavar="BITS", zero_is_default=True,
        default="64",
    ),
    Option(
        "mode", "mode", one_of(*MODES),
        "learn: remember and log, but pass all mail; off: pass all mail.",
        metavar="on|learn|off", default="on",
    ),
    Option(
        "whitelist-clients", "whitelist_clients", parse_path,
        "Clients that are never greylisted; replaces the default files.", Arity.MANY, "FILE",
    ),
    Option(
        "whitelist-recipients", "whitelist_recipients", parse_path,
        "Recipients that are never greylisted; replaces the default files.", Arity.MANY, "FILE",
    ),
    # What it answers
    Option(
        "greylist-action", "greylist_action", parse_text,
        "The access(5) action for greylisted mail.",
        metavar="ACTION", zero_is_default=True, empty_is_default=True, default="DEFER_IF_PERMIT",
    ),
    Option(
        "greylist-text", "greylist_text", parse_text,
        "Its text; %s is the seconds still to wait, %r the recipient's domain.",
        metavar="TEXT", zero_is_default=True, empty_is_default=True, default=GREYLIST_TEXT,
    ),
    Option(
        "x-greylist-header", "header", parse_text,
        "Header of mail that had to wait; %t seconds waited, %v version, %h host name, %d date.",
        metavar="TEXT", zero_is_default=True, empty_is_default=True, default=HEADER,
    ),
    Option(
        "hostname", "hostname", parse_text, "Host name in that header.", metavar="NAME",
        default="this host's",
    ),
    # Where it remembers
    Option(
        "store", "store", parse_store,
        "sqlite:PATH, redis://HOST/0, rediss://, valkey://, unix://, redis+sentinel://,"
        " redis+cluster://, memory://.",
        metavar="URL", default="SQLite in --dbdir",
    ),
    Option(
        "store-password-file", "store_password_file", parse_path,
        "The password for Redis is what FILE holds, so that it stands in no URL.", metavar="FILE",
    ),
    Option(
        "sentinel-user", "sentinel_user", parse_text,
        "The user at Sentinel itself; --store names the user at the Redis that it watches.",
        metavar="NAME",
    ),
    Option(
        "sentinel-password-file", "sentinel_password_file", parse_path,
        "The password for Sentinel itself is what FILE holds.", metavar="FILE",
    ),
    Option(
        "dbdir", "dbdir", parse_path, "Folder of the SQLite store.", metavar="PATH",
        default="/var/lib/greyd for root, else ~/.local/state/greyd",
    ),
    Option(
        "max-store-size", "max_store_bytes", parse_bytes,
        "How large the SQLite file may grow; then new triplets pass ungreylisted.",
        metavar="SIZE", default="4G",
    ),
    Option(
        "store-timeout", "store_timeout_seconds", parse_seconds,
        "How long a request waits for the store in all.", metavar="SECONDS", default="0.3",
    ),
    Option(
        "store-connect-timeout", "store_connect_timeout_seconds", parse_seconds,
        "How long each step of connecting to Redis may take, in the background.",
        metavar="SECONDS", default="5",
    ),
    Option(
        "on-store-failure", "on_store_failure", one_of("pass", "defer"),
        "What happens to mail while the store is away.", metavar="pass|defer", default="pass",
    ),
    Option(
        "key-prefix", "key_prefix", parse_text, "Begins every key in Redis.", metavar="TEXT",
        default="greyd:",
    ),
    Option(
        "privacy", "privacy", parse_flag, "Remember only hashes (postgrey's SHA-1).", Arity.FLAG,
    ),
    Option(
        "privacy-key", "privacy_key_file", parse_path,
        "With --privacy: hash with HMAC-SHA-256 under the secret in FILE.", metavar="FILE",
    ),
    # What it asks
    Option(
        "resolver", "resolvers", parse_resolver,
        "Ask this DNS server; its address, IPv6 in brackets.",
        Arity.MANY, "ADDRESS[:PORT]", default="those in /etc/resolv.conf",
    ),
    Option(
        "dns-timeout", "dns_timeout_seconds", parse_seconds,
        "How long a request waits for all its DNS lookups together.", metavar="SECONDS",
        default="1.5",
    ),
    # How it runs
    Option(
        "daemonize", "daemonize", parse_flag,
        "Go to the background.", Arity.FLAG, spellings=("d",),
    ),
    Option("pidfile", "pidfile", parse_path, "Write the process id to PATH.", metavar="PATH"),
    Option(
        "user", "user", parse_text,
        "Run as this user.", metavar="USER", default="the starting user",
    ),
    Option(
        "group", "group", parse_text,
        "Run as this group.", metavar="GROUP", default="the user's",
    ),
    Option(
        "workers", "workers", integer_between(1, 64, "a number of processes"),
        "Processes that answer requests.", metavar="N", default="1",
    ),
    Option("config", "config", parse_path, "A TOML file with the same settings.", metavar="FILE",
           default="/etc/greyd/greyd.toml"),
    Option("test-time", "test_time", parse_flag,
           "Take the time from the request's policy_test_time; for tests only.", Arity.FLAG),
    # What it tells
    Option(
        "metrics", "metrics", parse_metrics_endpoint,
        "Serve metrics and health over HTTP; 0 turns it off.",
        metavar="[HOST:]PORT", default="127.0.0.1:9923",
    ),
    Option(
        "metrics-host", "metrics_host", parse_metrics_host,
        "A name of this server in the URL of its metrics port, beside localhost, its address and,"
        " where --metrics does not listen on loopback, --hostname; others are refused.",
        Arity.MANY, "NAME",
    ),
    Option("status-details", "status_details", parse_flag,
           "Name clients, senders and recipients that wait on the metrics port's page.",
           Arity.FLAG),
    Option("log-format", "log_format", one_of("postgrey", "json"), "How decisions are logged.",
           metavar="postgrey|json", default="postgrey"),
    Option("syslog-facility", "syslog_facility", parse_facility, "Facility when logging to syslog.",
           metavar="NAME", spellings=("syslogfacility", "facility"), default="mail"),
    Option("syslog-ident", "syslog_ident", parse_text, "Program name in syslog.", metavar="NAME",
           default="greyd"),
    Option(
        "quiet", "quiet", parse_flag,
        "Log only warnings and notices.",
        Arity.FLAG,
        spellings=("q",),
    ),
    Option("verbose", "verbose", parse_flag, "Log each step of a decision.", Arity.FLAG,
           spellings=("v",)),
)  # fmt: skip
BY_SPELLING = {
    spelling: option
    for option in OPTIONS
    for name in (option.name, *option.spellings)
    # One dash before a long name and two before a short one are taken too, as postgrey does.
    for spelling in (f"--{name}", f"-{name}")
}
BY_NAME = {option.name: option for option in OPTIONS}
BY_KEY = {option.key: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS}

OWN_OPTIONS = "GREYD_OPTS"
"""The variable with words that count as if they stood on the command line."""

POSTGREY_OPTIONS = "POSTGREY_OPTS"
POSTGREY_TEXT = "POSTGREY_TEXT"
"""What Debian's ``/etc/default/postgrey`` sets."""

OF_POSTGREYS_PROCESS = ("daemonize", "dbdir", "group", "pidfile", "user")
