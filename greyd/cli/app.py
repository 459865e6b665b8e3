"""Parses command lines with typer, and runs the commands."""

from __future__ import annotations

import inspect
import os
import re
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from greyd import __version__
from greyd.cli.command_run import INTERRUPTED, WITHOUT_SETTINGS, run_command
from greyd.cli.context import EXIT_ERROR, SHARED_OPTIONS
from greyd.cli.help.table import read_table
from greyd.cli.tables.watch_value import with_watch_value
from greyd.config.option import Arity
from greyd.config.options import OPTION_GROUPS, OPTIONS
from greyd.redaction import excerpt
from greyd.terminal import print_error, redact_logins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from greyd.config.option import Option

EXAMPLES = """
Answer greylisting requests of Postfix and Exim.

Examples:

  greyd serve

  greyd serve --inet=127.0.0.1:10023 --delay=60

  greyd serve --store=redis://127.0.0.1/0 --metrics=0.0.0.0:9923

Every option is also an environment variable (GREYD_DELAY) and a key of the TOML file (delay).
"""

COMMAND_GROUPS: Mapping[str, Mapping[str, str]] = {
    "See": {
        "status": "greyd.cli.status.command:status",
        "stats": "greyd.cli.stats.command:stats",
        "top": "greyd.cli.top.command:top",
        "tail": "greyd.cli.tail.command:tail",
        "list": "greyd.cli.entries.list:list_entries",
        "show": "greyd.cli.entries.show:show",
        "report": "greyd.cli.report.command:report",
    },
    "Explain": {
        "explain": "greyd.cli.explain.command:explain",
        "doctor": "greyd.cli.doctor.command:doctor",
        "check-whitelist": "greyd.cli.check_whitelist.command:check_whitelist",
    },
    "Fix": {
        "release": "greyd.cli.entries.releasing.command:release",
        "expect": "greyd.cli.expect:expect",
        "forget": "greyd.cli.entries.forgetting.command:forget",
        "mode": "greyd.cli.mode.command:mode",
        "whitelist": "greyd.cli.whitelist.command:whitelist",
    },
    "Try out": {
        "ask": "greyd.cli.ask.command:ask",
        "replay": "greyd.cli.replay.command:replay",
        "tune": "greyd.cli.tune.command:tune",
    },
    "Set up": {
        "switch-from": "greyd.cli.switching.command:switch_from",
        "config": "greyd.cli.config.command:config",
        "import": "greyd.cli.importing.command:import_",
        "postfix-config": "greyd.cli.postfix_config:postfix_config",
    },
}
"""The administrator's commands by purpose, in the order of ``--help``; each as
``module:function``. ``serve`` is the first command to set up.
"""

COMMANDS: Mapping[str, str] = {
    name: target for commands in COMMAND_GROUPS.values() for name, target in commands.items()
}
_GROUP_OF_SERVE = "Set up"
_GROUPS = {name: group for group, commands in COMMAND_GROUPS.items() for name in commands}

_SHARED = [option for option in OPTIONS if option.name in SHARED_OPTIONS]


