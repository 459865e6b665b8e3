"""``greyd stats`` and ``greyd top``: figures of the servers and of the store."""
