"""Whitelists in postgrey's format: files, matching, hit counts, lint and near misses."""
