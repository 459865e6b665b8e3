"""Correspondence: whom local users have written to, and which mail is an answer."""
