"""Parses the values of options: words, addresses, zones, header texts."""
