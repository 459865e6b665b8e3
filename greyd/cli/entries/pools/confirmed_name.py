"""The confirmed name of an address, as Postfix determines a client's name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import pointer_name
from greyd.rules.hostnames import normal_name

if TYPE_CHECKING:
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address

MAX_NAMES = 5
"""Maximum number of names of an address that are looked up."""


async def confirmed_name(lookup: Lookup, address: Address) -> bytes:
    """Return the first name of an address that resolves back to it; empty if none does.

    Raises:
        DnsError: the names of the address are unknown.
    """
    names = (await lookup.query(pointer_name(address), RecordType.PTR)).values[:MAX_NAMES]
    kind = RecordType.A if address.bits == 32 else RecordType.AAAA
    for name in map(normal_name, names):
        # Postfix treats a failure of this lookup as a name that does not resolve.
        with contextlib.suppress(DnsError):
            if address.packed in (await lookup.query(name, kind)).values:
                return name
    return b""
