"""Reads Postfix's configuration with ``postconf``: ``main.cf`` and ``master.cf``."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.master_cf import MasterService, parse_services
from greyd.doctor.postfix.config.restriction_table import NEWEST, RESTRICTIONS, Argument
from greyd.doctor.postfix.config.restrictions import (
    ALL_LISTS,
    AT_RCPT,
    BARE_TABLE,
    parameter_of,
    parse_restrictions,
    policy_calls,
)
from greyd.doctor.postfix.config.tables import split_table
from greyd.doctor.programs import ProgramError, run_program, without_program_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.doctor.postfix.config.restriction_table import Version
    from greyd.doctor.postfix.config.restrictions import Restriction


BRACES_SINCE: Version = (3, 0)
"""The first version of Postfix that accepts braces in a list."""

_CLASSES = "smtpd_restriction_classes"
_LISTS = tuple(map(parameter_of, ALL_LISTS))
_NAMES = (
    *_LISTS,
    "compatibility_level",
    "config_directory",
    "daemon_directory",
    "mail_owner",
    "mail_version",
    "multi_instance_directories",
    "mynetworks",
    "postscreen_bare_newline_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_pipelining_enable",
    "queue_directory",
    "smtpd_delay_reject",
    "smtpd_helo_required",
    "smtpd_milters",
    "smtpd_policy_service_default_action",
    "smtpd_policy_service_max_idle",
    "smtpd_policy_service_policy_context",
    "smtpd_policy_service_timeout",
    "smtpd_policy_service_try_limit",
    "smtpd_reject_unlisted_recipient",
    "smtpd_relay_before_recipient_restrictions",
    _CLASSES,
    "smtpd_sasl_auth_enable",
)
_MAX_HOSTS = 10
"""The number of policy servers whose addresses are looked up."""

_NO_SUCH_HOST = (socket.EAI_NONAME, socket.EAI_NODATA)
"""The errors of getaddrinfo(3) for which DNS has answered."""
_LOOKUP_SECONDS = 3
_MAX_WARNINGS = 20

_MAX_TABLES = 200
_MAX_CLASSES = 500


@dataclass(frozen=True, slots=True)
class PostfixConfig:
    """The configuration of one Postfix instance."""

    parameters: Mapping[str, str]
    services: Sequence[MasterService] = ()
    """The smtpd services."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """The contents of the restriction classes, by name."""
    warnings: Sequence[str] = ()
    """postconf's own warnings about the files."""
    other_services: Sequence[MasterService] = ()
    """The services that are not smtpd."""
    table_types: frozenset[str] = frozenset()
    """The types of lookup tables that this Postfix has; empty if they are unknown."""
    missing_files: frozenset[str] = frozenset()
    """The files of lookup tables that do not exist."""
    missing_programs: frozenset[str] = frozenset()
    """The programs in master.cf that Postfix's folder of daemons lacks."""
    programs: Mapping[str, str] = field(default_factory=dict)
    """The command lines of the programs at endpoints of policy servers and milters, as far as this
    user can see them."""
    parameter_names: Sequence[str] = ()
    """The parameters of this Postfix; empty unless ``warnings`` has an unknown one."""
    addresses: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    """The addresses of policy servers, by host name; None if they are unknown, e.g. because DNS
    did not answer."""

    @property
    def version(self) -> tuple[int, int]:
        """The major and minor version of Postfix; (0, 0) if unknown."""
        numbers = re.match(r"(\d+)\.(\d+)", self.parameters.get("mail_version", ""))
        return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)

    @property
    def known_version(self) -> Version:
        """The version of Postfix; the newest if it is unknown."""
        return self.version if self.version > (0, 0) else NEWEST

    @property
    def has_braces(self) -> bool:
        """Whether braces group the words of a list."""
        return self.known_version >= BRACES_SINCE

    def class_names(self, service: MasterService) -> list[str]:
        """Return the names in ``smtpd_restriction_classes`` of a service."""
        return _split_names(self.value(service, _CLASSES))

    def classes_of(self, service: MasterService) -> dict[str, str]:
        """Return the restriction classes of a service, by name."""
        names = self.class_names(service) if _CLASSES in service.overrides else self.classes
        found = {name: service.overrides.get(name, self.classes.get(name, "")) for name in names}
        return {name: text for name, text in found.items() if text}

    @property
    def has_postscreen(self) -> bool:
        """Whether postscreen receives mail."""
        return any(each.program == "postscreen" for each in self.other_services)

    @property
    def queue_directory(self) -> Path:
        """The folder in which smtpd looks up relative paths of sockets."""
        return Path(self.parameters.get("queue_directory", "/var/spool/postfix"))

    def value(self, service: MasterService, name: str) -> str:
        """Return the value of a parameter for a service."""
        return service.overrides.get(name, self.parameters.get(name, ""))

    def lists(self, service: MasterService) -> dict[str, list[Restriction]]:
        """Return the restriction lists of a service, in the order of their evaluation."""
        order = list(AT_RCPT)
        relay_first = self.value(service, "smtpd_relay_before_recipient_restrictions")
        if relay_first.lower() != "yes":
            order[-2:] = reversed(order[-2:])
        classes = self.classes_of(service)
        return {
            name: parse_restrictions(
                self.value(service, parameter_of(name)), classes, braces=self.has_braces
            )
            for name in (*order, *ALL_LISTS[len(AT_RCPT) :])
        }


