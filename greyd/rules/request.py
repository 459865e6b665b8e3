"""A policy request of Postfix or Exim."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One policy request: the attributes that greyd uses, as received.

    ``None`` means that an attribute is absent, which differs from empty. It is a tuple, because the
    parser creates one from its matches in a fifth of the time that a dataclass takes.
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
    helo_name: bytes | None = None
    reverse_client_name: bytes | None = None
    policy_context: bytes | None = None
    garbage: bytes | None = None
    """The first line without ``=``; such lines are ignored."""
