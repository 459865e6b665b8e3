"""Checks that need the rules: domains in UTF-8 and ASCII, networks, the public suffix list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.site_rules.recipient_settings import SettingsByRecipient
from greyd.rules.site_rules.sender_groups import SenderGroups

if TYPE_CHECKING:
    from greyd.config.settings import Settings


def check_settings(settings: Settings) -> None:
    """Check the recipient domains and the sender groups of the settings.

    Raises:
        SettingsError: a domain or a member is invalid, or is set twice.
    """
    if settings.recipient_domains:
        SettingsByRecipient(settings)
    if settings.sender_groups:
        SenderGroups(settings)
