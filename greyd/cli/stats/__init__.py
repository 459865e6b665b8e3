"""``greyd stats`` and ``greyd top``: statistics of the servers and of the store."""
