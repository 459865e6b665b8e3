"""Collects evidence about clients: DNS collectors, the check of senders, and the shadow."""
