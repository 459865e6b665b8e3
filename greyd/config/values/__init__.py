"""Parses the values of options, in any source: words, addresses, zones, headers, variables."""
