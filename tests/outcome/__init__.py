"""Measures what greyd does to good and bad mail, in a simulated world where the truth is known."""
