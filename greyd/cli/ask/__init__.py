"""The command ``greyd ask``."""
