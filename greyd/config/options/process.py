"""The options of the group "Process"."""

from __future__ import annotations

from greyd.config.numbers import integer_between
from greyd.config.option import Arity, Option
from greyd.config.values.parsers import parse_flag, parse_path, parse_text

PROCESS: tuple[Option, ...] = (
    Option("config", "config", parse_path, "Read settings from this TOML file.", metavar="FILE",
           default="/etc/greyd/greyd.toml"),
    Option(
        "daemonize", "daemonize", parse_flag,
        "Run in the background.", Arity.FLAG, spellings=("d",),
    ),
    Option("pidfile", "pidfile", parse_path, "Write the process ID to PATH.", metavar="PATH"),
    Option(
        "run-dir", "run_dir", parse_path,
        "Folder of greyd.run, the record by which the commands find a running server. Commands"
        " with this option search only there.",
        metavar="PATH", default_note="the service's runtime folder, or that of the store",
    ),
    Option(
        "user", "user", parse_text,
        "Run as this user.", metavar="USER", default_note="the user that starts greyd",
    ),
    Option(
        "group", "group", parse_text,
        "Run as this group.", metavar="GROUP", default_note="the user's",
    ),
    Option(
        "workers", "workers", integer_between(1, 64, "a number of processes"),
        "Number of processes that answer requests.", metavar="N", default="1",
    ),
    Option("test-time", "test_time", parse_flag,
           "Take the time from the request attribute policy_test_time; for tests only.",
           Arity.FLAG),
)  # fmt: skip
