"""Reads the variables that distributions, panels and containers set for postgrey.

Debian's ``/etc/default/postgrey`` sets ``POSTGREY_OPTS`` and ``POSTGREY_TEXT``. EPEL's
``/etc/sysconfig/postgrey`` has whole options in several variables, ``POSTGREY_DELAY="--delay=60"``.
Gentoo's ``/etc/conf.d/postgrey`` and docker-mailserver's environment have values,
``POSTGREY_DELAY=60``; Gentoo also describes the socket in ``POSTGREY_TYPE`` and others. FreeBSD's
``/etc/rc.conf`` has options in ``postgrey_flags``. RHEL 6 had them in ``OPTIONS``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.options import BY_NAME, BY_SPELLING, POSTGREY_OPTIONS, POSTGREY_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greyd.config.option import Option

FREEBSD_OPTIONS = ("postgrey_flags", "postgrey_options")
"""The variables of rc.conf that hold options; the second one is from ports before 2010."""

OPTIONS_OF_SCRIPTS = "OPTIONS"
"""The variable of the init scripts of RHEL 6, Mandriva and PLD, in ``/etc/sysconfig/postgrey``."""

_OPTIONS_OF_POSTGREY_ALONE = frozenset(
    {"inet", "unix", "delay", "max-age", "retry-window", "greylist-action", "greylist-text",
     "lookup-by-subnet", "lookup-by-host", "privacy", "auto-whitelist-clients",
     "whitelist-clients", "whitelist-recipients", "dbdir"}
)  # fmt: skip
"""Options by which postgrey's options are told from those of other programs."""

_OF_FREEBSDS_SCRIPT = ("postgrey_enable", "postgrey_dbdir", "postgrey_pidfile", "postgrey_user")
_PREFIX = "POSTGREY_"
_TYPE = "POSTGREY_TYPE"
_PLACES = ("POSTGREY_HOST", "POSTGREY_PORT", "POSTGREY_SOCKET")
_OTHER_NAMES = {"TEXT": "greylist-text", "PID": "pidfile"}
OPTIONS_OF_POSTGREY = (
    "unix", "inet", "socketmode", "daemonize", "pidfile", "user", "group", "dbdir", "delay",
    "max-age", "retry-window", "greylist-action", "greylist-text", "lookup-by-subnet",
    "lookup-by-host", "ipv4cidr", "ipv6cidr", "privacy", "hostname", "exim", "whitelist-clients",
    "whitelist-recipients", "auto-whitelist-clients", "listen-queue-size", "x-greylist-header",
    "syslog-facility", "quiet", "verbose",
)  # fmt: skip
"""The options of postgrey, which ``POSTGREY_…`` variables can set."""

_BY_VARIABLE = {
    _PREFIX + name.upper().replace("-", "_"): BY_NAME[name] for name in OPTIONS_OF_POSTGREY
} | {_PREFIX + short: BY_NAME[name] for short, name in _OTHER_NAMES.items()}

_OF_OTHER_SERVICES = re.compile(r"[A-Z0-9_]+_(SERVICE_(HOST|PORT\w*)|PORT_[0-9]+_(TCP|UDP)\w*)")
"""Variables that Kubernetes, and Docker's links, set for a service named postgrey or greyd."""


@dataclass(frozen=True, slots=True)
class PostgreyVariable:
    """What a variable sets: options as on the command line, or the value of an option."""

    name: str
    text: str
    option: Option | None = None
    """The option with the value ``text``; None if ``text`` has options."""


def is_of_other_service(variable: str, text: str) -> bool:
    """Whether an orchestrator sets the variable for a service of that name, so it sets nothing."""
    return bool(_OF_OTHER_SERVICES.fullmatch(variable)) or text.startswith(("tcp://", "udp://"))


def postgrey_variables(environment: Mapping[str, str]) -> Iterator[PostgreyVariable]:
    """Yield the variables that set something, in ascending order of precedence."""
    for name, option in _BY_VARIABLE.items():
        if name != POSTGREY_TEXT and (text := _text(environment, name)):
            yield PostgreyVariable(name, text, None if has_options(text) else option)
    yield from _socket(environment)
    for name in _names_with_options(environment):
        yield PostgreyVariable(name, environment[name])
    if text := _text(environment, POSTGREY_TEXT):
        of_text = None if has_options(text) else BY_NAME["greylist-text"]
        yield PostgreyVariable(POSTGREY_TEXT, text, of_text)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return the variables for postgrey that set something which greyd does not understand."""
    understood = {each.name for each in postgrey_variables(environment)}
    return [
        name
        for name in environment
        if name.startswith((_PREFIX, "postgrey_"))
        and name not in (*understood, *_OF_FREEBSDS_SCRIPT)
        and (text := _text(environment, name))
        and not (name in _PLACES and _text(environment, _TYPE))
        and not is_of_other_service(name, text)
    ]


def has_unread_options(environment: Mapping[str, str]) -> bool:
    """Whether ``OPTIONS`` has options of postgrey's.

    They do not apply: the name says nothing about whose options they are, and postgrey's systemd
    units do not read it either.
    """
    words = _text(environment, OPTIONS_OF_SCRIPTS).split()
    options = [BY_SPELLING.get(word.partition("=")[0]) for word in words]
    return any(each and each.name in _OPTIONS_OF_POSTGREY_ALONE for each in options)


def has_options(text: str) -> bool:
    """Whether a variable's text begins with an option, as in ``--delay=60``."""
    return bool(words := text.split()) and words[0].partition("=")[0] in BY_SPELLING


def _text(environment: Mapping[str, str], name: str) -> str:
    """Return the text of a variable; an empty one is not set."""
    text = environment.get(name, "")
    return text if text.strip() else ""


def _names_with_options(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the variables that hold options, the usual one last."""
    others = [name for name in environment if name.startswith(_PREFIX)]
    for name in others:
        is_known = name in _BY_VARIABLE or name == POSTGREY_OPTIONS
        if not is_known and has_options(environment[name]):
            yield name
    yield from (name for name in FREEBSD_OPTIONS if _text(environment, name))
    if _text(environment, POSTGREY_OPTIONS):
        yield POSTGREY_OPTIONS


def _socket(environment: Mapping[str, str]) -> Iterator[PostgreyVariable]:
    """Yield Gentoo's description of the socket."""
    kind = _text(environment, _TYPE).strip().lower()
    host, port, path = (_text(environment, name).strip() for name in _PLACES)
    if kind == "inet" and port:
        yield PostgreyVariable(_TYPE, f"{host or '127.0.0.1'}:{port}", BY_NAME["inet"])
    elif kind == "unix" and path:
        yield PostgreyVariable(_TYPE, path, BY_NAME["unix"])
