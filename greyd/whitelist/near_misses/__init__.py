"""Entries that do not match a client or recipient but nearly do, and why not."""
