"""Whitelists in postgrey's format: matching, files, hits, lint."""
