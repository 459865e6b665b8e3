"""Edits the administrator's own whitelists, ``whitelist_clients.local`` and the like."""
