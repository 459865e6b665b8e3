"""The command line: builds what is needed, and hands it down.

``greyd serve`` is dispatched before the rest is built: a policy server that is being restarted
should answer again soon, and its command line is postgrey's, read by ``greyd.settings``. Typer
shows its help and completes its options from the same table.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from greyd import __version__
from greyd.settings import (
    OWN_OPTIONS,
    SettingsError,
    SetupError,
    from_arguments,
    from_environment,
    from_postgrey,
    from_table,
    from_words,
    settle,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.settings import Given, Settings

DEFAULT_CONFIG = Path("/etc/greyd/greyd.toml")
USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run greyd with the given arguments, or the process's own; ends by ``SystemExit``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["serve"] and not {"-h", "--help", "-help"} & set(words):
        sys.exit(serve(words[1:]))
    from greyd.commands import build

    build()(["--help" if word == "-help" else word for word in words], prog_name="greyd")


def serve(arguments: Sequence[str]) -> int:
    """Run the server; returns the exit status."""
    if {"--version", "-version"} & set(arguments):
        sys.stdout.write(f"greyd {__version__}\n")
        return 0
    from greyd.process import run
    from greyd.store import StoreError

    try:
        return run(read_settings(arguments))
    except (SettingsError, SetupError, StoreError) as error:
        sys.stderr.write(f"greyd: {error}\n")
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 0


def read_settings(arguments: Sequence[str]) -> Settings:
    """Read all settings: command line, environment, file, what was meant for postgrey, defaults.

    Raises:
        SettingsError: one of them is wrong.
    """
    given, ignored = from_arguments(arguments)
    words, ignored_words = from_words(os.environ, OWN_OPTIONS)
    variables, unknown = from_environment(os.environ)
    postgreys, of_its_process, ignored_of_it = from_postgrey(os.environ)
    warnings = [f"{variable}: no such setting, ignored" for variable in unknown]
    if rest := [*ignored, *ignored_words, *ignored_of_it]:
        warnings.append(f"ignored, as postgrey does: {shown(' '.join(rest))}")
    own = {each.option for each in (*given, *words, *variables)}
    warnings += [
        f"{left.where}: that is for postgrey's own process; not taken over"
        for left in of_its_process
        if left.option not in own
    ]
    file = _from_file([*variables, *words, *given])
    return settle(given, words, variables, file, postgreys, warnings=warnings)


def _from_file(given: Sequence[Given]) -> list[Given]:
    named = [each.text for each in given if each.option.name == "config"]
    path = Path(named[-1]) if named else DEFAULT_CONFIG
    if not named and not path.exists():
        return []
    import tomllib

    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None
    return from_table(table, str(path))
