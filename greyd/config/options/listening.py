"""The options of the group "Listening"."""

from __future__ import annotations

from greyd.config.numbers import MAX_INT, integer_between
from greyd.config.option import Arity, Option
from greyd.config.values.parsers import (
    parse_endpoint,
    parse_flag,
    parse_socket_mode,
    parse_unix_path,
)

LISTENING: tuple[Option, ...] = (
    Option(
        "inet", "inet", parse_endpoint,
        "Listen on this TCP port; without HOST on localhost, over IPv4 and IPv6.",
        Arity.MANY, "[HOST:]PORT", ("i",), default="localhost:10023",
        choices=("127.0.0.1:10023", "10023"),
    ),
    Option(
        "unix", "unix", parse_unix_path, "Listen on a Unix socket at PATH.",
        Arity.MANY, "PATH", ("u",),
    ),
    Option(
        "socketmode", "socket_mode", parse_socket_mode, "Permissions of the Unix sockets.",
        metavar="OCTAL", zero_is_default=True, default="0666",
        choices=("0666", "0660", "0600"),
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
)  # fmt: skip
