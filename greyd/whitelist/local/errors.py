"""The error of edits to whitelists."""

from __future__ import annotations

from greyd.whitelist.errors import WhitelistError


class LocalListError(WhitelistError):
    """A whitelist can't be edited, or an entry can't be added; the text says what to do."""
