"""Render docs/options.md from the table of options: ``python -m tools.render_options``."""

from __future__ import annotations

from pathlib import Path

from greyd.config.option import Arity, Option
from greyd.config.options import OPTION_GROUPS

FILE = Path(__file__).parent.parent / "docs" / "options.md"

_HEAD = """\
# Options

`make generate` renders this page from the code. The command line takes precedence over the
environment, and the environment over the TOML file (`/etc/greyd/greyd.toml`, or `--config`).

`GREYD_OPTS` holds options as on a command line; it takes precedence over the other variables.
An empty variable is not set. Words such as `on`, `learn` and `pass` may be in upper case.

The variables that are set for postgrey have the lowest precedence: `POSTGREY_OPTS` and
`POSTGREY_TEXT` (Debian's `/etc/default/postgrey`), `POSTGREY_DELAY=60` and so on (Gentoo's
`/etc/conf.d/postgrey`, docker-mailserver), `POSTGREY_DELAY=--delay=60` (EPEL's
`/etc/sysconfig/postgrey`) and `postgrey_flags` (FreeBSD's `/etc/rc.conf`). greyd warns of variables
that it does not understand, of `OPTIONS` (RHEL 6's `/etc/sysconfig/postgrey`), and of
`postgrey_flags` in `rc.conf` that the service script does not pass on. It ignores options that
concern postgrey's own process (`--daemonize`, `--dbdir`, `--group`, `--pidfile`, `--user`).

A time is a duration with a unit (`90s`, `5m`, `6h`, `2d`, `1h30m`), or a bare number in postgrey's
unit, which the row names. Defaults are written as one would type them.
"""

_TABLE = """
## {title}

| option, environment, TOML | meaning |
|---|---|
"""


def render() -> str:
    """Return the text of the page."""
    return _HEAD + "".join(
        _TABLE.format(title=title) + "".join(map(_row, options))
        for title, options in OPTION_GROUPS.items()
    )


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
        + (f"<br>Default: {_default(option)}" if option.shown_default else ""),
    ]
    return "| " + " | ".join(cells) + " |\n"


def _default(option: Option) -> str:
    return _code(option.default) if option.default else option.default_note


def _code(text: str) -> str:
    """Format a name as code; an unescaped bar would end the table cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


if __name__ == "__main__":
    FILE.write_text(render())
