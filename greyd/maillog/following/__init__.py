"""Follows logs that grow: files, the journal, and standard input."""
