"""All options in groups: names, environment variables, TOML keys, help and parsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.options.greylisting import GREYLISTING
from greyd.config.options.listening import LISTENING
from greyd.config.options.lists import LISTS
from greyd.config.options.monitoring import MONITORING
from greyd.config.options.process import PROCESS
from greyd.config.options.senders import SENDERS
from greyd.config.options.store import STORE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.config.option import Option

OPTION_GROUPS: Mapping[str, tuple[Option, ...]] = {
    "Listening": LISTENING,
    "Greylisting": GREYLISTING,
    "Identifying the sender": SENDERS,
    "Lists": LISTS,
    "Store": STORE,
    "Process": PROCESS,
    "Log and metrics": MONITORING,
}
"""The options by the title of their group, in the order of the help and of the options page."""

OPTIONS = tuple(option for options in OPTION_GROUPS.values() for option in options)
BY_SPELLING = {
    spelling: option
    for option in OPTIONS
    for name in (option.name, *option.spellings)
    # Also accept -name and --n, as postgrey does.
    for spelling in (f"--{name}", f"-{name}")
}
BY_NAME = {option.name: option for option in OPTIONS}
BY_FIELD = {option.field: option for option in OPTIONS}
BY_KEY = {option.key: option for option in OPTIONS}
BY_VARIABLE = {option.variable: option for option in OPTIONS}

OWN_OPTIONS = "GREYD_OPTS"
"""The environment variable with options in the syntax of the command line."""

POSTGREY_OPTIONS = "POSTGREY_OPTS"
POSTGREY_TEXT = "POSTGREY_TEXT"
"""The variables that Debian's ``/etc/default/postgrey`` sets."""

OF_POSTGREYS_PROCESS = ("daemonize", "dbdir", "group", "pidfile", "user")
