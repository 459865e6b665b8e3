"""Limits of an SPF evaluation."""

from __future__ import annotations

MAX_DNS_TERMS = 10
"""Terms that ask the DNS."""
MAX_VOID_TERMS = 2
"""Terms that may find nothing, be it with one of their questions. Questions are not counted: the
hosts of an ``mx`` often have no address of IPv6, all of them.
"""
MAX_HOSTS_PER_TERM = 10
"""Mail exchangers, and names of an address, that are looked up for one term."""
MAX_QUERIES = 1 + MAX_DNS_TERMS * (1 + MAX_HOSTS_PER_TERM)
MAX_RECORD_BYTES = 8192
"""Of a record; a longer one is an error."""
MAX_REQUEST_BYTES = 512
"""Of the sender and the HELO in a macro; Postfix's values are cut there too."""

MAX_TOTAL_BYTES = 32 * 1024
"""Of all records of an evaluation. One that is met again counts again, here and below."""
MAX_TERMS = 2000
"""Directives and modifiers, those that ask nothing too."""
MAX_MACROS = 128
"""Wherever they stand, ``%%`` and its like too; one that expands to nothing costs as much."""
MAX_ADDRESSES = 1000
"""That the names of ``a``, ``mx``, ``exists`` and ``ptr`` lead to."""
