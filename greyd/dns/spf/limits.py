"""The limits of one SPF evaluation.

RFC 7208 sets the first four (4.6.4) and leaves the others to the evaluator (11.1). Beyond any of
them the result is ``permerror``. What an evaluation reads twice counts twice.
"""

from __future__ import annotations

MAX_DNS_TERMS = 10
"""Terms that cause DNS queries."""
MAX_VOID_TERMS = 2
"""Terms with a query that finds nothing. Terms are counted, not queries: the hosts of an ``mx``
often all lack an IPv6 address.
"""
MAX_HOSTS_PER_TERM = 10
"""Mail exchangers, or names of the client's address, that are looked up for one term."""
MAX_QUERIES = 1 + MAX_DNS_TERMS * (1 + MAX_HOSTS_PER_TERM)

MAX_RECORD_BYTES = 8192
"""Bytes of one record."""
MAX_TOTAL_BYTES = 32 * 1024
"""Bytes of all records."""
MAX_TERMS = 2000
"""Directives and modifiers, including those that cause no queries."""
MAX_MACROS = 128
"""Macros, including ``%%``, ``%_`` and ``%-``: one that expands to nothing costs as much."""
MAX_ADDRESSES = 1000
"""Addresses that the names in ``a``, ``mx``, ``exists`` and ``ptr`` have."""
MAX_REQUEST_BYTES = 512
"""Bytes of the sender and of the HELO name in a macro; Postfix truncates them there, too."""
