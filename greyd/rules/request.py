"""A policy request of Postfix or Exim."""

from __future__ import annotations

from typing import NamedTuple


class Request(NamedTuple):
    """One policy request: the attributes that greyd uses, as the octets that came.

    ``None`` says that an attribute was absent, which is not the same as empty.
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
    """The first line without ``=`` in this request; such lines count for nothing."""
