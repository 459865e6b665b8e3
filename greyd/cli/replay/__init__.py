"""``greyd replay``: simulates other settings with the mail of a log."""
