"""The options of the group "Log and metrics"."""

from __future__ import annotations

from greyd.config.option import Arity, Option
from greyd.config.values.parsers import (
    one_of,
    parse_facility,
    parse_flag,
    parse_metrics_endpoint,
    parse_metrics_host,
    parse_text,
)

MONITORING: tuple[Option, ...] = (
    Option("log-format", "log_format", one_of("postgrey", "json"),
           "Format of the log lines about decisions.",
           metavar="postgrey|json", default="postgrey", choices=("postgrey", "json")),
    Option("syslog-facility", "syslog_facility", parse_facility, "Syslog facility.",
           metavar="NAME", spellings=("syslogfacility", "facility"), default="mail",
           choices=("mail", "daemon", *(f"local{number}" for number in range(8)))),
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
    Option(
        "metrics", "metrics", parse_metrics_endpoint,
        "Serve metrics and health checks over HTTP; off or 0 disables it.",
        metavar="[HOST:]PORT", default="127.0.0.1:9923",
        choices=("127.0.0.1:9923", "0.0.0.0:9923", "off"),
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
)  # fmt: skip
