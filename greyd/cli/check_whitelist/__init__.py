"""The command ``greyd check-whitelist``."""
