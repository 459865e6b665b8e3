"""Proposes whitelist entries for providers whose wanted mail waits."""
