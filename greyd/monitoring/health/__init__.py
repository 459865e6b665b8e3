"""Finds what looks wrong with a running server."""
