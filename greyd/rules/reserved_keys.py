"""Keys of greyd's own records, which do not decide about requests."""

CONTROL_KEY = b"control"
"""The control record: an administrator's settings for all servers (``greyd.rules.control``)."""

HITS_PREFIX = b"{hits}!"
"""The prefix of the keys of hit counts (``greyd.whitelist.hits``)."""

HISTORY_PREFIX = b"{history}!"
"""The prefix of the keys of the servers' histories (``greyd.monitoring.activity.history_key``)."""

PROBE_KEY = b"probe"
"""The circuit breaker writes and reads this key to test whether the store works again."""

SWEPT_KEY = b"swept"
"""The time of an SQLite file's last sweep, which deletes expired records."""

SHADOW_PREFIX = b"%"
"""The prefix of all keys of the shadow (``--shadow``), before the key that the server would use.

It precedes the tag in braces, so in a Redis Cluster both keys are in the same slot.
"""
