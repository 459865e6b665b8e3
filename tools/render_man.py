"""Render the manual pages from the commands' help: ``python -m tools.render_man``.

The output is one mdoc(7) page for ``greyd`` and one for each command. Sections that the help does
not have (files, signals, …) are written in this module.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greyd import __version__
from greyd.cli.app import build
from greyd.config.option import Arity
from greyd.config.options import BY_FIELD
from greyd.server import os_signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER = Path(__file__).parent.parent / "packaging" / "man"

# The date of the last change to the text, not of the build: the same code gives the same pages.
_DATE = "November 27, 2026"

_FAILED = "The command failed. One line on standard error says why, and what to do."

_SECTIONS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "greyd": {
        "FILES": {
            "/etc/greyd/greyd.toml": "Settings.",
            "/etc/default/greyd": "Environment of greyd.service.",
            "/run/greyd/greyd.run": "The record of a running server, by which the commands find it;"
            " without a runtime folder it is in the folder of the database. --run-dir names another"
            " folder, or the record itself.",
        },
        "EXIT STATUS": {
            "0": "Success.",
            "2": "An option or a setting is invalid, or a required resource is unavailable."
            " One line on standard error says what happened, where, and what to do.",
            "130": "The command was interrupted with Ctrl-C.",
        },
    },
    "serve": {
        "ENVIRONMENT": {
            "GREYD_OPTS": "Options as on a command line. The command line itself takes precedence"
            " over them.",
            "GREYD_…": "One variable for each option, as named above. The command line takes"
            " precedence over them, and they take precedence over the TOML file. White space"
            " separates several values of an option. An empty variable is not set.",
            "POSTGREY_OPTS": "Options for postgrey, as /etc/default/postgrey sets them. They have"
            " the lowest precedence. greyd ignores options that concern postgrey's own process"
            " (--daemonize, --dbdir, --group, --pidfile, --user).",
            "POSTGREY_TEXT": "The value of --greylist-text for postgrey, with the same precedence.",
            "POSTGREY_…": "The other options of postgrey, with the same precedence, as a value"
            " (POSTGREY_DELAY=60, as Gentoo and docker-mailserver have it) or as an option"
            " (POSTGREY_DELAY=--delay=60, as EPEL has it). Gentoo's POSTGREY_TYPE, _HOST, _PORT and"
            " _SOCKET set --inet or --unix. FreeBSD's postgrey_flags holds options. greyd warns of"
            " variables that it does not understand.",
            "LISTEN_FDS": "The number of sockets that systemd passes, see sd_listen_fds(3). They"
            " replace --inet and --unix.",
            "NOTIFY_SOCKET": "The socket on which greyd notifies systemd of start, reload and"
            " stop, see sd_notify(3).",
            "XDG_STATE_HOME": "The folder that holds greyd's default --dbdir unless greyd runs as"
            " root.",
        },
        "FILES": {
            "/etc/greyd/greyd.toml": "Settings; see --config.",
            "/etc/default/greyd": "Environment of greyd.service: the GREYD_ variables. Also"
            " /etc/sysconfig/greyd and /etc/conf.d/greyd.",
            "/etc/default/postgrey": "Environment of greyd.service, with lower precedence. Also"
            " /etc/sysconfig/postgrey and /etc/conf.d/postgrey.",
            "/etc/greyd/whitelist_clients": "Clients that are never greylisted. greyd also"
            " reads whitelist_clients.local in the same folder. If this file does not exist, greyd"
            " reads the first that exists of /etc/postgrey/whitelist_clients,"
            " /etc/postfix/postgrey_whitelist_clients and the list that comes with greyd.",
            "/etc/greyd/whitelist_recipients": "Recipients whose mail is never greylisted. greyd"
            " looks for it in the same way.",
            "/var/lib/greyd/greyd.db": "The SQLite database of greyd.service.",
        },
        "EXIT STATUS": {
            "0": "greyd received a signal to stop and answered all pending requests.",
            "1": "A task or a worker process could not be started again after an internal error.",
            "2": "A setting is invalid, or a port, folder or user that greyd requires is"
            " unavailable. One line on standard error says what happened, where, and what to do.",
        },
        "SIGNALS": {
            os_signals.RELOAD_SIGNAL.name: "Reload the whitelists. Changed settings take effect at"
            " the next start.",
            " , ".join(each.name for each in os_signals.STOP_SIGNALS): "Stop accepting connections,"
            " answer pending requests, and exit.",
        },
    },
    "list": {
        "EXIT STATUS": {
            "0": "At least one entry matches.",
            "1": "No entry matches.",
            "2": _FAILED,
        },
    },
    "show": {
        "EXIT STATUS": {
            "0": "The store holds at least one matching entry.",
            "1": "The store holds no matching entry.",
            "2": _FAILED,
        },
    },
    "status": {
        "EXIT STATUS": {
            "0": "All servers are healthy; warnings do not count.",
            "1": "A server has an error, or does not answer.",
            "2": _FAILED,
            "3": "No server runs on this machine.",
            "4": "A server runs, but its state can't be fetched.",
        },
    },
    "tail": {
        "EXIT STATUS": {
            "0": "The command was interrupted with Ctrl-C, or standard input has ended.",
            "1": "Standard input had no matching decision.",
            "2": _FAILED,
        },
    },
    "switch-from": {
        "EXIT STATUS": {
            "0": "greyd runs in place of postgrey, or with --undo postgrey runs again.",
            "1": "greyd has replaced postgrey before, and is not running.",
            "2": "The switch is not possible, or it failed and was rolled back. The messages on"
            " standard error say why, and what could not be rolled back.",
        },
    },
    "stats": {
        "EXIT STATUS": {
            "0": "The servers and the store are healthy.",
            "1": "A server or the store is unhealthy or does not answer.",
            "2": _FAILED,
        },
    },
    "release": {
        "EXIT STATUS": {
            "0": "At least one matching triplet exists.",
            "1": "No matching mail waits.",
            "2": _FAILED,
        },
    },
    "forget": {
        "EXIT STATUS": {
            "0": "At least one entry was removed.",
            "1": "No entry matches.",
            "2": _FAILED,
        },
    },
    "check-whitelist": {
        "EXIT STATUS": {
            "0": "No findings.",
            "1": "At least one error or note.",
            "2": "A file is unreadable, or an option is invalid. One line on standard error says"
            " which.",
        },
    },
    "config": {
        "EXIT STATUS": {
            "0": "The settings in force are those of the files; with --check, they are valid.",
            "1": "A restart would change the settings in force.",
            "2": "A setting or an option is invalid. One line on standard error says which.",
        },
    },
    "whitelist": {
        "FILES": {
            "/etc/greyd/whitelist_clients.local, whitelist_recipients.local": "The lists that add"
            " and remove change, beside the main lists that the server reads. FILE~ has the"
            " content before the last change.",
        },
        "EXIT STATUS": {
            "0": "Success.",
            "1": "Nothing to change: the entry is listed, covered, or missing.",
            "2": "An entry was refused, a file can't be changed, or a server does not use the"
            " change. One line says why.",
        },
    },
    "report": {
        "FILES": {
            "/var/log/mail.log": "The default log on Debian. On other systems it is the first of"
            " their usual files that exists, or the journal. With --since, the command also reads"
            " the rotated logs in the same folder.",
        },
        "EXIT STATUS": {
            "0": "The report is complete.",
            "1": "The logs hold no decision in the selected time.",
            "2": "A log is unreadable, or an option is invalid. One line on standard error"
            " says which.",
        },
    },
    "import": {
        "EXIT STATUS": {
            "0": "All entries were imported, or had expired.",
            "1": "Some entries are unreadable, or useless with this server's settings.",
            "2": _FAILED,
        },
    },
    "doctor": {
        "EXIT STATUS": {
            "0": "No warning and no error; hints and skipped checks do not count.",
            "1": "At least one warning or error.",
            "2": "The server's settings are unreadable, or the store belongs to another program.",
        },
    },
}

_SEE_ALSO = {"serve": ["postconf 5", "postgrey 8", "systemd.service 5"]}


def render() -> dict[str, str]:
    """Return the text of each page by its file name."""
    root = build()
    commands: Mapping[str, Any] = root.commands  # type: ignore[attr-defined]
    shown = {name: command for name, command in commands.items() if not command.hidden}
    pages = {"greyd.8": _root_page(root, shown)}
    for name, command in shown.items():
        pages[f"greyd-{name}.8"] = _command_page(name, command)
    return pages


def stale_files() -> set[Path]:
    """Return the pages in the folder that no command has any more."""
    return set(FOLDER.glob("*.8")) - {FOLDER / name for name in render()}


# Pages ------------------------------------------------------------------------------------------


def _root_page(root: Any, commands: Mapping[str, Any]) -> str:
    purposes = {name: _purpose(command) for name, command in commands.items()}
    return "".join(
        [
            _head("greyd", root.help),
            ".Sh SYNOPSIS\n.Nm\n.Op Fl -help | Fl -version\n.Nm\n.Ar command\n.Op Ar options\n",
            ".Sh DESCRIPTION\n",
            _text(root.help),
            "The commands are\n.Bl -tag -width Ds\n",
            *(f".It Cm {name}\n{_text(purpose)}" for name, purpose in purposes.items()),
            ".El\n.Pp\nEach has a manual page of its own, and\n.Fl -help\nlists its options.\n",
            _options(root),
            _sections("greyd"),
            _see_also("greyd", [f"greyd-{name} 8" for name in commands]),
        ]
    )


def _command_page(name: str, command: Any) -> str:
    description, examples = _split_help(command.help)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    return "".join(
        [
            _head(f"greyd-{name}", _purpose(command)),
            f'.Sh SYNOPSIS\n.Nm "greyd {name}"\n.Op Ar options\n',
            *(f".Op Ar {each.metavar or each.name.upper()}\n" for each in arguments),
            ".Sh DESCRIPTION\n",
            "\n.Pp\n".join(_text(each).rstrip("\n") for each in description) + "\n",
            _options(command),
            _sections(name if name in _SECTIONS else "greyd"),
            _examples(examples),
            _see_also(name, ["greyd 8"]),
        ]
    )


def _purpose(command: Any) -> str:
    return str(command.help).strip().split("\n\n")[0]


def _split_help(text: str) -> tuple[list[str], list[str]]:
    """Return the paragraphs and the examples, which are the indented lines below ``Examples:``."""
    description = []
    examples = []
    for paragraph in text.strip("\n").split("\n\n"):
        if paragraph.startswith("  "):
            examples.append(paragraph.strip())
        elif paragraph.strip() != "Examples:":
            description.append(paragraph)
    return description, examples


def _head(name: str, purpose: str) -> str:
    """Return the head of a page. mdoc wants the purpose without capital letter and full stop."""
    half = purpose.strip().splitlines()[0].removesuffix(".")
    half = half[0].lower() + half[1:]
    title = f".Dd {_DATE}\n.Dt {name.upper()} 8\n.Os greyd {__version__}\n"
    return f"{title}.Sh NAME\n.Nm {name}\n.Nd {_escaped(half)}\n"


def _options(command: Any) -> str:
    options = [each for each in command.params if each.param_type_name == "option"]
    names = command.context_settings.get("help_option_names", ["--help"])
    show_help = f".It {' , '.join(f'Fl {name[1:]}' for name in names)}\nShow this help.\n"
    groups: dict[str, list[str]] = {}
    for each in options:
        groups.setdefault(each.rich_help_panel or "", []).append(_option(each))
    groups.setdefault("", []).append(show_help)
    page = ".Sh OPTIONS\n"
    for title, items in sorted(groups.items(), key=lambda group: group[0] != ""):
        page += f".Ss {title}\n" if title else ""
        page += f".Bl -tag -width Ds\n{''.join(items)}.El\n"
    return page


def _option(parameter: Any) -> str:
    option = BY_FIELD.get(parameter.name)
    value = ""
    if not parameter.is_flag:
        value = f"Ar {parameter.metavar or parameter.name.upper()}"
    if value and option and option.kind is Arity.OPTIONAL:
        value = f"Oo = Ns {value} Oc"
    elif value:
        value = f"= Ns {value}"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len)
    flags = [
        f"Fl {name[1:]}" + (f" Ns {value}" if value and name.startswith("--") else "")
        for name in names
    ]
    facts = [_text(parameter.help or "")]
    if option and option.kind is Arity.MANY:
        facts.append("May be repeated.\n")
    shown = parameter.show_default
    default = shown if isinstance(shown, str) else parameter.default
    if default not in (None, False, "", True):
        facts.append(_text(f"Default: {default}."))
    variable = option.variable if option else parameter.envvar
    if variable:
        facts.append(f"Environment:\n.Ev {variable} .\n")
    if option and option.name != "config":
        facts.append(f"TOML:\n.Li {option.key} .\n")
    return f".It {' , '.join(flags)}\n" + "".join(facts)


def _sections(name: str) -> str:
    macros = {"ENVIRONMENT": "Ev", "FILES": "Pa", "SIGNALS": "Dv"}
    page = ""
    for title, items in _SECTIONS[name].items():
        page += f".Sh {title}\n.Bl -tag -width Ds\n"
        macro = macros.get(title, "Li")
        for item, text in items.items():
            page += f".It {macro} {item}\n{_text(text)}"
        page += ".El\n"
    return page


def _examples(examples: Iterable[str]) -> str:
    lines = [f".Dl {_with_hyphens(_escaped(line))}\n" for line in examples]
    return ".Sh EXAMPLES\n" + "".join(lines) if lines else ""


def _see_also(name: str, others: list[str]) -> str:
    # mdoc(7) wants references sorted by section, then by name.
    pages = sorted([*others, *_SEE_ALSO.get(name, [])], key=lambda each: each.split()[::-1])
    return ".Sh SEE ALSO\n" + " ,\n".join(f".Xr {page}" for page in pages) + "\n"


# Text -------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """Return running text as mdoc source: one sentence a line, hyphens of options escaped."""
    if not text.strip():
        return ""
    sentences = re.split(r"(?<=[a-z)]\.) (?=[A-Z])", " ".join(_escaped(text).split()))
    return "".join(
        textwrap.fill(_with_hyphens(each), 78, break_long_words=False, break_on_hyphens=False)
        + "\n"
        for each in sentences
    )


def _with_hyphens(text: str) -> str:
    text = re.sub(r"(?<!\S)/(?=\w)", r"\\%/", text)  # do not break a path across lines
    return re.sub(r"(?<![\w-])--?(?=\w)", lambda dashes: r"\-" * len(dashes[0]), text)


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e")
    return r"\&" + text if text[:1] in (".", "'") else text


def write() -> None:
    """Write all pages and remove those that no command has any more."""
    for path in stale_files():
        path.unlink()
    FOLDER.mkdir(exist_ok=True)
    for name, page in render().items():
        (FOLDER / name).write_text(page)


if __name__ == "__main__":
    write()
    sys.stdout.write("".join(f"{path}\n" for path in sorted(FOLDER.glob("*.8"))))
