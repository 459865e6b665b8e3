"""Finds entries that are invalid, never match, match too much, or are redundant."""
