"""Collects evidence about clients from DNS: lookups, SPF, DNS lists and identities."""
