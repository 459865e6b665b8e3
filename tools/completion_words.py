"""The words that complete the values of options and arguments, where typer knows none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.cli.entries.table import entry_columns
from greyd.cli.report.text import SORT_COLUMNS as OF_REPORT
from greyd.cli.stats.display import SORT_COLUMNS as OF_STATS
from greyd.config.option import Arity
from greyd.config.options import BY_FIELD, BY_NAME
from greyd.config.settings import Settings
from greyd.config.vocabulary import DECIDING_SETTINGS
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

_DURATIONS = ["30s", "5m", "30m", "1h", "2h", "1d", "7d"]
_TIMES = ["today", "yesterday", "1h", "1d", "7d"]
_COLUMNS = [each.sort_name for each in entry_columns(Settings()) if each.sort_name]


def _both_orders(columns: Sequence[str]) -> list[str]:
    return [*columns, *(f"-{each}" for each in columns)]


_OF_OPTION: dict[str, Sequence[str]] = {
    "--for": _DURATIONS,
    "--from-delay": _DURATIONS,
    "--from-timezone": ["UTC", "Europe/Berlin", "Europe/London", "America/New_York", "Asia/Tokyo"],
    "--policy-context": ["outbound"],
    "--protocol-name": ["ESMTP", "SMTP"],
    "--reason": sorted({each.outcome[1] for each in Reason}),
    "--since": _TIMES,
    "--until": _TIMES,
    "--watch": ["2s", "5s", "1m"],
}
"""By the name of the option."""

_OF_COMMAND: dict[tuple[str, str], Sequence[str]] = {
    ("check-whitelist", "--sort"): ["file", "hits"],
    ("list", "--since"): _DURATIONS,
    ("list", "--sort"): _both_orders(_COLUMNS),
    ("report", "--sort"): _both_orders(OF_REPORT),
    ("show", "--sort"): _both_orders(_COLUMNS),
    ("stats", "--sort"): _both_orders(OF_STATS),
    ("switch-from", "server"): ["postgrey"],
    ("tune", "--auto-whitelist"): ["0", "0,1,5", "0,1,2,5,10"],
    ("tune", "--delay"): ["60,120,300,600,900", "60,300", "30,60,90,120"],
    ("tune", "--retry-window"): ["12h,2d", "4h,12h,1d,2d"],
    ("tune", "--subnet"): ["24,32", "16,24,32", "24"],
    ("whitelist", "--reason"): [],
}
"""By command and option or argument, where an option's name has several meanings."""


def words_for(command: str, parameter: Any) -> list[str]:
    """Return the words that may complete a parameter's value, in the order to show them."""
    for name in (*parameter.opts, parameter.name):
        if (words := _OF_COMMAND.get((command, name))) is not None:
            return list(words)
    option = BY_FIELD.get(parameter.name)
    if option is not None and f"--{option.name}" in parameter.opts and option.choices:
        return list(option.choices)
    metavar = parameter.metavar or ""
    if metavar == "NAME=VALUE":
        return changed_settings()
    if metavar == "DURATION":
        return list(_DURATIONS)
    return [word for name in parameter.opts for word in _OF_OPTION.get(name, ())]


def changed_settings() -> list[str]:
    """Return ``NAME=VALUE`` for each setting that affects decisions, or only ``NAME=``."""
    words = []
    for name in DECIDING_SETTINGS:
        option = BY_NAME[name]
        values: Sequence[str] = option.choices
        if option.kind is Arity.FLAG:
            values = ("yes", "no")
        elif option.metavar == "DURATION":
            values = ("1m", "5m", "10m") if name == "delay" else ("1d", "2d", "35d")
        words += [f"{name}={value}" for value in values or ("",)]
    return words
