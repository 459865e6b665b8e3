"""Finds whitelist entries that nearly match a client or recipient, and the reasons."""