def build(commands: Iterable[str] = ("serve", *COMMANDS)) -> Callable[..., Any]:
    """Return the command line application with these commands; only they are imported."""
    app = typer.Typer(
        name="greyd",
        help="Greylisting for Postfix and Exim.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    context = {"help_option_names": ["-h", "--help"]}
    app.callback(context_settings=context)(_root)
    for name in commands:
        if name == "serve":
            app.command(
                name, help=EXAMPLES, context_settings=context, rich_help_panel=_GROUP_OF_SERVE
            )(_serve_command())
            continue
        function = _load(name)
        text = inspect.cleandoc(function.__doc__ or "")
        app.command(name, help=text, context_settings=context, rich_help_panel=_GROUPS[name])(
            _admin_command(function)
        )
    return typer.main.get_command(app)


def _load(name: str) -> Callable[..., Any]:
    module, _, function = COMMANDS[name].partition(":")
    command: Callable[..., Any] = getattr(import_module(module), function)
    return command


# Some versions of typer bundle click, others import it.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_OF_PYTHON = re.compile(r"\b(?:value ?error|type ?error|assertion failed)[,:]? ?", re.IGNORECASE)
"""The names of Python's exceptions, which some versions of typer prepend to a message."""

_MAX_ERROR = 300
"""The maximum length of an error message, in characters."""


def run(words: Sequence[str]) -> int:
    """Run a command; return the exit status. A usage error is printed as one line."""
    if not words or words[0].partition("=")[0] in _options_of_status():
        words = ["status", *words]
    redact_logins(words)
    # Otherwise pydantic, which typer uses, searches all installed packages for plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    if not words[0].startswith("-") and words[0] not in ("serve", *COMMANDS):
        from greyd.cli.unknown_command import describe_unknown_command

        print_error(f"{describe_unknown_command(words[0])}; see greyd --help")
        return EXIT_ERROR
    try:
        # Import only the modules of this command: a few of several hundred.
        app = build(words[:1]) if words[0] in COMMANDS else build()
        return int(app(with_watch_value(words), prog_name="greyd", standalone_mode=False) or 0)
    except _UsageError as error:
        print_error(_usage(error))
        return EXIT_ERROR
    except (KeyboardInterrupt, typer.Abort):
        print_error("interrupted")
        return INTERRUPTED


def _options_of_status() -> Iterator[str]:
    """Yield the options with which ``greyd`` is ``greyd status``: without a command."""
    for option in read_table()["commands"]["status"]["options"]:
        yield from option["names"]


def _usage(error: Any) -> str:
    """Return a usage error as one line that names the command and its help; hide passwords."""
    path = error.ctx.command_path if error.ctx else "greyd"
    where = path.removeprefix("greyd ").removeprefix("greyd")
    text = _OF_PYTHON.sub("", " ".join(error.format_message().split())).rstrip(".")
    return f"{where}{': ' if where else ''}{excerpt(text, _MAX_ERROR)}; see {path} --help"


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"greyd {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda value: _show_version(wanted=value),
            is_eager=True,
            help="Show the version.",
        ),
    ] = False,
) -> None:
    """Greylisting for Postfix and Exim: postgrey's decisions, on SQLite or Redis."""


def _serve_command() -> Callable[..., None]:
    """Return a function that has a parameter for each option, for typer's help."""

    def serve(**_: object) -> None:
        # Unreachable except for help: greyd.cli.main runs the server without typer.
        raise typer.Abort

    parameters = [
        _parameter(option, group) for group, options in OPTION_GROUPS.items() for option in options
    ]
    return _with_parameters(serve, parameters)


def _with_parameters(
    function: Callable[..., None], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function


def _parameter(option: Option, group: str) -> inspect.Parameter:
    names = [f"--{option.name}"]
    names += [f"-{name}" if len(name) == 1 else f"--{name}" for name in option.spellings]
    flag = option.kind is Arity.FLAG
    declared = typer.Option(
        *names,
        help=option.help,
        metavar=None if flag else option.metavar,
        show_default=False if flag else option.shown_default or False,
        rich_help_panel=group,
    )
    return inspect.Parameter(
        option.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if flag else None,
        annotation=Annotated[bool if flag else str | None, declared],
    )


# The administrator's commands ---------------------------------------------------------------------

SHARED_GROUP = "Which server"
"""The title in the help above the options of all commands, which select the server."""

_JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")],
)


def _admin_command(function: Callable[..., Any]) -> Callable[..., None]:
    """Return the function that typer calls: it accepts the command's and the shared options."""

    def run(as_json: bool, **values: Any) -> None:
        given = {option.name: values.pop(option.field) for option in selecting}
        status = run_command(
            function, given, values, as_json=as_json,
            passed_on=(typer.Exit, typer.Abort, _UsageError),
        )  # fmt: skip
        raise typer.Exit(status)

    selecting = () if function.__name__ in WITHOUT_SETTINGS else _SHARED
    shared = [_parameter(option, SHARED_GROUP) for option in selecting]
    return _with_parameters(run, [*_own_parameters(function), *shared, _JSON])


def _own_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    _, *own = inspect.signature(function).parameters.values()
    texts = SimpleNamespace(__annotations__={each.name: each.annotation for each in own})
    types = get_type_hints(texts, vars(inspect.getmodule(function)), include_extras=True)
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[each.name])
        for each in own
    ]
