"""Checks Postfix's configuration, which ``config`` reads."""
