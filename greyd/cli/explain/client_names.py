"""Completes a request's names of the client: by DNS as Postfix does, and from the log line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError
from greyd.dns.reverse_names import resolve_name
from greyd.rules.address import parse_address
from greyd.rules.hostnames import normal_name, organisation_of
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.cli.explain.request_input import RequestInput
    from greyd.config.settings import Settings
    from greyd.dns.lookup import Lookup
    from greyd.dns.reverse_names import ResolvedName
    from greyd.maillog.decisions import LoggedDecision

_NAME_TIMEOUT_SECONDS = 5.0


@dataclass(slots=True)
class ClientNames:
    """A request's attributes, completed as far as possible."""

    attributes: dict[str, bytes]
    resolved: ResolvedName | None = None
    """The client's current name in DNS, if the input had none and DNS answered."""
    unanswered: tuple[bytes, ...] = ()
    """The names of the address of which DNS did not say whether they resolve back to it."""
    was_vouched: bool = False
    """Whether other evidence outweighed the logged signals: the client was not suspicious."""
    missing: list[str] = field(default_factory=list)
    """The missing attributes that may change the decision."""
    logged_signals: tuple[str, ...] = ()
    """The signals in the log line that come from missing attributes."""
    logged_identity: bytes = b""
    """The organisation that the client was proven to send for then, if no HELO name is known."""


async def complete_names(given: RequestInput, settings: Settings, lookup: Lookup) -> ClientNames:
    """Add the names that Postfix would send: looked up in DNS, or implied by the log line."""
    names = ClientNames(dict(given.attributes))
    if given.text:
        return names
    attributes = names.attributes
    name = attributes.get("client_name", b"unknown")
    if normal_name(name) == b"unknown":
        found = await _resolve(attributes, lookup)
        if found is not None and found.unanswered and not found.confirmed:
            names.unanswered = found.unanswered
        else:
            names.resolved = found
    if "client_name" not in attributes:
        attributes["client_name"] = _confirmed(names.resolved)
        if names.resolved is None:
            names.missing.append("client_name")
    if not settings.needs_evidence or given.is_complete:
        return names
    logged = _logged_signals(given.decision)
    if "reverse_client_name" not in attributes:
        _add_reverse_name(names, logged)
    if "helo_name" not in attributes:
        _add_helo(names, given.decision, logged, settings)
    return names


def _confirmed(resolved: ResolvedName | None) -> bytes:
    return (resolved and resolved.confirmed) or b"unknown"


def _logged_signals(decision: LoggedDecision | None) -> tuple[str, ...] | None:
    """Return the signals that the server logged; None if the line does not show them."""
    if decision is None:
        return None
    signals = tuple(decision.signals.decode(errors="replace").split("+"))
    if decision.signals:
        return signals
    return () if decision.reason == Reason.NOT_SUSPICIOUS.text else None


def _add_reverse_name(names: ClientNames, logged: tuple[str, ...] | None) -> None:
    attributes, resolved = names.attributes, names.resolved
    name = attributes["client_name"]
    if normal_name(name) != b"unknown":
        # Postfix confirms the reverse name, so both are equal.
        attributes["reverse_client_name"] = name
    elif logged is not None:
        # Without either signal the request had no reverse name, or neither counted.
        if "no_ptr" in logged:
            attributes["reverse_client_name"] = b"unknown"
        elif "ptr_mismatch" in logged and resolved is not None and resolved.names:
            attributes["reverse_client_name"] = resolved.names[0]
        elif "ptr_mismatch" in logged:
            names.logged_signals += ("ptr_mismatch",)
    elif resolved is not None:
        attributes["reverse_client_name"] = resolved.names[0] if resolved.names else b"unknown"
    elif "client_name" not in names.missing:
        names.missing.append("reverse_client_name")


def _add_helo(
    names: ClientNames,
    decision: LoggedDecision | None,
    logged: tuple[str, ...] | None,
    settings: Settings,
) -> None:
    names.logged_identity = _logged_organisation(decision)
    client_name = normal_name(names.attributes["client_name"])
    # Both an identity by name and a softfail that does not count need a HELO name of the client's
    # organisation. Most clients use their own name.
    is_clients = names.logged_identity == (organisation_of(client_name) or None)
    is_softfail_void = not settings.identity and logged is not None and "spf_softfail" not in logged
    is_likely = is_clients or (is_softfail_void and client_name != b"unknown")
    # SPF checks the HELO name of a bounce, so an assumed one would prove too much.
    if is_likely and names.attributes.get("sender"):
        names.attributes["helo_name"] = client_name
    if logged is None or (decision is not None and decision.dns):
        # Without all answers from DNS, the HELO name may show more signals than the line has.
        names.missing.append("helo_name")
    if logged is not None:
        # SPF checks the HELO name of a bounce.
        words = ("helo",) if names.attributes.get("sender") else ("helo", "spf_")
        names.logged_signals += tuple(
            each for each in logged if any(word in each for word in words)
        )
        is_clean = decision is not None and decision.reason == Reason.NOT_SUSPICIOUS.text
        # Only a bounce's HELO name, if it is a domain, can have had an SPF pass that vouched.
        is_domain_unknown = not (names.attributes.get("sender") or "helo_not_fqdn" in logged)
        names.was_vouched = is_clean and bool(logged) and is_domain_unknown


def _logged_organisation(decision: LoggedDecision | None) -> bytes:
    """Return the organisation of the logged identity; version 0.1.0 logged its whole domain."""
    identity = normal_name(decision.identity) if decision is not None else b""
    return organisation_of(identity)


async def _resolve(attributes: Mapping[str, bytes], lookup: Lookup) -> ResolvedName | None:
    """Return the address's names in DNS; None if DNS does not answer."""
    address = parse_address(attributes.get("client_address", b""))
    if address is None:
        return None
    try:
        async with asyncio.timeout(_NAME_TIMEOUT_SECONDS):
            return await resolve_name(lookup, address)
    except (DnsError, TimeoutError):
        return None
