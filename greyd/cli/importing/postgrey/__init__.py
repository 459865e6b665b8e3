"""Postgrey's databases: copied and recovered, dumped, and decoded."""
