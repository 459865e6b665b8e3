"""The names of the whitelists, as commands, metrics and hit counts use them."""

from __future__ import annotations

CLIENTS, RECIPIENTS, SENDERS = "clients", "recipients", "senders"
"""The lists whose entries let mail pass. The server counts the hits of their entries."""

NEVER_AUTO = "never_auto_whitelist"
"""The list of clients that are never auto-whitelisted. Its entries let no mail pass."""

OVERRIDE = "list_override"
"""The list of clients that are not looked up on blocklists."""

SENDER_LOGINS = "sender_logins"
"""The list of the logins that may use a sender."""

WHITELISTS = (CLIENTS, RECIPIENTS, SENDERS)

ALL_LISTS = (*WHITELISTS, NEVER_AUTO)
"""The lists in the format of whitelists."""

TABLES = (OVERRIDE, SENDER_LOGINS)
"""The lists in the format of tables for Postfix: a key and a value on each line."""

LISTS_OF_CLIENTS = (CLIENTS, NEVER_AUTO, OVERRIDE)
"""The lists with names and addresses of clients; the others have mail addresses and domains."""
