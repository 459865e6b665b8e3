"""Checks Postfix's configuration. All modules except ``postconf`` are pure."""
