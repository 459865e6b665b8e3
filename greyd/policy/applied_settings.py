"""The settings that apply to one request, if they depend on its recipient or on its client.

``--recipient-domain`` changes delay, mode and greylisting rule, ``--never-auto-whitelist`` turns
the auto-whitelists off, and ``--sender-group`` adds an identity that needs no DNS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.config.vocabulary import GROUP_WAY
from greyd.rules.evidence import Evidence, ProvenIdentity
from greyd.rules.site_rules.recipient_settings import RecipientSettings, SettingsByRecipient
from greyd.rules.site_rules.sender_groups import SenderGroups

if TYPE_CHECKING:
    from greyd.config.recipient_domains import RecipientDomain
    from greyd.config.sender_groups import SenderGroup
    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.request import Request
    from greyd.whitelist.entries import WhitelistEntry
    from greyd.whitelist.matcher import Whitelists


@dataclass(frozen=True, slots=True)
class AppliedSettings:
    """The settings that apply to one request."""

    settings: Settings
    """The settings for the rules."""
    mode: str
    """The mode in force."""
    domain: RecipientDomain | None = None
    """The recipient domain whose settings apply, if any."""
    group: SenderGroup | None = None
    """The group that the client belongs to, if any."""
    never_auto_entry: WhitelistEntry | None = None
    """The entry of ``--never-auto-whitelist`` that matches the client, if any."""

    def complete(self, evidence: Evidence | None) -> Evidence | None:
        """Return the evidence with the sender group; if an entry matches, nothing ``may_earn``."""
        if self.group is not None and not (evidence and _has_group(evidence)):
            identity = ProvenIdentity(self.group.identity, GROUP_WAY, speaks_for_sender=False)
            found = evidence or Evidence()
            evidence = replace(found, identities=(*found.identities, identity))
        if self.never_auto_entry is not None and evidence is not None and evidence.identities:
            identities = tuple(replace(each, may_earn=False) for each in evidence.identities)
            evidence = replace(evidence, identities=identities)
        return evidence


def _has_group(evidence: Evidence) -> bool:
    return any(each.way == GROUP_WAY for each in evidence.identities)


class RequestSettings:
    """Finds the settings that apply to a request."""

    def __init__(self, settings: Settings) -> None:
        """Compile the recipient domains and sender groups of the settings.

        Raises:
            SettingsError: a domain or a member of a group is invalid, or is set twice.
        """
        self._by_recipient = SettingsByRecipient(settings)
        self._groups = SenderGroups(settings)
        self._without_auto_whitelist: dict[RecipientDomain | None, Settings] = {}
        """The settings for clients that are never auto-whitelisted, by recipient domain."""

    def of(
        self,
        request: Request,
        address: Address | None,
        whitelists: Whitelists,
        server_mode: str,
        *,
        mode_is_overridden: bool,
    ) -> AppliedSettings:
        """Return the settings that apply to a request.

        Args:
            request: the request.
            address: the client's address; None if it is invalid.
            whitelists: the whitelists in force.
            server_mode: the mode in force for the whole server.
            mode_is_overridden: whether it is that of ``greyd mode`` instead of ``--mode``.
        """
        name = request.client_name or b""
        found = self._by_recipient.of(request.recipient or b"")
        entry = whitelists.never_auto.match(name, address)
        return AppliedSettings(
            self._never_auto(found) if entry else found.settings,
            found.mode(server_mode, is_overridden=mode_is_overridden),
            found.domain,
            self._groups.of(name, address) if address and self._groups else None,
            entry,
        )

    def _never_auto(self, found: RecipientSettings) -> Settings:
        settings = self._without_auto_whitelist.get(found.domain)
        if settings is None:
            settings = replace(
                found.settings, auto_whitelist_clients=0, auto_whitelist_identities=0
            )
            self._without_auto_whitelist[found.domain] = settings
        return settings


def request_settings(settings: Settings) -> RequestSettings | None:
    """Return the finder of a request's settings; None if they are the same for all requests."""
    if settings.recipient_domains or settings.sender_groups or settings.never_auto_whitelist:
        return RequestSettings(settings)
    return None
