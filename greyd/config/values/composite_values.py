"""Parses values that consist of several named parts: ``HEAD;KEY=VALUE;KEY=VALUE``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.config.errors import SettingsError
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.config.values.parsers import Parser


class CompositeValueError(ValueError):
    """A part of a value is invalid; the text names the part and says what is expected."""


def parse_parts(texts: list[str], parsers: Mapping[str, Parser]) -> dict[str, Any]:
    """Parse parts of the form ``KEY=VALUE``.

    Args:
        texts: the parts.
        parsers: the parser of each key.

    Raises:
        CompositeValueError: a key is unknown or occurs twice, or a value is invalid.
    """
    parts: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.lower()
        if key not in parsers or not equals:
            raise CompositeValueError(
                f"{excerpt(text)}: expected KEY=VALUE, with one of the keys {', '.join(parsers)}"
            )
        if key in parts:
            raise CompositeValueError(f"{key}: given twice; name it once")
        try:
            parts[key] = parsers[key](value)
        except ValueError as error:
            raise CompositeValueError(f"{key}={excerpt(value)}: expected {error}") from None
    return parts


def require_keys(table: Mapping[str, object], keys: tuple[str, ...], where: str) -> None:
    """Raise SettingsError if a TOML table has a key that is not one of ``keys``."""
    for key in table:
        if key not in keys:
            raise SettingsError(
                f"{where}: {excerpt(key)}: unknown key; the keys are {', '.join(keys)}"
            )
