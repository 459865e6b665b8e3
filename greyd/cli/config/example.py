"""Renders a complete ``greyd.toml``: each option with its help and its default, commented out."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from greyd.config.option import Arity
from greyd.config.options import OPTION_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greyd.config.option import Option

WIDTH = 78

_HEAD = """\
# /etc/greyd/greyd.toml – settings of greyd; each option of greyd-serve(8) is a
# key here. The command line and the environment (/etc/default/greyd) take
# precedence over this file. If it contains a password: chown root:greyd,
# chmod 0640.
#
# A line "#key = value" shows the default, which applies while the line is
# commented out. A line "# key = value" (with a space) is an example for an
# option that is not set by default: the examples are not the defaults. To set
# an option, remove the "#" and change the value. Then check the file:
#   greyd config --check --config=/etc/greyd/greyd.toml
# and restart greyd. greyd config shows what is in force.
#
# A time is a duration ("300ms", "90s", "5m", "6h", "2d", "1h30m"), or a number
# in postgrey's unit, which the text names.
"""

EXAMPLES: Mapping[str, str] = {
    "unix": '["/run/greyd/socket"]',
    "preset": '"recommended"',
    "own-domains": '["example.org"]',
    "dnsbl": '["zen.spamhaus.org=1h"]',
    "rhsbl": '["dbl.spamhaus.org=1h"]',
    "dnswl": '["list.dnswl.org=none,support"]',
    "list-override": '["/etc/postfix/rbl_override"]',
    "sender-logins": '["/etc/postfix/sender_logins"]',
    "whitelist-clients": ('["/etc/greyd/whitelist_clients", "/etc/greyd/whitelist_clients.local"]'),
    "whitelist-recipients": '["/etc/greyd/recipients", "/etc/greyd/recipients.local"]',
    "whitelist-senders": '["/etc/greyd/whitelist_senders"]',
    "never-auto-whitelist": '["/etc/greyd/never_auto_whitelist"]',
    "sender-group": '[{ name = "partner", networks = ["192.0.2.0/28"] }]',
    "recipient-domain": '{ "example.org" = { delay = "1m" } }',
    "shadow": '["preset=recommended"]',
    "hostname": '"mx1.example.org"',
    "store": '"redis://127.0.0.1/0"',
    "store-password-file": '"/etc/greyd/redis-password"',
    "sentinel-user": '"greyd"',
    "sentinel-password-file": '"/etc/greyd/sentinel-password"',
    "dbdir": '"/srv/greyd"',
    "privacy-key": '"/etc/greyd/privacy.key"',
    "resolver": '["127.0.0.1"]',
    "pidfile": '"/run/greyd/greyd.pid"',
    "run-dir": '"/run/greyd"',
    "user": '"greyd"',
    "group": '"greyd"',
    "metrics-host": '["mx1.example.org"]',
}
"""The TOML values of examples, for the options without a fixed default."""

_TRUE_BY_DEFAULT = ("lookup-by-subnet",)
_NOT_IN_A_FILE = ("config",)


def example_file() -> str:
    """Return the text of the file."""
    parts = [_HEAD]
    for title, options in OPTION_GROUPS.items():
        parts.append(f"\n# {title} {'-' * (WIDTH - len(title) - 3)}\n")
        parts += [_block(each) for each in options if each.name not in _NOT_IN_A_FILE]
    return "".join(parts)


def _block(option: Option) -> str:
    mark = "#" if _has_default(option) else "# "
    lines = [*_help_lines(option), f"{mark}{option.key} = {_value(option)}"]
    return "\n" + "".join(f"{line}\n" for line in lines)


def _help_lines(option: Option) -> Iterator[str]:
    text = option.help
    if option.kind is Arity.MANY:
        text += " One value, or a list."
    if not _has_default(option):
        text += f" Default: {option.default_note or 'none'}. Example:"
    yield from textwrap.wrap(
        text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _has_default(option: Option) -> bool:
    return option.kind is Arity.FLAG or bool(option.default)


def _value(option: Option) -> str:
    """Return the TOML text of an option's default, else of its example."""
    if option.kind is Arity.FLAG:
        return "true" if option.name in _TRUE_BY_DEFAULT else "false"
    if not option.default:
        return EXAMPLES[option.name]
    if option.default.isdecimal() and not option.default.startswith("0"):
        return option.default
    if option.default == "0":
        return "0"
    quoted = '"' + option.default.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"[{quoted}]" if option.kind is Arity.MANY else quoted
