"""Writes docs/options.md from the table of settings: ``python -m docs.render_options``."""

from __future__ import annotations

from pathlib import Path

from greyd.settings import OPTIONS, Kind, Option

_HEAD = """\
# Options

Made from the code by `python -m docs.render_options`. The command line counts more than the
environment, and that more than the TOML file (`/etc/greyd/greyd.toml`, or `--config`).

`GREYD_OPTS` may hold several options, as words of a command line; they count more than the other
variables. `POSTGREY_OPTS` and `POSTGREY_TEXT`, which Debian's `/etc/default/postgrey` sets, count
least; what concerns postgrey's own process (`--daemonize`, `--dbdir`, `--group`, `--pidfile`,
`--user`) is not taken over from there.

| option | environment | TOML | default | |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    return _HEAD + "".join(map(_row, OPTIONS))


def _row(option: Option) -> str:
    short = "".join(f"`-{name}`, " for name in option.spellings if len(name) == 1)
    others = "".join(f", `--{name}`" for name in option.spellings if len(name) > 1)
    value = f"={option.metavar}" if option.metavar else ""
    if option.kind is Kind.OPTIONAL:
        value = f"[{value}]"
    default = f"`{option.default}`" if option.default else ""
    text = option.help + (" May be repeated." if option.kind is Kind.MANY else "")
    cells = [
        f"{short}`--{option.name}{value}`{others}",
        f"`{option.variable}`",
        f"`{option.key}`",
        default,
        text,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    Path(__file__).with_name("options.md").write_text(render())
