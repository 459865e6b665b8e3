"""Describes what the server does while its store does not answer, according to its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.config.settings import Settings


def outcome_of_store_failure(settings: Settings) -> str:
    """Return what happens to mail while the server's store does not answer."""
    if settings.mode == "learn":
        return "mail passes without greylisting (--mode=learn)"
    if settings.passes_without_store:
        return "mail passes without greylisting (--on-store-failure=pass)"
    return "mail is deferred (--on-store-failure=defer)"
