"""``greyd replay``: what other settings would have done with the mail of a log."""
