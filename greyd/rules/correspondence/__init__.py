"""Correspondence: the addresses that local users have written to, and mail that answers them."""
