"""Reads ``--with``: settings must affect decisions, and some need ``--dns``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.config.loading import with_changes
from greyd.config.shadow import setting_changes
from greyd.config.values.parsers import parse_setting_change
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greyd.config.settings import Settings

_DNS_SETTINGS = ("dnsbl", "rhsbl", "dnswl", "resolver", "dns-timeout")
_DNS_SIGNALS = (
    "sender_no_mx", "dnsbl", "rhsbl", "spf_fail", "helo_own_domain", "sender_own_domain",
    "helo_no_address", "helo_other_address", "spf_softfail",
)  # fmt: skip


def read_other_settings(
    settings: Settings, changes: Sequence[str], note: Callable[[str], None], *, dns: bool
) -> Settings:
    """Return the server's settings with the changes of ``--with``.

    Args:
        settings: the server's settings.
        changes: the values of ``--with``, each NAME=VALUE.
        note: called with each warning about a value.
        dns: whether the simulation queries DNS.

    Raises:
        CommandError: a setting does not affect decisions, or has no effect without DNS.
        SettingsError: a value is invalid.
    """
    given = setting_changes(map(_parse_change, changes), "--with")
    named = {each.option.name for each in given}
    other = with_changes(settings, given)
    for name in (*_DNS_SETTINGS, *_without_effect(other)):
        if name in named and not dns and not getattr(settings, name, None):
            raise CommandError(f"--with {name}: has no effect without DNS; add --dns")
    for warning in other.warnings:
        if warning.startswith("--with"):
            note(warning)
    return other


def _parse_change(text: str) -> tuple[str, str]:
    try:
        return parse_setting_change(text)
    except ValueError as error:
        raise CommandError(f"--with {excerpt(text)}: expected {error}") from None


def _without_effect(settings: Settings) -> Iterator[str]:
    """Yield the names of settings whose values have no effect without DNS."""
    if settings.identity == ("spf",):
        yield "identity"
    if set(settings.signals) <= set(_DNS_SIGNALS):
        yield "signals"


def limits(all_settings: Sequence[Settings], *, dns: bool) -> Iterator[str]:
    """Yield the facts about clients that the simulation cannot know."""
    missing = []
    if any(each.dnsbl or each.rhsbl or each.dnswl for each in all_settings):
        missing.append("is on a DNS list")
    if any("spf" in each.identity for each in all_settings):
        missing.append("has an identity by SPF")
    if any(each.whitelist_senders for each in all_settings):
        missing.append("has a sender that SPF proves")
    if any(each.needs_signals for each in all_settings):
        missing.append(f"shows {', '.join(_DNS_SIGNALS)}")
    if missing and dns:
        yield "--dns uses today's DNS answers; they may differ from those when the mail arrived"
    elif missing:
        yield f"without --dns, no client {' or '.join(missing)}, unless greyd's own log says so"
