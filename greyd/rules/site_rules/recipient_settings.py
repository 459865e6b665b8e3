"""The settings that apply to a request, by its recipient's domain (``--recipient-domain``).

The settings of the request's own domain come first, then those of the closest domain above it that
include ``subdomains``. Settings that a domain does not set are those of the server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.rules.hostnames import domain_of
from greyd.rules.keys import names_in
from greyd.rules.names.internationalised import ascii_domain

if TYPE_CHECKING:
    from greyd.config.recipient_domains import RecipientDomain
    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class RecipientSettings:
    """The settings that apply to a recipient."""

    settings: Settings
    """The server's settings with the domain's delay and greylisting rule, for this recipient."""
    domain: RecipientDomain | None = None
    """The domain that has settings of its own; None if those of the server apply."""

    def mode(self, server_mode: str, *, is_overridden: bool) -> str:
        """Return the mode in force.

        Args:
            server_mode: the mode in force for the whole server.
            is_overridden: whether it is that of ``greyd mode`` instead of ``--mode``.
        """
        if self.domain is None or not self.domain.mode:
            return server_mode
        # An administrator who turns greylisting off, or lets it only learn, means all mail.
        if is_overridden and server_mode != "on":
            return server_mode
        return self.domain.mode


class SettingsByRecipient:
    """The settings for each recipient."""

    def __init__(self, settings: Settings) -> None:
        """Compile the recipient domains of the settings.

        Raises:
            SettingsError: two domains are the same name, in UTF-8 and in ASCII.
        """
        self._of_server = RecipientSettings(replace(settings, recipient_domains=()))
        self._of_domain: dict[bytes, RecipientSettings] = {}
        self._with_subdomains: dict[bytes, RecipientSettings] = {}
        self._variants: dict[tuple[object, ...], Settings] = {}
        """The settings of domains that set the same, so that thousands of domains share them."""
        for domain in settings.recipient_domains:
            self._add(domain, settings)

    def _add(self, domain: RecipientDomain, settings: Settings) -> None:
        name = ascii_domain(domain.domain.encode())
        if not name.isascii():
            raise SettingsError(f"{domain.where}: {domain.domain}: no valid domain; correct it")
        if known := self._of_domain.get(name):
            other = known.domain.domain if known.domain else ""
            raise SettingsError(
                f"{domain.where}: {domain.domain} is the same domain as {other}; set it once"
            )
        variant = (domain.delay_seconds, domain.delays, domain.mode, domain.greylist)
        own = self._variants.get(variant)
        if own is None:
            own = self._variants[variant] = _own_settings(domain, settings)
        self._of_domain[name] = found = RecipientSettings(own, domain)
        if domain.subdomains:
            self._with_subdomains[name] = found

    def of(self, recipient: bytes) -> RecipientSettings:
        """Return the settings for a recipient."""
        name = domain_of(recipient)
        if not name.isascii():
            name = ascii_domain(name)
        if found := self._of_domain.get(name):
            return found
        while self._with_subdomains and (name := name.partition(b".")[2]):
            if found := self._with_subdomains.get(name):
                return found
        return self._of_server

    def of_key(self, key: bytes) -> Settings:
        """Return the settings for the recipient in a triplet's key.

        A hash (``--privacy``) and a key of another kind have no recipient; their settings are those
        of the server.
        """
        names = names_in(key)
        return self.of(names.recipient).settings if names else self._of_server.settings


def _own_settings(domain: RecipientDomain, settings: Settings) -> Settings:
    own = replace(
        settings,
        recipient_domains=(),
        mode=domain.mode or settings.mode,
        greylist=domain.greylist or settings.greylist,
    )
    if domain.delay_seconds is None:
        return own
    return replace(own, delay_seconds=domain.delay_seconds, delays=domain.delays)


def settings_of_key(key: bytes, settings: Settings) -> Settings:
    """Return the settings for the recipient in a stored triplet's key.

    Args:
        key: the key; for a hash, which has no recipient, the settings are those of the server.
        settings: the server's settings.
    """
    return _compiled(settings).of_key(key) if settings.recipient_domains else settings


def settings_to_release(key: bytes, settings: Settings) -> Settings:
    """Return the settings with which a triplet is released: if in doubt, with the longest delay.

    Args:
        key: the triplet's key; a hash may be of a recipient with the longest delay.
        settings: the server's settings.
    """
    own = settings_of_key(key, settings)
    if not settings.recipient_domains or names_in(key):
        return own
    return replace(own, delay_seconds=settings.longest_delay_seconds)


_last_compiled: list[tuple[Settings, SettingsByRecipient]] = []
"""The settings of the last call and their compiled form: commands use the same ones throughout."""


def _compiled(settings: Settings) -> SettingsByRecipient:
    if not _last_compiled or _last_compiled[0][0] is not settings:
        _last_compiled[:] = [(settings, SettingsByRecipient(settings))]
    return _last_compiled[0][1]
