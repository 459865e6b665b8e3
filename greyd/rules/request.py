"""The policy request of Postfix or Exim."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """The attributes of a policy request that greyd uses, as received; None for an absent one.

    A tuple: every request creates one, and a frozen dataclass with 16 fields takes more than four
    times as long to create.
    """

    request: bytes | None = None
    client_address: bytes | None = None
    client_name: bytes | None = None
    sender: bytes | None = None
    recipient: bytes | None = None
    instance: bytes | None = None
    queue_id: bytes | None = None
    sasl_username: bytes | None = None
    etrn_domain: bytes | None = None
    policy_test_time: bytes | None = None
    greyd_probe: bytes | None = None
    """Marks a probe of a command, which is not mail; Postfix never sends this."""
    helo_name: bytes | None = None
    reverse_client_name: bytes | None = None
    policy_context: bytes | None = None
    protocol_name: bytes | None = None
    """``ESMTP`` if the client sent EHLO, ``SMTP`` if it sent HELO."""
    garbage: bytes | None = None
    """The first line without a name or without ``=``, if any; the parser ignores such lines."""
