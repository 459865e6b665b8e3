"""``greyd config``: shows the settings in force, and where each value comes from."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.config.example import example_file
from greyd.cli.config.in_force import (
    Configuration,
    OptionInForce,
    as_json,
    configuration_of_server,
    configuration_without_server,
    folder_of,
    sources_of_server,
)
from greyd.cli.config.value_text import UNSET, value_texts
from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.server.choice import choose_server
from greyd.cli.tables.column import Kind, Meaning, TableColumn
from greyd.config.loading import merge_sources
from greyd.config.options import BY_FIELD, BY_NAME
from greyd.config.secrets import read_secrets
from greyd.config.server_settings import read_server_sources
from greyd.config.setting_origins import SourceKind
from greyd.config.settings import preset_fields
from greyd.plurals import counted, noun
from greyd.rules.site_rules.settings_check import check_settings
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.config.running.run_record import RunRecord
    from greyd.config.settings import Settings


def config(
    context: CommandContext,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OPTION…",
            show_default=False,
            help="Show only these options, e.g. delay.",
            autocompletion=lambda: list(BY_NAME),
        ),
    ] = None,
    all_options: Annotated[
        bool, typer.Option("--all", help="Also show the options that have their default values.")
    ] = False,
    example: Annotated[
        bool,
        typer.Option("--example", help="Print a greyd.toml with each option and its default."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only check whether a server could start with them."),
    ] = False,
) -> int:
    """Show the settings in force, and where each value comes from.

    For a running server, the command shows the values that the server uses. If its files have
    changed since its start, it also shows what a restart would change; SIGHUP reloads only the
    whitelists. Without a server, it shows the settings that a server started now would have.
    Passwords and keys are left out.

    --example prints a complete greyd.toml, in which each option is described and commented out.
    --check with --config checks a file before a restart. The exit status is 1 if a restart is
    needed, and 2 if a setting is invalid.

    Examples:

      greyd config

      greyd config delay store

      greyd config --example > greyd.toml

      greyd config --check --config greyd.toml
    """
    if example:
        sys.stdout.write(example_file())
        return 0
    if check:
        return _check(context)
    wanted = _known(names or [])
    found = _configuration(context)
    if wanted:
        shown = [each for each in found.options if each.option.name in wanted]
    elif all_options:
        shown = list(found.options)
    else:
        shown = [each for each in found.options if _is_changed(each)]
    for warning in found.warnings:
        print_error(f"warning: {warning}")
    if found.fault:
        print_error(f"warning: {found.fault}")
    _print(context, shown)
    context.print(*(_preset_lines() if "preset" in wanted else ()))
    hidden = 0 if wanted else len(found.options) - len(shown)
    if hidden:
        context.print(
            f"{counted(hidden, 'option has its default', 'options have their defaults')};"
            f" --all shows {noun(hidden, 'it', 'them')}"
        )
    differing = [each for each in found.options if each.next_values is not None]
    for each in differing:
        context.print(_difference(each))
    if differing:
        context.print("restart the server to apply this, e.g. systemctl restart greyd")
    context.print_json(
        {
            "server": context.server.pid if context.server else None,
            "options": as_json(shown),
            "restart_needed": bool(differing),
            "warnings": [*found.warnings, *([found.fault] if found.fault else [])],
        }
    )
    return EXIT_NO if differing else 0


def _known(names: Sequence[str]) -> set[str]:
    """Return the names of options, also written as keys of TOML or with dashes in front.

    Raises:
        CommandError: there is no such option.
    """
    wanted = set()
    for name in names:
        found = name.lstrip("-").replace("_", "-")
        if found not in BY_NAME:
            raise CommandError(f"{name}: no such option; greyd config --all shows all")
        wanted.add(found)
    return wanted


def _configuration(context: CommandContext) -> Configuration:
    """Return the options of the chosen server, or those that a server would have.

    Raises:
        CommandError: several servers run, and the options select none of them.
    """
    if context.server is not None:
        return configuration_of_server(context.server)
    # --example and --check need no server; here, several servers are a choice.
    choose_server(context.options)
    return configuration_without_server(_arguments(context))


def _arguments(context: CommandContext) -> list[str]:
    return [f"--{name}={text}" for name, text in context.options.items() if text is not None]


def _is_changed(each: OptionInForce) -> bool:
    return each.kind is not SourceKind.DEFAULT or each.next_values is not None


def _print(context: CommandContext, shown: Sequence[OptionInForce]) -> None:
    columns: list[TableColumn[OptionInForce]] = [
        TableColumn("option", Kind.VERDICT, lambda each: each.option.name, label=""),
        TableColumn("value", Kind.TEXT, _value, meaning=_meaning),
        TableColumn("from", Kind.PATH, _source, label="from"),
    ]
    if shown:
        context.print_rows(columns, shown)
    else:
        context.print("every option has its default")


def _preset_lines() -> Iterator[str]:
    """Yield the options that each preset sets, with their values."""
    for preset in BY_NAME["preset"].choices:
        yield f"preset={preset} sets, unless they are set explicitly:"
        for field, value in preset_fields(preset).items():
            yield f"  {BY_FIELD[field].name} = {_joined(value_texts(value))}"
        yield "to try it out on your mail log:"
        yield f"  greyd replay --with preset={preset} --dns"


def _source(each: OptionInForce) -> str:
    """Return where a value comes from, without the option's name, which stands beside it."""
    if each.kind is SourceKind.COMMAND_LINE:
        return each.place.partition(" (")[0]
    if each.kind is SourceKind.ENVIRONMENT:
        return each.place.partition(" in ")[2] or "environment"
    return each.place


def _value(each: OptionInForce) -> str:
    return _joined(each.values)


def _joined(values: Sequence[str]) -> str:
    return ", ".join(values) or UNSET


def _meaning(each: OptionInForce) -> Meaning:
    if each.next_values is not None:
        return Meaning.WAITING
    return Meaning.SECONDARY if each.kind is SourceKind.DEFAULT else Meaning.PLAIN


def _difference(each: OptionInForce) -> str:
    after = _joined(each.next_values or ())
    return (
        f"{each.option.name}: {_joined(each.values)} in the running server, {after} after a restart"
        f" ({each.next_place})"
    )


# Checking -----------------------------------------------------------------------------------------


def _check(context: CommandContext) -> int:
    """Load the settings as a server does at its start; print the warnings.

    Raises:
        SettingsError: a setting is invalid.
        SecretError: a file with a secret can't be used.
    """
    file = context.options.get("config")
    settings = _settings_at_a_start(context.server if file is None else None, context)
    for warning in settings.warnings:
        context.print(f"warning: {warning}")
    count = len(settings.warnings)
    verdict = "no errors" if not count else f"no errors, {count} warning{'s' if count > 1 else ''}"
    context.print(f"{file or 'settings'}: {verdict}")
    context.print_json({"valid": True, "warnings": list(settings.warnings)})
    return 0


def _settings_at_a_start(server: RunRecord | None, context: CommandContext) -> Settings:
    """Return the settings that a server would have if it were started now."""
    with folder_of(server) if server else contextlib.nullcontext():
        read = None
        if server is not None:
            try:
                read = sources_of_server(server)
            except OSError:
                print_error("can't read the server's command line; checking the files alone")
        settings = merge_sources(read or read_server_sources(_arguments(context)))
        settings = read_secrets(settings)
        check_settings(settings)
        return settings
