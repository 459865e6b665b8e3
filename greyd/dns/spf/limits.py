"""The limits of one SPF evaluation.

RFC 7208 sets the first three (4.6.4); the others are greyd's own (11.1). If an evaluation exceeds
one of them, its result is ``permerror``. A record that is read twice counts twice.
"""

from __future__ import annotations

MAX_DNS_TERMS = 10
"""Maximum number of terms that cause DNS queries."""
MAX_VOID_TERMS = 2
"""Maximum number of terms with a query without records. Terms count, not queries, because often all
hosts of an ``mx`` lack an IPv6 address.
"""
MAX_HOSTS_PER_TERM = 10
"""Maximum number of hosts of an ``mx``, or of names of the client's address, to look up."""
MAX_QUERIES = 1 + MAX_DNS_TERMS * (1 + MAX_HOSTS_PER_TERM)
"""Maximum number of DNS queries, which follows from the limits above."""

MAX_RECORD_BYTES = 8192
"""Maximum size of one record."""
MAX_TOTAL_BYTES = 32 * 1024
"""Maximum total size of all records."""
MAX_TERMS = 2000
"""Maximum number of directives and modifiers, including those that cause no queries."""
MAX_MACROS = 128
"""Maximum number of macros, including ``%%``, ``%_`` and ``%-``."""
MAX_ADDRESSES = 1000
"""Maximum total number of addresses of the hosts in ``a``, ``mx``, ``exists`` and ``ptr``."""
MAX_REQUEST_BYTES = 512
"""Maximum size of the sender's local part and of the HELO name in a macro; Postfix truncates both
at the same length.
"""
