"""Finds names that a pattern matches although other people own them."""
