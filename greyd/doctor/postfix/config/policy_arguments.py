"""Checks the argument of ``check_policy_service``: the server's endpoint and its options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restriction_table import nearest_word
from greyd.doctor.postfix.config.restrictions import parse_policy, parse_time

if TYPE_CHECKING:
    from greyd.doctor.postfix.config.restriction_table import Version

_TIMES = ("timeout", "max_idle", "max_ttl", "retry_delay")
_NUMBERS = ("request_limit", "try_limit")
_TEXTS = ("default_action", "policy_context")

_CONTEXT_SINCE: Version = (3, 1)


NO_START = "smtpd does not start, and all mail waits"


def fault_of_policy_argument(argument: str, version: Version) -> str:
    """Return why smtpd can't use the argument of ``check_policy_service``; empty if it can.

    An unclosed brace is a fault of the whole list, and not reported here.
    """
    if argument.startswith("{") and not argument.endswith("}"):
        return ""
    endpoint, options = parse_policy(argument)
    if not re.match("(inet|unix|local):.", endpoint):
        return (
            f"“{endpoint}” is not a policy server, so {NO_START}: write inet:HOST:PORT or unix:PATH"
        )
    if endpoint.startswith("inet:") and not re.fullmatch(r"inet:(.+:)?[\w-]+", endpoint):
        return f"“{endpoint}” has no port, so smtpd finds no policy server"
    for name, value in options.items():
        if fault := _fault_of_option(name, value, version):
            return f"check_policy_service {endpoint}: {fault}, so {NO_START}"
    return ""


def _fault_of_option(name: str, value: str, version: Version) -> str:
    known = (*_TIMES, *_NUMBERS, *_TEXTS)
    if name not in known:
        nearest = nearest_word(name, known)
        return f"{name!r} is not an option" + (f" (did you mean {nearest}?)" if nearest else "")
    if name == "policy_context" and version < _CONTEXT_SINCE:
        return "policy_context needs Postfix 3.1"
    if name in _TIMES and not parse_time(value):
        return f"{name}={value} is not a time of at least 1 s"
    if name in _NUMBERS and not re.fullmatch("[0-9]+", value):
        return f"{name}={value} is not a number"
    return "" if value else f"{name} has no value"
