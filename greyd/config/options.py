"""All options in one table: names, environment variables, TOML keys, help and parsers."""

from __future__ import annotations

from greyd.config.durations import parse_days, parse_delay, parse_retry_window, parse_seconds
from greyd.config.numbers import MAX_INT, integer_between, parse_bytes, parse_count
from greyd.config.option import Arity, Option
from greyd.config.recipient_domains import parse_recipient_domain, recipient_domains_of_toml
from greyd.config.sender_groups import parse_sender_group, sender_groups_of_toml
from greyd.config.values.header_text import parse_header
from greyd.config.values.parsers import (
    one_of,
    parse_dnswl,
    parse_endpoint,
    parse_facility,
    parse_flag,
    parse_identity_ways,
    parse_metrics_endpoint,
    parse_metrics_host,
    parse_own_domain,
    parse_path,
    parse_resolver,
    parse_setting_change,
    parse_signals,
    parse_socket_mode,
    parse_store,
    parse_text,
    parse_unix_path,
    parse_zone,
)
from greyd.config.vocabulary import (
    CORRESPONDENTS,
    GREYLIST_RULES,
    GREYLIST_TEXT,
    HEADER,
    MODES,
    OUTBOUND_SENDERS,
    STRONG_SIGNALS,
    WEAK_SIGNALS,
)

