"""The options of the group "Greylisting"."""

from __future__ import annotations

from greyd.config.durations import parse_days, parse_delay, parse_retry_window
from greyd.config.numbers import parse_count
from greyd.config.option import Arity, Option
from greyd.config.recipient_domains import parse_recipient_domain, recipient_domains_of_toml
from greyd.config.values.header_text import parse_header
from greyd.config.values.parsers import one_of, parse_setting_change, parse_text
from greyd.config.vocabulary import GREYLIST_RULES, GREYLIST_TEXT, HEADER, MODES

GREYLISTING: tuple[Option, ...] = (
    Option(
        "delay", "delay_seconds", parse_delay,
        "Greylist an unknown triplet for this long; a number without a unit is in seconds. Four"
        " durations separated by commas are the delays of clean, unsure, suspicious and listed"
        " clients.",
        metavar="DURATION", zero_is_default=True, default="5m",
    ),
    Option(
        "max-age", "max_age_seconds", parse_days,
        "Forget triplets and clients not seen for this long; a number without a unit is in days.",
        metavar="DURATION", zero_is_default=True, default="35d",
    ),
    Option(
        "retry-window", "retry_window_seconds", parse_retry_window,
        "Forget a greylisted triplet that is not retried within this time; a number without a"
        " unit is in days.",
        metavar="DURATION", default="2d",
    ),
    Option(
        "auto-whitelist-clients", "auto_whitelist_clients", parse_count,
        "Whitelist a client after this many successful retries; 0 disables it.",
        Arity.OPTIONAL, "N", bare="5", default="5",
    ),
    Option(
        "mode", "mode", one_of(*MODES),
        "learn: pass all mail, but record and log the decisions; off: pass all mail.",
        metavar="on|learn|off", default="on", choices=MODES,
    ),
    Option(
        "preset", "preset", one_of("recommended"),
        "Identify senders by their organisation, and use DNS lists: sets --identity, --greylist,"
        " --dnsbl and others, unless they are set explicitly; greyd config preset lists them.",
        metavar="recommended", choices=("recommended",),
    ),
    Option(
        "greylist", "greylist", one_of(*GREYLIST_RULES),
        "suspicious: greylist only clients with suspicious signals, clients on a blocklist, and"
        " clients whose DNS answers are late.",
        metavar="all|suspicious", default="all", choices=GREYLIST_RULES,
    ),
    Option(
        "recipient-domain", "recipient_domains", parse_recipient_domain,
        "Settings for mail to DOMAIN, with the keys delay, mode, greylist and subdomains.",
        Arity.MANY, "DOMAIN;KEY=VALUE;…", read_tables=recipient_domains_of_toml,
    ),
    Option(
        "shadow", "shadow", parse_setting_change,
        "Also decide each request with this other setting, and only count and log the result:"
        " preset=recommended, delay=60s or any other setting that affects decisions.",
        Arity.MANY, "NAME=VALUE",
    ),
    Option(
        "greylist-action", "greylist_action", parse_text,
        "The access(5) action for greylisted mail.",
        metavar="ACTION", zero_is_default=True, empty_is_default=True, default="DEFER_IF_PERMIT",
        choices=("DEFER_IF_PERMIT", "DEFER"),
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
        default_note="this host's",
    ),
)  # fmt: skip
