"""Chooses the running server that a command works with, and describes what was found."""
