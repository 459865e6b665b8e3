"""Makes the paths in the texts of options absolute."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greyd.config.values.parsers import parse_setting_change
from greyd.config.vocabulary import Zone

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.config.values.parsers import Parser


def with_absolute_paths(
    text: str, value: Any, read: Parser, parser_of: Callable[[str], Parser]
) -> str:
    """Return the text of a value with absolute paths: commands run in other folders.

    Args:
        text: the text.
        value: what the option's parser makes of it.
        read: that parser.
        parser_of: returns the parser of the option with a name.
    """
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Zone) and value.key_file is not None:
        return ";".join(
            f"key_file={value.key_file.absolute()}"
            if part.lower().startswith("key_file=")
            else part
            for part in text.split(";")
        )
    if read is parse_setting_change:
        name, changed = value
        read = parser_of(name)
        with contextlib.suppress(ValueError):
            # An invalid value is reported where the shadow's settings are merged.
            changed = with_absolute_paths(changed, read(changed), read, parser_of)
        return f"{name}={changed}"
    return text
