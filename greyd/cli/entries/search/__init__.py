"""Searches in the keys of a store, for the entries of a client, an address or a domain."""
