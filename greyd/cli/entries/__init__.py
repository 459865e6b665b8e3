"""``greyd list``, ``show``, ``release`` and ``forget``: the entries of the store."""
