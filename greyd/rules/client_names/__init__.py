"""Judges what a client's host name reveals: a dial-up pool, an address, a customer."""
