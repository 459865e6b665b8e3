"""Reads the mail address, domain, client or network that a person types or pastes."""
