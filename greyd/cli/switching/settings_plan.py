"""Adds postgrey's options to greyd's configuration file, unless greyd has its own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.switching.postgrey_options import toml_line
from greyd.config.errors import SettingsError
from greyd.config.loading import DEFAULT_CONFIG, MAX_CONFIG_BYTES, read_settings
from greyd.config.option import Arity
from greyd.config.regular_files import read_regular_file
from greyd.config.sources import RawSetting, from_postgrey
from greyd.escaping import printable_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.cli.switching.postgrey_options import PostgreyOptions
    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class SettingsPlan:
    """The configuration file as it will be, and the settings that then apply."""

    path: Path
    old: bytes | None
    """The content of the file now; None if there is none."""
    new: bytes
    lines: tuple[str, ...]
    """The lines that are added."""
    settings: Settings
    """The settings of greyd after the switch."""
    kept: tuple[str, ...] = ()
    """The options that greyd already has with another value, one sentence each."""
    problems: tuple[str, ...] = ()
    """Why greyd would not start with postgrey's environment file, each with the remedy."""


def plan_settings(
    options: PostgreyOptions, environment: Mapping[str, str], heading: str
) -> SettingsPlan:
    """Return greyd's configuration file with postgrey's options.

    greyd's own settings take precedence: an option that its environment file or its configuration
    file sets stays as it is.

    Args:
        options: postgrey's options.
        environment: the variables in the environment files of greyd's service.
        heading: the comment above the added lines.

    Raises:
        SettingsError: greyd's settings are invalid, or would be with postgrey's options.
    """
    greyds = {name: text for name, text in environment.items() if name.startswith("GREYD_")}
    own = read_settings([], greyds)
    # A link stays one: the file that it names is written.
    path = Path(os.path.realpath(own.config or DEFAULT_CONFIG))
    old = read_regular_file(path, MAX_CONFIG_BYTES) if path.exists() else None
    given = dict(own.given)
    lines, kept = [], []
    for name, texts in _texts(options.for_greyd).items():
        if name not in given:
            lines.append(toml_line(name, texts))
        elif not _is_same(name, texts, own):
            ours = " ".join(text for each, text in own.given if each == name)
            kept.append(
                f"--{name}: greyd's own setting stays, {printable_text(ours)}; postgrey has"
                f" {printable_text(' '.join(texts))}"
            )
    new = _with_lines(old, lines, heading)
    problems = []
    try:
        from_postgrey(environment)
    except SettingsError as error:
        problems.append(f"greyd reads this too, and would not start: {error}; remove it there")
        environment = greyds
    settings = _read(new, environment)
    return SettingsPlan(path, old, new, tuple(lines), settings, tuple(kept), tuple(problems))


def _texts(given: tuple[RawSetting, ...]) -> dict[str, list[str]]:
    """Return the texts of each option, without values that mean the default."""
    texts: dict[str, list[str]] = {}
    for each in given:
        option = each.option
        if (option.empty_is_default and not each.text) or option.name == "lookup-by-subnet":
            continue
        texts.setdefault(option.name, []).append(each.text)
    return texts


def _is_same(name: str, texts: list[str], own: Settings) -> bool:
    from greyd.config.options import BY_NAME
    from greyd.config.settings import merge_settings

    option = BY_NAME[name]
    value = getattr(
        merge_settings([RawSetting(option, text, name) for text in texts]), option.field
    )
    ours = getattr(own, option.field)
    return set(value) <= set(ours) if option.kind is Arity.MANY else bool(value == ours)


def _with_lines(old: bytes | None, lines: list[str], heading: str) -> bytes:
    """Put the lines at the top of the file: below a table's heading they would belong to it."""
    if not lines:
        return old or b""
    block = "".join(f"{line}\n" for line in (f"# {heading}", *lines)).encode()
    if not old:
        return block
    return block + b"\n" + old.removeprefix("\ufeff".encode())


def _read(content: bytes, environment: Mapping[str, str]) -> Settings:
    with tempfile.NamedTemporaryFile(prefix="greyd-", suffix=".toml") as file:
        file.write(content)
        file.flush()
        try:
            return read_settings([f"--config={file.name}"], environment)
        except SettingsError as error:
            raise SettingsError(str(error).replace(file.name, "greyd.toml")) from None
