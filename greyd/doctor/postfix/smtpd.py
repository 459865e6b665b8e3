"""The smtpd services of ``master.cf``: for mail from strangers, and for own users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.listeners import Tcp
from greyd.doctor.postfix.postconf import SUBMISSION, host_and_port
from greyd.doctor.postfix.recommended import endpoint, policy_service
from greyd.doctor.postfix.restrictions import (
    AFTER_RCPT,
    FINAL,
    PolicyCall,
    Restriction,
    policy_calls,
    reachable_count,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.postconf import PostfixConfig, SmtpdService


BRACES_SINCE = (3, 0)


@dataclass(frozen=True)
class InboundService:
    """An smtpd that takes mail of strangers, and what it asks."""

    postfix: PostfixConfig
    service: SmtpdService
    listeners: Sequence[Listener]
    learn_outbound: bool = False

    @cached_property
    def lists(self) -> Mapping[str, Sequence[Restriction]]:
        """Its restriction lists."""
        return self.postfix.lists(self.service)

    @cached_property
    def calls(self) -> list[PolicyCall]:
        """Its questions to this server."""
        return [call for call in policy_calls(self.lists) if self.is_ours(call.endpoint)]

    @cached_property
    def others(self) -> list[PolicyCall]:
        """Its questions to other policy servers."""
        return [call for call in policy_calls(self.lists) if not self.is_ours(call.endpoint)]

    def is_ours(self, place: str) -> bool:
        """Whether this server listens where a policy service is named."""
        if place.startswith("unix:"):
            return self._path(place.removeprefix("unix:")) in self.listeners
        if not place.startswith("inet:"):
            return False
        host, port = host_and_port(place)
        return any(
            isinstance(each, Tcp) and port == str(each.port) and self._is_host(host, each)
            for each in self.listeners
        )

    def _path(self, written: str) -> Path:
        queue = self.postfix.parameters.get("queue_directory", "/var/spool/postfix")
        # smtpd stands in its queue directory; in a chroot that is its root.
        return Path(queue) / (written.lstrip("/") if self.service.chroot else written)

    def _is_host(self, host: str, listener: Tcp) -> bool:
        if listener.is_any or host == listener.host:
            return True
        own = {address.host for address in listener.to_ask()}
        named = {"127.0.0.1", "::1"} if host in ("", "localhost") else {host}
        return bool(own & (named | self.postfix.addresses.get(host, frozenset())))

    @property
    def line(self) -> str:
        """The recommended line that asks this server."""
        queue = Path(self.postfix.parameters.get("queue_directory", "/var/spool/postfix"))
        place = endpoint(self.listeners, queue)
        if self.postfix.version and self.postfix.version < BRACES_SINCE:
            return f"check_policy_service {place}"
        return policy_service(place)

    def value(self, name: str) -> str:
        """Return a parameter as this service has it."""
        return self.postfix.value(self.service, name)


# Which services are which -------------------------------------------------------------------------


def _last_word(listed: Sequence[Restriction]) -> str:
    last = listed[reachable_count(listed) - 1] if listed else Restriction("")
    return last.name if last.name in FINAL else ""


def is_closed(postfix: PostfixConfig, service: SmtpdService) -> bool:
    """Whether a service rejects all strangers."""
    lists = postfix.lists(service)
    return any(
        _last_word(listed) == "reject" for name, listed in lists.items() if name not in AFTER_RCPT
    )


def is_submission(postfix: PostfixConfig, service: SmtpdService) -> bool:
    """Whether a service takes mail of own users alone."""
    if service.port in SUBMISSION:
        return True
    names = {step.name for listed in postfix.lists(service).values() for step in listed}
    return is_closed(postfix, service) and "permit_sasl_authenticated" in names


def inbound_services(postfix: PostfixConfig) -> list[SmtpdService]:
    """Return the services that take mail of strangers."""
    open_ = [
        service
        for service in postfix.services
        if not is_closed(postfix, service) and not is_submission(postfix, service)
    ]
    # Those on loopback take mail back from a filter, unless there are no others.
    return [service for service in open_ if not service.is_loopback] or open_
