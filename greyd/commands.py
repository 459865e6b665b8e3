"""The commands as typer shows and completes them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greyd import __version__
from greyd.settings import OPTIONS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.settings import Option

EXAMPLES = """
Answer greylisting requests of Postfix and Exim.

Examples:

  greyd serve

  greyd serve --inet=127.0.0.1:10023 --delay=60

  greyd serve --store=redis://127.0.0.1/0 --metrics=0.0.0.0:9923

Every option is also an environment variable (GREYD_DELAY) and a key of the TOML file (delay).
"""


def build() -> Callable[..., Any]:
    """Return the command line application."""
    app = typer.Typer(
        name="greyd",
        help="Greylisting for Postfix and Exim.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    app.command("serve", help=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})(
        _serve_command()
    )
    return typer.main.get_command(app)


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
    """Return a function with a parameter for each option, for typer to read its help from."""

    def serve(**_: object) -> None:
        # greyd.cli.main has run the server before typer was asked.
        raise typer.Abort

    signature = inspect.Signature([_parameter(option) for option in OPTIONS])
    serve.__signature__ = signature  # type: ignore[attr-defined]
    serve.__annotations__ = {
        parameter.name: parameter.annotation for parameter in signature.parameters.values()
    }
    return serve


def _parameter(option: Option) -> inspect.Parameter:
    names = [f"--{option.name}"]
    names += [f"-{name}" if len(name) == 1 else f"--{name}" for name in option.spellings]
    flag = option.kind is Kind.FLAG
    shown = typer.Option(
        *names,
        help=option.help,
        metavar=None if flag else option.metavar,
        show_default=False if flag else option.default or False,
    )
    return inspect.Parameter(
        option.field,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if flag else None,
        annotation=Annotated[bool if flag else str | None, shown],
    )
