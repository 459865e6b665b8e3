"""Counts and summarises the entries of the store."""
