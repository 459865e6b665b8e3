"""Reads postgrey's databases: copies, recovers, dumps and decodes them."""
