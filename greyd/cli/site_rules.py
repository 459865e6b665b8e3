"""Texts about sender groups and recipient domains, for several commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.vocabulary import DELAYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.recipient_domains import RecipientDomain
    from greyd.config.sender_groups import SenderGroup


def group_text(group: SenderGroup) -> str:
    """Return the name and the members of a group, for display."""
    return f"sender group {group.name}: {', '.join([*group.networks, *group.names])}"


def domain_text(domain: RecipientDomain) -> str:
    """Return a recipient domain and its settings, for display."""
    below = " and the domains below it" if domain.subdomains else ""
    return f"recipient domain {domain.domain}{below}: {', '.join(settings_of_domain(domain))}"


def settings_of_domain(domain: RecipientDomain) -> Iterator[str]:
    """Yield each setting of a recipient domain in words."""
    if domain.delays:
        levels = ", ".join(DELAYS).lower()
        yield f"delay {', '.join(map(str, domain.delays))} s ({levels})"
    elif domain.delay_seconds is not None:
        yield f"delay {domain.delay_seconds} s"
    if domain.mode:
        yield f"mode {domain.mode}"
    if domain.greylist:
        yield f"greylist {domain.greylist}"
