"""The options of the group "Lists"."""

from __future__ import annotations

from greyd.config.option import Arity, Option
from greyd.config.values.parsers import parse_dnswl, parse_path, parse_zone

LISTS: tuple[Option, ...] = (
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
        "dnsbl", "dnsbl", parse_zone,
        "Greylist unknown clients on this DNS blocklist, for DURATION if given.",
        Arity.MANY, "ZONE[=DURATION]",
        choices=("zen.spamhaus.org", "bl.spamcop.net", "b.barracudacentral.org"),
    ),
    Option(
        "rhsbl", "rhsbl", parse_zone,
        "Greylist unknown clients whose name, HELO name or sender domain is on this DNS blocklist,"
        " for DURATION if given.",
        Arity.MANY, "ZONE[=DURATION]", choices=("dbl.spamhaus.org", "multi.surbl.org"),
    ),
    Option(
        "dnswl", "dnswl", parse_dnswl,
        "Pass clients on this DNS whitelist that have at least this trust level: none, low,"
        " medium or high. With support, a listing only outweighs a weak signal.",
        Arity.MANY, "ZONE[=LEVEL[,support]]",
        choices=("list.dnswl.org=none,support", "list.dnswl.org=low", "list.dnswl.org=medium"),
    ),
    Option(
        "list-override", "list_override", parse_path,
        "Ignore the blocklists for the clients in FILE; each line is a domain or an address,"
        " then OK.",
        Arity.MANY, "FILE",
    ),
)  # fmt: skip
