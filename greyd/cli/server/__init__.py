"""Chooses the running server that a command works with, and describes the servers found."""
