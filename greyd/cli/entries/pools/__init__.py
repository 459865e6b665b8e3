"""Waiting mail that comes from several networks, and the organisations of these networks."""