OPTIONS: tuple[Option, ...] = (
    # Listening
    Option(
        "inet", "inet", parse_endpoint,
        "Listen on this TCP port; without HOST on localhost, over IPv4 and IPv6.",
        Arity.MANY, "[HOST:]PORT", ("i",), default="localhost:10023",
    ),
    Option(
        "unix", "unix", parse_unix_path, "Listen on a Unix socket at PATH.",
        Arity.MANY, "PATH", ("u",),
    ),
    Option(
        "socketmode", "socket_mode", parse_socket_mode, "Permissions of the Unix sockets.",
        metavar="OCTAL", zero_is_default=True, default="0666",
    ),
    Option(
        "listen-queue-size", "listen_queue_size",
        integer_between(0, MAX_INT, "a number of connections"),
        "Maximum number of connections waiting to be accepted.", metavar="N", zero_is_default=True,
        default="1024",
    ),
    Option(
        "exim", "exim", parse_flag,
        "Close each connection after its reply, as Exim expects.", Arity.FLAG,
    ),
    # Greylisting
    Option(
        "delay", "delay_seconds", parse_delay,
        "Greylist an unknown triplet for this long: seconds, or a duration such as 5m. Four of"
        " them separated by commas set the delays of clean, unsure, suspicious and listed clients.",
        metavar="SECONDS", zero_is_default=True, default="300",
    ),
    Option(
        "max-age", "max_age_seconds", parse_days,
        "Forget triplets and clients not seen for this long: days, or a duration such as 5w.",
        metavar="DAYS", zero_is_default=True, default="35",
    ),
    Option(
        "retry-window", "retry_window_seconds", parse_retry_window,
        "Forget a greylisted triplet that is not retried within this time: days, or a duration"
        " such as 6h.",
        metavar="DAYS|HOURSh", default="2",
    ),
    Option(
        "auto-whitelist-clients", "auto_whitelist_clients", parse_count,
        "Whitelist a client after this many successful retries; 0 disables it.",
        Arity.OPTIONAL, "N", bare="5", default="5",
    ),
    # Identity and evidence
    Option(
        "preset", "preset", one_of("recommended"),
        "Identify senders by their organisation, and use DNS lists: sets --identity, --greylist,"
        " --dnsbl and others to the values in docs/identity.md, unless they are set explicitly.",
        metavar="recommended",
    ),
    Option(
        "identity", "identity", parse_identity_ways,
        "How to identify the organisation a client sends for, in order of preference: spf,"
        " name, subnet.",
        metavar="WAYS", default="subnet",
    ),
    Option(
        "auto-whitelist-identities", "auto_whitelist_identities", parse_count,
        "Auto-whitelist an identity after this many of its mails have passed; one an hour counts."
        " 0 disables it.",
        metavar="N", default="0",
    ),
    Option(
        "identity-age", "identity_age_seconds", parse_days,
        "Minimum time between the first and the last of these mails: days, or a duration such as"
        " 12h; seven times as long if all came from one network.",
        metavar="DAYS", default="1",
    ),
    Option(
        "greylist", "greylist", one_of(*GREYLIST_RULES),
        "suspicious: greylist only clients that their signals make suspicious, that are on a"
        " blocklist, or whose DNS answers are late.",
        metavar="all|suspicious", default="all",
    ),
    Option(
        "signals", "signals", parse_signals,
        "Signals to use. A client is suspicious if it shows a strong one: "
        + ", ".join(STRONG_SIGNALS)
        + "; or two weak ones, or one that nothing outweighs: "
        + ", ".join(WEAK_SIGNALS)
        + ".",
        metavar="NAMES", default="all",
    ),
    Option(
        "own-domains", "own_domains", parse_own_domain,
        "Domain of this site, or FILE with one domain on each line. Clients that claim it in HELO"
        " or as the sender show a signal, as they do with the recipient's domain.",
        Arity.MANY, "DOMAIN|FILE",
    ),
    Option(
        "dnsbl", "dnsbl", parse_zone,
        "Greylist unknown clients that this DNS blocklist lists, for SECONDS if given.",
        Arity.MANY, "ZONE[=SECONDS]",
    ),
    Option(
        "rhsbl", "rhsbl", parse_zone,
        "Greylist unknown clients whose name, HELO name or sender domain this DNS blocklist"
        " lists, for SECONDS if given.",
        Arity.MANY, "ZONE[=SECONDS]",
    ),
    Option(
        "dnswl", "dnswl", parse_dnswl,
        "Pass clients that this DNS whitelist lists with at least this trust level: none,"
        " low, medium or high. With support, a listing only outweighs a weak signal.",
        Arity.MANY, "ZONE[=LEVEL[,support]]",
    ),
    Option(
        "list-override", "list_override", parse_path,
        "Ignore the blocklists for the clients in FILE; each line is a domain or an address,"
        " then OK.",
        Arity.MANY, "FILE",
    ),
    Option(
        "learn-outbound", "learn_outbound", parse_flag,
        "Pass replies to our users' mail at once. The submission service has to send"
        " policy_context=outbound.",
        Arity.FLAG,
    ),
    Option(
        "correspondents", "correspondents", one_of(*CORRESPONDENTS),
        "The senders of replies that pass: the address that a user has written to, or any address"
        " of its organisation, except at mailbox providers.",
        metavar="address|organisation", default="address",
    ),
    Option(
        "outbound-senders", "outbound_senders", one_of(*OUTBOUND_SENDERS),
        "Learn only from outbound mail with these senders: those with the login's own name, also"
        " others of the login's domain, or any.",
        metavar="own|domain|any", default="own",
    ),
    Option(
        "sender-logins", "sender_logins", parse_path,
        "The senders that each login may use: the text of a table for Postfix's"
        " smtpd_sender_login_maps. For other senders --outbound-senders applies.",
        Arity.MANY, "FILE",
    ),
    Option(
        "lookup-by-subnet", "lookup_by_subnet", parse_flag,
        "Identify the client of a triplet by its network (default).", Arity.FLAG,
    ),
    Option(
        "lookup-by-host", "lookup_by_host", parse_flag,
        "Identify the client of a triplet by its full address.", Arity.FLAG,
    ),
    Option(
        "ipv4cidr", "ipv4cidr", integer_between(0, 32, "a prefix length"),
        "Prefix length of a client's IPv4 network.", metavar="BITS", zero_is_default=True,
        default="24",
    ),
    Option(
        "ipv6cidr", "ipv6cidr", integer_between(0, 128, "a prefix length"),
        "Prefix length of a client's IPv6 network.", metavar="BITS", zero_is_default=True,
        default="64",
    ),
    Option(
        "mode", "mode", one_of(*MODES),
        "learn: pass all mail, but record and log the decisions; off: pass all mail.",
        metavar="on|learn|off", default="on",
    ),
    Option(
        "whitelist-clients", "whitelist_clients", parse_path,
        "Never greylist the clients in FILE; replaces the default files.",
        Arity.MANY, "FILE",
    ),
    Option(
        "whitelist-recipients", "whitelist_recipients", parse_path,
        "Never greylist mail to the recipients in FILE; replaces the default files.",
        Arity.MANY, "FILE",
    ),
    Option(
        "whitelist-senders", "whitelist_senders", parse_path,
        "Never greylist the senders in FILE, if SPF or the client's name proves that the client"
        " sends for the sender's domain.",
        Arity.MANY, "FILE",
    ),
    Option(
        "never-auto-whitelist", "never_auto_whitelist", parse_path,
        "Never auto-whitelist the clients in FILE, whose format is that of --whitelist-clients.",
        Arity.MANY, "FILE",
    ),
    Option(
        "sender-group", "sender_groups", parse_sender_group,
        "Count the clients in these networks, or with these confirmed names, as one sender.",
        Arity.MANY, "NAME=MEMBER,…", read_tables=sender_groups_of_toml,
    ),
    Option(
        "recipient-domain", "recipient_domains", parse_recipient_domain,
        "Settings for mail to DOMAIN, with the keys delay, mode, greylist and subdomains.",
        Arity.MANY, "DOMAIN;KEY=VALUE;…", read_tables=recipient_domains_of_toml,
    ),
    Option(
        "shadow", "shadow", parse_setting_change,
        "Also decide each request with this other setting, and only count and log the result:"
        " preset=recommended, delay=60 or any other setting that affects decisions.",
        Arity.MANY, "NAME=VALUE",
    ),
    # Replies
    Option(
        "greylist-action", "greylist_action", parse_text,
        "The access(5) action for greylisted mail.",
        metavar="ACTION", zero_is_default=True, empty_is_default=True, default="DEFER_IF_PERMIT",
    ),
    Option(
        "greylist-text", "greylist_text", parse_text,
        "The text of that action; %s is replaced with the remaining seconds, %r with the"
        " recipient's domain.",
        metavar="TEXT", zero_is_default=True, empty_is_default=True, default=GREYLIST_TEXT,
    ),
    Option(
        "x-greylist-header", "header", parse_header,
        "Header added to mail that has been greylisted; %t is replaced with the seconds"
        " waited, %v with greyd's version, %h with the host name, %d with the date. none: add no"
        " header.",
        metavar="TEXT", zero_is_default=True, empty_is_default=True, default=HEADER,
    ),
    Option(
        "hostname", "hostname", parse_text, "Host name for that header.", metavar="NAME",
        default="this host's",
    ),
    # Store
    Option(
        "store", "store", parse_store,
        "Where to store triplets: sqlite:PATH, redis://HOST/0, rediss://, valkey://, unix://,"
        " redis+sentinel://, redis+cluster:// or memory://.",
        metavar="URL", default="SQLite in --dbdir",
    ),
    Option(
        "store-password-file", "store_password_file", parse_path,
        "Read the Redis password from FILE, instead of writing it into the URL.", metavar="FILE",
    ),
    Option(
        "sentinel-user", "sentinel_user", parse_text,
        "User name for Sentinel itself; the one in --store is for the Redis servers it"
        " monitors.",
        metavar="NAME",
    ),
    Option(
        "sentinel-password-file", "sentinel_password_file", parse_path,
        "Read the password for Sentinel itself from FILE.", metavar="FILE",
    ),
    Option(
        "dbdir", "dbdir", parse_path, "Directory of the SQLite database.", metavar="PATH",
        default="/var/lib/greyd for root, else ~/.local/state/greyd",
    ),
    Option(
        "max-store-size", "max_store_bytes", parse_bytes,
        "Maximum size of the SQLite database. When it is full, new triplets pass without"
        " greylisting.",
        metavar="SIZE", default="4G",
    ),
    Option(
        "store-timeout", "store_timeout_seconds", parse_seconds,
        "Maximum time a request waits for the store: seconds, or a duration such as 300ms.",
        metavar="SECONDS", default="0.3",
    ),
    Option(
        "store-connect-timeout", "store_connect_timeout_seconds", parse_seconds,
        "Maximum time for each step of connecting to Redis, in the background.",
        metavar="SECONDS", default="5",
    ),
    Option(
        "on-store-failure", "on_store_failure", one_of("pass", "defer"),
        "What to do with mail while the store is unavailable.",
        metavar="pass|defer", default="pass",
    ),
    Option(
        "key-prefix", "key_prefix", parse_text, "Prefix of all keys in Redis.", metavar="TEXT",
        default="greyd:",
    ),
    Option(
        "privacy", "privacy", parse_flag,
        "Store only hashes of addresses (postgrey's SHA-1).", Arity.FLAG,
    ),
    Option(
        "privacy-key", "privacy_key_file", parse_path,
        "With --privacy: store HMAC-SHA-256 hashes with the secret key in FILE.", metavar="FILE",
    ),
    # DNS
    Option(
        "resolver", "resolvers", parse_resolver,
        "Query this DNS server; enclose an IPv6 address in brackets.",
        Arity.MANY, "ADDRESS[:PORT]", default="those in /etc/resolv.conf",
    ),
    Option(
        "dns-timeout", "dns_timeout_seconds", parse_seconds,
        "Maximum time a request waits for all its DNS lookups together.", metavar="SECONDS",
        default="1.5",
    ),
    # Process
    Option(
        "daemonize", "daemonize", parse_flag,
        "Run in the background.", Arity.FLAG, spellings=("d",),
    ),
    Option("pidfile", "pidfile", parse_path, "Write the process ID to PATH.", metavar="PATH"),
    Option(
        "run-dir", "run_dir", parse_path,
        "Folder of greyd.run, the record by which the commands find a running server. Commands"
        " with this option search only there.",
        metavar="PATH", default="the service's runtime folder, or that of the store",
    ),
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
        "Number of processes that answer requests.", metavar="N", default="1",
    ),
    Option("config", "config", parse_path, "Read settings from this TOML file.", metavar="FILE",
           default="/etc/greyd/greyd.toml"),
    Option("test-time", "test_time", parse_flag,
           "Take the time from the request attribute policy_test_time; for tests only.",
           Arity.FLAG),
    # Monitoring and logging
    Option(
        "metrics", "metrics", parse_metrics_endpoint,
        "Serve metrics and health checks over HTTP; off or 0 disables it.",
        metavar="[HOST:]PORT", default="127.0.0.1:9923",
    ),
    Option(
        "metrics-host", "metrics_host", parse_metrics_host,
        "Also accept HTTP requests for this host name. Always accepted are localhost, the"
        " server's address and, unless --metrics is a loopback address, --hostname.",
        Arity.MANY, "NAME",
    ),
    Option("status-details", "status_details", parse_flag,
           "Show the clients, senders and recipients of greylisted mail on the status page.",
           Arity.FLAG),
    Option("log-format", "log_format", one_of("postgrey", "json"),
           "Format of the log lines about decisions.",
           metavar="postgrey|json", default="postgrey"),
    Option("syslog-facility", "syslog_facility", parse_facility, "Syslog facility.",
           metavar="NAME", spellings=("syslogfacility", "facility"), default="mail"),
    Option("syslog-ident", "syslog_ident", parse_text, "Program name in syslog.", metavar="NAME",
           default="greyd"),
    Option(
        "quiet", "quiet", parse_flag,
        "Log only warnings and notices.",
        Arity.FLAG,
        spellings=("q",),
    ),
    Option("verbose", "verbose", parse_flag, "Log each step of each decision.", Arity.FLAG,
           spellings=("v",)),
)  # fmt: skip
BY_SPELLING = {
    spelling: option
    for option in OPTIONS
    for name in (option.name, *option.spellings)
    # Also accept -name and --n, as postgrey does.
    for spelling in (f"--{name}", f"-{name}")
}
BY_NAME = {option.name: option for option in OPTIONS}
BY_FIELD = {option.field: option for option in OPTIONS}
BY_KEY = {option.key: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS}

OWN_OPTIONS = "GREYD_OPTS"
"""The environment variable with options in the syntax of the command line."""

POSTGREY_OPTIONS = "POSTGREY_OPTS"
POSTGREY_TEXT = "POSTGREY_TEXT"
"""The variables that Debian's ``/etc/default/postgrey`` sets."""

OF_POSTGREYS_PROCESS = ("daemonize", "dbdir", "group", "pidfile", "user")
