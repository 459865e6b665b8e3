"""The command ``greyd whitelist``."""
