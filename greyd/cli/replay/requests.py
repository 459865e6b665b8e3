"""Builds policy requests from a log's attempts, and names the origins of their mail."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.cli.replay.sender_model import ClientPath
from greyd.config.settings import Settings
from greyd.rules.address import address_text, network_of, network_prefix, parse_address
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import normal_name, organisation_of
from greyd.rules.request import Request

if TYPE_CHECKING:
    from greyd.maillog.attempts import Attempt

_NETWORKS = Settings()
"""The settings with the default networks, /24 and /64, for clients without a name."""


@lru_cache(50_000)
def origin_name(name: bytes, text: bytes) -> bytes:
    """Name a client's origin: the organisation of the client's name, else its network."""
    address = parse_address(text)
    if address is None:
        return text
    name = normal_name(name)
    organisation = organisation_of(name)
    if organisation and not is_generic(name, address):
        return organisation
    network = network_of(address, _NETWORKS)
    prefix = network_prefix(network, address.bits, _NETWORKS)
    return b"%b/%d" % (address_text(network, address.bits), prefix)


def has_verified_name(name: bytes, text: bytes) -> bool:
    """Return whether DNS verified a client's name, and it is not a customer's generic one."""
    address = parse_address(text)
    name = normal_name(name)
    return name not in (b"", b"unknown") and address is not None and not is_generic(name, address)


def request_for_attempt(attempt: Attempt, now: int) -> Request:
    """Return the request that Postfix would have sent for an attempt at time ``now``."""
    path = ClientPath(attempt.client_name, attempt.client_address)
    names = attempt.helo, attempt.reverse_name
    request = request_for_client(path, attempt.sender, attempt.recipient, *names, now)
    return request._replace(protocol_name=attempt.protocol_name)


def request_for_client(
    path: ClientPath,
    sender: bytes,
    recipient: bytes,
    helo: bytes | None,
    reverse_name: bytes | None,
    now: int,
) -> Request:
    """Return the request for a mail from one client.

    Args:
        path: the client's name and address.
        sender: the envelope sender.
        recipient: the envelope recipient.
        helo: the HELO name; None if the log does not have it.
        reverse_name: the client's unconfirmed name; None if the log does not have it.
        now: the simulated Unix time.
    """
    name = path.name
    known = name not in (b"", b"unknown")
    return Request(
        request=b"smtpd_access_policy",
        client_address=path.address,
        client_name=name,
        sender=sender,
        recipient=recipient,
        # If the log has no HELO name, assume that a client uses its confirmed name.
        helo_name=helo if helo is not None or not known else name,
        reverse_client_name=name if known else reverse_name or b"unknown",
        policy_test_time=b"%d" % now,
    )
