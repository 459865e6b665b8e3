"""Render docs/options.md from the table of options: ``python -m tools.render_options``."""

from __future__ import annotations

from pathlib import Path

from greyd.config.option import Arity, Option
from greyd.config.options import OPTIONS

FILE = Path(__file__).parent.parent / "docs" / "options.md"

_HEAD = """\
# Options

`make generate` renders this page from the code. The command line takes precedence over the
environment, and the environment over the TOML file (`/etc/greyd/greyd.toml`, or `--config`).

`GREYD_OPTS` holds options as on a command line; it takes precedence over the other variables.
`POSTGREY_OPTS` and `POSTGREY_TEXT`, which Debian's `/etc/default/postgrey` sets, have the lowest
precedence. greyd ignores those of their options that concern postgrey's own process
(`--daemonize`, `--dbdir`, `--group`, `--pidfile`, `--user`).

| option, environment, TOML | meaning |
|---|---|
"""


def render() -> str:
    """Return the text of the page."""
    return _HEAD + "".join(map(_row, OPTIONS))


def _row(option: Option) -> str:
    short = "".join(f"{_code(f'-{name}')}, " for name in option.spellings if len(name) == 1)
    others = "".join(f", {_code(f'--{name}')}" for name in option.spellings if len(name) > 1)
    value = f"={option.metavar}" if option.metavar else ""
    if option.kind is Arity.OPTIONAL:
        value = f"[{value}]"
    cells = [
        f"{short}{_code(f'--{option.name}{value}')}{others}"
        f"<br>{_code(option.variable)}<br>{_code(option.key)}",
        option.help
        + (" May be repeated." if option.kind is Arity.MANY else "")
        + (f"<br>Default: {_code(option.default)}" if option.default else ""),
    ]
    return "| " + " | ".join(cells) + " |\n"


def _code(text: str) -> str:
    """Format a name as code; an unescaped bar would end the table cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


if __name__ == "__main__":
    FILE.write_text(render())
