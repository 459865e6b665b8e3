"""Writes docs/options.md from the table of settings: ``python -m docs.render_options``."""

from __future__ import annotations

from pathlib import Path

from greyd.config.options import OPTIONS, Kind, Option

_HEAD = """\
# Options

Made from the code by `python -m docs.render_options`. The command line counts more than the
environment, and that more than the TOML file (`/etc/greyd/greyd.toml`, or `--config`).

`GREYD_OPTS` may hold several options, as words of a command line; they count more than the other
variables. `POSTGREY_OPTS` and `POSTGREY_TEXT`, which Debian's `/etc/default/postgrey` sets, count
least; what concerns postgrey's own process (`--daemonize`, `--dbdir`, `--group`, `--pidfile`,
`--user`) is not taken over from there.

| option | environment, TOML | |
|---|---|---|
"""


def render() -> str:
    """Return the page."""
    return _HEAD + "".join(map(_row, OPTIONS))


def _row(option: Option) -> str:
    short = "".join(f"{_code(f'-{name}')}, " for name in option.spellings if len(name) == 1)
    others = "".join(f", {_code(f'--{name}')}" for name in option.spellings if len(name) > 1)
    value = f"={option.metavar}" if option.metavar else ""
    if option.kind is Kind.OPTIONAL:
        value = f"[{value}]"
    cells = [
        f"{short}{_code(f'--{option.name}{value}')}{others}",
        f"{_code(option.variable)}<br>{_code(option.key)}",
        option.help
        + (" May be repeated." if option.kind is Kind.MANY else "")
        + (f"<br>Default: {_code(option.default)}" if option.default else ""),
    ]
    return "| " + " | ".join(cells) + " |\n"


def _code(text: str) -> str:
    """Return a name in code; a bar would end the cell, and is escaped otherwise at each reader."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


if __name__ == "__main__":
    Path(__file__).with_name("options.md").write_text(render())
