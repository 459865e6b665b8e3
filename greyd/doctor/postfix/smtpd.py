"""The smtpd services of ``master.cf``, for mail from strangers and for the site's own users."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.listeners import TcpListener
from greyd.doctor.postfix.config.master_cf import SUBMISSION_PORTS
from greyd.doctor.postfix.config.postconf import host_and_port
from greyd.doctor.postfix.config.restrictions import AT_RCPT, FINAL, policy_calls, reachable_count
from greyd.doctor.postfix.recommended import policy_endpoint, policy_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.config.master_cf import MasterService
    from greyd.doctor.postfix.config.postconf import PostfixConfig
    from greyd.doctor.postfix.config.restrictions import PolicyCall, Restriction


@dataclass(frozen=True)
class CheckedService:
    """An smtpd service, with its restriction lists and its calls of policy services."""

    postfix: PostfixConfig
    service: MasterService
    listeners: Sequence[Listener]
    """The addresses and sockets that greyd listens on."""
    learn_outbound: bool = False
    slowest_reply_seconds: float = 0
    """How long the server may wait for its store and the DNS before it replies."""

    @cached_property
    def lists(self) -> Mapping[str, Sequence[Restriction]]:
        """The restriction lists of the service, by name."""
        return self.postfix.lists(self.service)

    @cached_property
    def classes(self) -> Mapping[str, str]:
        """The contents of the service's restriction classes, by name."""
        return self.postfix.classes_of(self.service)

    @cached_property
    def calls(self) -> list[PolicyCall]:
        """The service's calls of greyd."""
        return [call for call in policy_calls(self.lists) if self.is_greyd(call.endpoint)]

    @cached_property
    def other_calls(self) -> list[PolicyCall]:
        """The service's calls of other policy servers."""
        return [call for call in policy_calls(self.lists) if not self.is_greyd(call.endpoint)]

    def context_of(self, call: PolicyCall) -> str:
        """Return the policy context that Postfix sends with a call."""
        return call.options.get("policy_context") or self.value(
            "smtpd_policy_service_policy_context"
        )

    def is_greyd(self, endpoint: str) -> bool:
        """Whether a policy service's endpoint is one of greyd's addresses or sockets."""
        if path := self.path_of(endpoint):
            # In a chroot, links outside it do not count.
            resolve = os.path.normpath if self.service.chroot else os.path.realpath
            paths = [each for each in self.listeners if isinstance(each, Path)]
            return resolve(path) in map(resolve, paths)
        if not endpoint.startswith("inet:"):
            return False
        host, port = host_and_port(endpoint)
        return any(
            isinstance(each, TcpListener) and port == str(each.port) and self._is_host(host, each)
            for each in self.listeners
        )

    def may_be_greyd(self, endpoint: str) -> bool:
        """Whether an endpoint has greyd's port, and a host name whose addresses are unknown."""
        if not endpoint.startswith("inet:"):
            return False
        host, port = host_and_port(endpoint)
        ports = {str(each.port) for each in self.listeners if isinstance(each, TcpListener)}
        return port in ports and self.postfix.addresses.get(host, frozenset()) is None

    def path_of(self, endpoint: str) -> Path | None:
        """Return the path of a Unix socket as this machine sees it; None for another endpoint."""
        kind, _, written = endpoint.partition(":")
        if kind not in ("unix", "local"):
            return None
        # smtpd's working directory is the queue directory, which in a chroot is also the root.
        return self.postfix.queue_directory / (
            written.lstrip("/") if self.service.chroot else written
        )

    def _is_host(self, host: str, listener: TcpListener) -> bool:
        if listener.is_on_all_interfaces or host == listener.host:
            return True
        own = {address.host for address in listener.local_addresses()}
        named = {"127.0.0.1", "::1"} if host in ("", "localhost") else {host}
        return bool(own & (named | (self.postfix.addresses.get(host) or frozenset())))

    @property
    def recommended_call(self) -> str:
        """The restriction for main.cf that calls greyd."""
        endpoint = self.recommended_endpoint
        if not self.postfix.has_braces:
            return f"check_policy_service {endpoint}"
        return policy_service(endpoint)

    @property
    def recommended_endpoint(self) -> str:
        """Greyd's address or socket as main.cf should name it."""
        return policy_endpoint(self.listeners, self.postfix.queue_directory)

    def value(self, name: str) -> str:
        """Return the value of a parameter for this service."""
        return self.postfix.value(self.service, name)


def inbound_services(postfix: PostfixConfig) -> list[MasterService]:
    """Return the services that accept mail from clients outside the site."""
    inbound = [
        service
        for service in postfix.services
        if not rejects_everybody(postfix, service) and not is_submission(postfix, service)
    ]
    # Services on loopback usually receive mail back from a content filter.
    return [service for service in inbound if not service.is_loopback] or inbound


def is_submission(postfix: PostfixConfig, service: MasterService) -> bool:
    """Whether a service accepts mail only from the site's own users."""
    if service.port in SUBMISSION_PORTS:
        return True
    names = {each.name for listed in postfix.lists(service).values() for each in listed}
    return rejects_everybody(postfix, service) and "permit_sasl_authenticated" in names


def rejects_everybody(postfix: PostfixConfig, service: MasterService) -> bool:
    """Whether a list of a service ends with ``reject``, so that only permitted clients pass."""
    return bool(list_that_rejects_everybody(postfix, service))


def list_that_rejects_everybody(postfix: PostfixConfig, service: MasterService) -> str:
    """Return the name of the list that ends with ``reject``; empty if none does."""
    for name, listed in postfix.lists(service).items():
        if (
            name in AT_RCPT
            and _end_of(listed) == "reject"
            and not _admits_strangers(listed)
            and not _ends_too_early(name, listed)
        ):
            return name
    return ""


_FOR_STRANGERS = frozenset({
    "permit_auth_destination",
    "permit_mx_backup",
    "permit_dnswl_client",
    "permit_rhswl_client",
    "check_recipient_access",
})  # fmt: skip
"""Restrictions that permit mail from clients that the site does not know."""


def _admits_strangers(restrictions: Sequence[Restriction]) -> bool:
    return any(each.name in _FOR_STRANGERS for each in restrictions)


def _ends_too_early(name: str, restrictions: Sequence[Restriction]) -> bool:
    """Whether a list ends before its call of a policy service: it was meant for strangers."""
    calls = policy_calls({name: restrictions})
    return bool(calls) and calls[0].index >= reachable_count(restrictions)


def _end_of(restrictions: Sequence[Restriction]) -> str:
    """Return the name of the restriction that ends a list for every client; empty if none does."""
    if not restrictions:
        return ""
    last = restrictions[reachable_count(restrictions) - 1]
    return last.name if last.name in FINAL else ""
