"""The options of the group "Identifying the sender"."""

from __future__ import annotations

from greyd.config.durations import parse_days, parse_seconds
from greyd.config.numbers import integer_between, parse_count
from greyd.config.option import Arity, Option
from greyd.config.sender_groups import parse_sender_group, sender_groups_of_toml
from greyd.config.values.parsers import (
    one_of,
    parse_flag,
    parse_identity_ways,
    parse_own_domain,
    parse_path,
    parse_resolver,
    parse_signals,
)
from greyd.config.vocabulary import (
    CORRESPONDENTS,
    IDENTITY_WAYS,
    OUTBOUND_SENDERS,
    SIGNALS,
    STRONG_SIGNALS,
    WEAK_SIGNALS,
)

SENDERS: tuple[Option, ...] = (
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
        "sender-group", "sender_groups", parse_sender_group,
        "Count the clients in these networks, or with these confirmed names, as one sender.",
        Arity.MANY, "NAME=MEMBER,…", read_tables=sender_groups_of_toml,
    ),
    Option(
        "identity", "identity", parse_identity_ways,
        "How to identify the organisation a client sends for, in order of preference: spf,"
        " name, subnet.",
        metavar="WAYS", default="subnet", choices=(*IDENTITY_WAYS, "subnet"),
        has_several=True,
    ),
    Option(
        "auto-whitelist-identities", "auto_whitelist_identities", parse_count,
        "Auto-whitelist an identity after this many of its mails have passed; one an hour counts."
        " 0 disables it.",
        metavar="N", default="0",
    ),
    Option(
        "identity-age", "identity_age_seconds", parse_days,
        "Minimum time between the first and the last of these mails, seven times as long if all"
        " came from one network; a number without a unit is in days.",
        metavar="DURATION", default="1d",
    ),
    Option(
        "signals", "signals", parse_signals,
        "Signals to use. A client is suspicious if it shows a strong one: "
        + ", ".join(STRONG_SIGNALS)
        + "; or two weak ones, or one that nothing outweighs: "
        + ", ".join(WEAK_SIGNALS)
        + ".",
        metavar="NAMES", default="all", choices=("all", *SIGNALS), has_several=True,
    ),
    Option(
        "own-domains", "own_domains", parse_own_domain,
        "Domain of this site, or FILE with one domain on each line. Clients that claim it in HELO"
        " or as the sender show a signal, as they do with the recipient's domain.",
        Arity.MANY, "DOMAIN|FILE",
    ),
    Option(
        "learn-outbound", "learn_outbound", parse_flag,
        "Pass replies to our users' mail at once. The submission service has to send"
        " policy_context=outbound.",
        Arity.FLAG,
    ),
    Option(
        "correspondents", "correspondents", one_of(*CORRESPONDENTS),
        "Whose replies pass: the address that a user has written to, or any address of its"
        " organisation, except at mailbox providers.",
        metavar="address|organisation", default="address", choices=CORRESPONDENTS,
    ),
    Option(
        "outbound-senders", "outbound_senders", one_of(*OUTBOUND_SENDERS),
        "Learn only from outbound mail with these senders: those with the login's own name, also"
        " others of the login's domain, or any.",
        metavar="own|domain|any", default="own", choices=OUTBOUND_SENDERS,
    ),
    Option(
        "sender-logins", "sender_logins", parse_path,
        "The senders that each login may use: the text of a table for Postfix's"
        " smtpd_sender_login_maps. For other senders --outbound-senders applies.",
        Arity.MANY, "FILE",
    ),
    Option(
        "resolver", "resolvers", parse_resolver,
        "Query this DNS server; enclose an IPv6 address in brackets.",
        Arity.MANY, "ADDRESS[:PORT]", default_note="those in /etc/resolv.conf",
    ),
    Option(
        "dns-timeout", "dns_timeout_seconds", parse_seconds,
        "Maximum time a request waits for all its DNS lookups together.", metavar="DURATION",
        default="1.5s",
    ),
)  # fmt: skip
