"""Reads Postfix's configuration with ``postconf``: ``main.cf`` and ``master.cf``."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from greyd.doctor.postfix.restrictions import (
    AFTER_RCPT,
    AT_RCPT,
    parameter_of,
    parse_restrictions,
    policy_calls,
)
from greyd.doctor.programs import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.doctor.postfix.restrictions import Restriction


_LISTS = tuple(map(parameter_of, (*AT_RCPT, *AFTER_RCPT)))
_NAMES = (
    *_LISTS,
    "compatibility_level",
    "mail_version",
    "mynetworks",
    "postscreen_bare_newline_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_pipelining_enable",
    "queue_directory",
    "smtpd_delay_reject",
    "smtpd_helo_required",
    "smtpd_policy_service_default_action",
    "smtpd_policy_service_max_idle",
    "smtpd_policy_service_policy_context",
    "smtpd_policy_service_timeout",
    "smtpd_policy_service_try_limit",
    "smtpd_reject_unlisted_recipient",
    "smtpd_relay_before_recipient_restrictions",
    "smtpd_restriction_classes",
    "smtpd_sasl_auth_enable",
)
_MAX_HOSTS = 10
"""The number of policy servers whose addresses are looked up."""
_LOOKUP_SECONDS = 3
_MAX_WARNINGS = 20

SUBMISSION_PORTS = frozenset({"submission", "submissions", "smtps", "587", "465"})


@dataclass(frozen=True, slots=True)
class SmtpdService:
    """An smtpd service of ``master.cf``."""

    name: str
    """The first column: a port, or an address and a port."""
    kind: str = "inet"
    chroot: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)
    """The parameters that ``-o`` sets."""

    @property
    def port(self) -> str:
        """The service's port, as a number or a name."""
        return self.name.rpartition(":")[2]

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        host = self.name.rpartition(":")[0].strip("[]")
        return host == "localhost" or host.startswith("127.") or host == "::1"


@dataclass(frozen=True, slots=True)
class PostfixConfig:
    """The configuration of one Postfix instance."""

    parameters: Mapping[str, str]
    services: Sequence[SmtpdService] = ()
    classes: Mapping[str, str] = field(default_factory=dict)
    """The contents of the restriction classes, by name."""
    warnings: Sequence[str] = ()
    """postconf's own warnings about the files."""
    addresses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The addresses of policy servers, by host name."""
    has_postscreen: bool = False

    @property
    def version(self) -> tuple[int, int]:
        """The major and minor version of Postfix; (0, 0) if unknown."""
        numbers = re.match(r"(\d+)\.(\d+)", self.parameters.get("mail_version", ""))
        return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)

    def value(self, service: SmtpdService, name: str) -> str:
        """Return the value of a parameter for a service."""
        return service.overrides.get(name, self.parameters.get(name, ""))

    def lists(self, service: SmtpdService) -> dict[str, list[Restriction]]:
        """Return the restriction lists of a service, in the order of their evaluation."""
        order = list(AT_RCPT)
        relay_first = self.value(service, "smtpd_relay_before_recipient_restrictions")
        if relay_first.lower() != "yes":
            order[-2:] = reversed(order[-2:])
        return {
            name: parse_restrictions(self.value(service, parameter_of(name)), self.classes)
            for name in (*order, *AFTER_RCPT)
        }


async def read_config(folder: str | None = None) -> PostfixConfig:
    """Read the configuration in a folder; None for Postfix's default folder.

    Raises:
        ProgramError: postconf is missing, or cannot read the configuration.
    """
    where = ["-c", folder] if folder else []
    explicit, values, services, overrides = await asyncio.gather(
        run_program("postconf", *where, "-n"),
        run_program("postconf", *where, "-x", *_NAMES),
        run_program("postconf", *where, "-M"),
        run_program("postconf", *where, "-Px"),
    )
    parameters = _parameters(values.stdout)
    names = re.split(r"[\s,]+", parameters.get("smtpd_restriction_classes", ""))
    classes = {}
    if wanted := [name for name in names if re.fullmatch(r"\w+", name)]:
        classes = _parameters((await run_program("postconf", *where, "-x", *wanted)).stdout)
    found = PostfixConfig(
        parameters=parameters,
        services=_services(services.stdout, overrides.stdout, _chroot_is_default(parameters)),
        classes=classes,
        warnings=_warnings(explicit.stderr),
        has_postscreen=bool(re.search(r"\spostscreen$", services.stdout, re.MULTILINE)),
    )
    return replace(found, addresses=await _addresses(found))


def _parameters(output: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in output.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _warnings(stderr: str) -> list[str]:
    lines = [line.removeprefix("postconf: ").strip() for line in stderr.splitlines()]
    return [line for line in lines if line][:_MAX_WARNINGS]


def _chroot_is_default(parameters: Mapping[str, str]) -> bool:
    level = re.match(r"\d+", parameters.get("compatibility_level", "0"))
    return not level or int(level[0]) < 1


def _services(lines: str, overrides: str, chroot_is_default: bool) -> list[SmtpdService]:
    """Parse the output of ``postconf -M`` and ``postconf -P``."""
    found = []
    settings = _parameters(overrides)
    for line in lines.splitlines():
        columns = line.split(None, 8)
        if len(columns) < 8 or columns[7] != "smtpd":
            continue
        name, kind, _, _, chroot = columns[:5]
        own = f"{name}/{kind}/"
        found.append(
            SmtpdService(
                name,
                kind,
                chroot == "y" or (chroot == "-" and chroot_is_default),
                {key[len(own) :]: value for key, value in settings.items() if key.startswith(own)},
            )
        )
    return found


async def _addresses(postfix: PostfixConfig) -> dict[str, frozenset[str]]:
    """Look up the addresses of policy servers that have a host name."""
    endpoints = {
        call.endpoint
        for service in postfix.services
        for call in policy_calls(postfix.lists(service))
    }
    hosts = {host_and_port(each)[0] for each in endpoints if each.startswith("inet:")}
    names = sorted(host for host in hosts if re.search("[a-z]", host) and ":" not in host)
    found = {}
    for name in names[:_MAX_HOSTS]:
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                answers = await asyncio.get_running_loop().getaddrinfo(name, None)
        except (OSError, TimeoutError):
            continue
        found[name] = frozenset(str(address[0]) for *_, address in answers)
    return found


def host_and_port(endpoint: str) -> tuple[str, str]:
    """Split ``inet:HOST:PORT`` into host and port."""
    host, _, port = endpoint.removeprefix("inet:").rpartition(":")
    return host.strip("[]").lower(), port
