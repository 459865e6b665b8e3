"""greyd: a greylisting policy server for Postfix and Exim."""

__version__ = "0.1.0"
