"""greyd: a greylisting policy server for Postfix and Exim."""

__version__ = "0.2.0"
