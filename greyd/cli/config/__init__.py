"""The command ``greyd config``."""
