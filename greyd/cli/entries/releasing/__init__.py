"""``greyd release``: finds waiting mail, with the signs that it is spam, and releases it."""
