"""Render the shell completions: ``python -m tools.render_completions``.

typer generates the scripts. They ask ``greyd`` itself for the matches, which it finds in a table of
all commands and options (``greyd.cli.help.completion``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer._completion_shared import get_completion_script

from greyd.cli.app import COMMAND_GROUPS, SHARED_GROUP, build
from greyd.cli.help.table import TABLE
from greyd.config.option import Arity
from greyd.config.options import BY_FIELD
from tools.completion_words import words_for

FOLDER = Path(__file__).parent.parent / "packaging" / "completions"

_FILES = {"bash": "bash/greyd", "zsh": "zsh/_greyd", "fish": "fish/greyd.fish"}

# zsh autoloads the file at the first TAB and expects that first load to complete as well.
_COMPLETE_ON_LOAD = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _greyd_completion "$@"
fi
"""

# A value follows NAME= without a space.
_NO_SPACE = """\
    [[ ${COMPREPLY-} == *= ]] && compopt -o nospace 2>/dev/null
"""


def render() -> dict[str, str]:
    """Return the text of each script by its file name."""
    return {name: _script(shell) for shell, name in _FILES.items()}


def _script(shell: str) -> str:
    script = get_completion_script(
        prog_name="greyd", complete_var="_GREYD_COMPLETE", shell=shell
    ).strip()
    if shell == "bash":
        script = script.replace("    return 0\n", f"{_NO_SPACE}    return 0\n")
    return script + "\n" + (_COMPLETE_ON_LOAD if shell == "zsh" else "")


def render_table() -> str:
    """Return the table of commands and options, for completion and help."""
    app: Any = build()
    shared: dict[str, Any] = {}
    commands = {}
    for name, command in sorted(app.commands.items(), key=_place):
        context = command.make_context("greyd", [], resilient_parsing=True)
        parameters = command.get_params(context)
        options = [_option(name, each, context) for each in _visible_options(parameters)]
        is_shared = {each["names"][0]: each["group"] == SHARED_GROUP for each in options}
        shared |= {each["names"][0]: each for each in options if is_shared[each["names"][0]]}
        commands[name] = {
            "help": _summary(command.help),
            "group": command.rich_help_panel,
            "text": _other_paragraphs(command.help),
            "options": [each for each in options if not is_shared[each["names"][0]]],
            "shared": [name for name in is_shared if is_shared[name]],
            "arguments": [
                _argument(name, each, context)
                for each in parameters
                if each.param_type_name == "argument"
            ],
        }
    context = app.make_context("greyd", [], resilient_parsing=True)
    options = [_option("", each, context) for each in _visible_options(app.get_params(context))]
    table = {"options": options, "shared": shared, "commands": commands}
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def _place(item: tuple[str, Any]) -> int:
    """Return the place of a command's group; within a group the order remains."""
    return list(COMMAND_GROUPS).index(item[1].rich_help_panel)


def _summary(text: str) -> str:
    """Return the first paragraph of a help text, as one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


def _other_paragraphs(text: str) -> list[str]:
    """Return the other paragraphs, each as one line; an example keeps its indentation."""
    paragraphs = text.strip().split("\n\n")[1:]
    return ["  " * each.startswith("  ") + " ".join(each.split()) for each in paragraphs]


def _visible_options(parameters: list[Any]) -> list[Any]:
    return [each for each in parameters if each.param_type_name == "option" and not each.hidden]


def _option(command: str, parameter: Any, context: Any) -> dict[str, Any]:
    return {
        # typer has those of --help in a set; their order changes at each start.
        "names": sorted([*parameter.opts, *parameter.secondary_opts], key=_is_short),
        "help": " ".join((parameter.help or "").split()),
        "group": getattr(parameter, "rich_help_panel", None) or "Options",
        "value": "" if parameter.is_flag else _value(parameter),
        "default": _default(parameter),
        "multiple": parameter.multiple,
        "several": _has_several(parameter),
        "choices": _choices(command, parameter, context),
    }


def _is_short(name: str) -> bool:
    return not name.startswith("--")


def _value(parameter: Any) -> str:
    """Return the name of an option's value as the help shows it: ``=N``; ``[=N]`` if optional."""
    name = parameter.metavar or parameter.name.upper()
    option = BY_FIELD.get(parameter.name)
    return f"[={name}]" if option and option.kind is Arity.OPTIONAL else f"={name}"


def _default(parameter: Any) -> str:
    """Return the default as one would type it; empty if the help needs to show none."""
    if isinstance(parameter.show_default, str):
        return str(parameter.show_default)
    if parameter.is_flag or not parameter.show_default or parameter.default in (None, ()):
        return ""
    return str(parameter.default)


def _argument(command: str, parameter: Any, context: Any) -> dict[str, Any]:
    name = parameter.metavar or parameter.name.upper()
    return {
        "name": name if parameter.required or name.startswith("[") else f"[{name}]",
        "help": " ".join((parameter.help or "").split()),
        "choices": _choices(command, parameter, context),
    }


def _choices(command: str, parameter: Any, context: Any) -> list[str]:
    if getattr(parameter, "is_flag", False):
        return []
    known = [item.value for item in parameter.shell_complete(context, "")]
    return known or words_for(command, parameter)


def _has_several(parameter: Any) -> bool:
    """Whether the value is a list of words, separated by commas."""
    option = BY_FIELD.get(parameter.name)
    return option is not None and option.has_several


def write() -> None:
    """Write the scripts to packaging/completions, and the table."""
    Path(TABLE).write_text(render_table())
    for name, script in render().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)


if __name__ == "__main__":
    write()
