"""Formats the value of an option in the form in which users type it, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.config.durations import format_duration
from greyd.config.option import Arity
from greyd.config.values.header_text import parse_header
from greyd.config.vocabulary import TRUST, Zone
from greyd.escaping import printable_text
from greyd.redaction import redacted, without_list_keys
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from greyd.config.option import Option
    from greyd.config.setting_origins import SettingOrigin

UNSET = "–"
"""Shown for an option that has no value."""


def shown_texts(origin: SettingOrigin, value: Any, default: Any) -> list[str]:
    """Return the values of an option for display; empty if it has none.

    Args:
        origin: the option, and the texts that set it.
        value: its field of the settings in force.
        default: that field's default.
    """
    option = origin.option
    if option.kind is Arity.FLAG:
        return value_texts(value)
    if not origin.texts:
        if value == default:
            return [option.shown_default] if option.shown_default else []
        return value_texts(value)
    if value == default and option.zero_is_default and option.default:
        # "0" and empty texts stand for the default.
        return [option.default]
    return [_safe(option, text) for text in origin.texts]


def value_texts(value: Any) -> list[str]:
    """Return the texts of a value that a preset sets, as one would type them."""
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, tuple):
        if all(isinstance(each, str) for each in value):
            return [",".join(value)]
        return [zone_text(each) for each in value]
    return [str(value)]


def zone_text(zone: Zone) -> str:
    """Return a DNS list as one would type it."""
    if zone.delay_seconds is not None:
        return f"{zone.name}={format_duration(zone.delay_seconds).replace(chr(0xA0), '')}"
    if zone.supports:
        return f"{zone.name}={TRUST[zone.trust]},support"
    return zone.name


def _safe(option: Option, text: str) -> str:
    """Return a text without passwords, keys and control characters."""
    if option.name == "store":
        return redact_url(text)
    if option.read is parse_header or option.name.startswith("greylist-"):
        # A reply's text may contain a URL, and no secret.
        return printable_text(text)
    return printable_text(redacted(without_list_keys(text)))
