"""Keys of greyd's own records, which belong to no mail."""

CONTROL_KEY = b"control"
"""What an administrator has told all servers: the mode, expected mail, and the last acts."""

HITS_PREFIX = b"{hits}!"
"""Begins the keys of the whitelist entries' hit counts."""

PROBE_KEY = b"probe"
"""Written and read by the circuit breaker to find out whether the store works again."""

SWEPT_KEY = b"swept"
"""The time of the last sweep of an SQLite file."""
