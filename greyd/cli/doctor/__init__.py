"""``greyd doctor``: checks everything that greylisting needs."""