async def read_config(folder: str | None = None) -> PostfixConfig:
    """Read the configuration in a folder; None for Postfix's default folder.

    Raises:
        ProgramError: postconf is missing, or cannot read the configuration.
    """
    where = ["-c", folder] if folder else []
    values, services, overrides = await asyncio.gather(
        run_program("postconf", *where, "-x", *_NAMES),
        run_program("postconf", *where, "-M"),
        run_program("postconf", *where, "-Px"),
    )
    parameters = _parameters(values.stdout)
    entries = parse_services(
        services.stdout,
        _parameters(overrides.stdout),
        chroot_is_default=_chroot_is_default(parameters),
    )
    names = {parameters.get(_CLASSES, ""), *(each.overrides.get(_CLASSES, "") for each in entries)}
    classes = {}
    if wanted := sorted({name for text in names for name in _split_names(text)})[:_MAX_CLASSES]:
        classes = _parameters((await run_program("postconf", *where, "-x", *wanted)).stdout)
    found = PostfixConfig(
        parameters=parameters,
        services=[each for each in entries if each.program == "smtpd"],
        other_services=[each for each in entries if each.program != "smtpd"],
        classes=classes,
        # postconf repeats each warning for each pass over the files.
        warnings=_warnings(values.stderr),
        table_types=await _table_types(where),
        parameter_names=await _parameter_names(where, values.stderr),
    )
    return replace(
        found,
        addresses=await _addresses(found),
        missing_files=_missing_files(found),
        missing_programs=_missing_programs(found),
    )


async def default_folder() -> str:
    """Return the folder of main.cf that this Postfix uses by default."""
    try:
        # The default does not depend on main.cf, which may be unreadable.
        output = await run_program("postconf", "-dh", "config_directory")
    except ProgramError:
        return "/etc/postfix"
    return output.stdout.strip() or "/etc/postfix"


def _split_names(text: str) -> list[str]:
    return [name for name in re.split(r"[\s,]+", text) if name and not name.startswith("-")]


async def _table_types(where: Sequence[str]) -> frozenset[str]:
    try:
        return frozenset((await run_program("postconf", *where, "-m")).stdout.split())
    except ProgramError:
        return frozenset()


def _missing_programs(postfix: PostfixConfig) -> frozenset[str]:
    folder = Path(postfix.parameters.get("daemon_directory", ""))
    programs = {each.program for each in (*postfix.services, *postfix.other_services)}
    try:
        present = {each.name for each in folder.iterdir()} if folder.is_absolute() else programs
    except OSError:
        return frozenset()
    return frozenset(each for each in programs - present if "/" not in each)


async def _parameter_names(where: Sequence[str], warnings: str) -> list[str]:
    if "unused parameter" not in warnings:
        return []
    try:
        return list(_parameters((await run_program("postconf", *where, "-d")).stdout))
    except ProgramError:
        return []


def _missing_files(postfix: PostfixConfig) -> frozenset[str]:
    """Return the files of access tables that do not exist, as far as this user can see."""
    paths = {split_table(argument)[1] for argument in _tables(postfix)}
    missing = set()
    for path in sorted(paths - {""})[:_MAX_TABLES]:
        try:
            Path(path).stat()
        except FileNotFoundError:
            missing.add(path)
        except OSError:
            continue
    return frozenset(missing)


def _tables(postfix: PostfixConfig) -> Iterable[str]:
    of_services = (
        listed for service in postfix.services for listed in postfix.lists(service).values()
    )
    of_classes = (
        parse_restrictions(text, {}, braces=postfix.has_braces) for text in postfix.classes.values()
    )
    for each in chain.from_iterable((*of_services, *of_classes)):
        known = RESTRICTIONS.get(each.name)
        if each.name == BARE_TABLE or (known and known.argument is Argument.TABLE):
            yield each.argument


def _parameters(output: str) -> dict[str, str]:
    # Not splitlines(): a value may contain e.g. a form feed, which ends no line.
    pairs = (line.partition("=") for line in output.split("\n") if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _warnings(stderr: str) -> list[str]:
    lines = without_program_name("postconf", stderr)
    return list(dict.fromkeys(filter(None, lines)))[:_MAX_WARNINGS]


def _chroot_is_default(parameters: Mapping[str, str]) -> bool:
    level = re.match(r"\d+", parameters.get("compatibility_level", "0"))
    return not level or int(level[0]) < 1


async def _addresses(postfix: PostfixConfig) -> dict[str, frozenset[str] | None]:
    """Look up the addresses of policy servers that have a host name."""
    endpoints = {
        call.endpoint
        for service in postfix.services
        for call in policy_calls(postfix.lists(service))
    }
    hosts = {host_and_port(each)[0] for each in endpoints if each.startswith("inet:")}
    names = sorted(host for host in hosts if re.search("[a-z]", host) and ":" not in host)
    found = dict.fromkeys(names)
    return found | {name: await _addresses_of(name) for name in names[:_MAX_HOSTS]}


async def _addresses_of(name: str) -> frozenset[str] | None:
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            answers = await asyncio.get_running_loop().getaddrinfo(name, None)
    except socket.gaierror as error:
        return frozenset() if error.errno in _NO_SUCH_HOST else None
    except (OSError, TimeoutError):
        return None
    return frozenset(str(address[0]) for *_, address in answers)


def host_and_port(endpoint: str) -> tuple[str, str]:
    """Split ``inet:HOST:PORT`` into host and port; a service's name becomes its number."""
    host, _, port = endpoint.removeprefix("inet:").rpartition(":")
    if not port.isdigit():
        with contextlib.suppress(OSError):
            port = str(socket.getservbyname(port, "tcp"))
    return host.strip("[]").lower(), port
