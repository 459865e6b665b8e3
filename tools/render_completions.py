"""Render the shell completions: ``python -m tools.render_completions``.

typer generates the scripts. They ask ``greyd`` itself for the matches, which it finds in a table of
all commands and options (``greyd.cli.completion``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer._completion_shared import get_completion_script

from greyd.cli.app import build
from greyd.cli.completion import TABLE

FOLDER = Path(__file__).parent.parent / "packaging" / "completions"

_FILES = {"bash": "bash/greyd", "zsh": "zsh/_greyd", "fish": "fish/greyd.fish"}

# zsh autoloads the file at the first TAB and expects that first load to complete as well.
_COMPLETE_ON_LOAD = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _greyd_completion "$@"
fi
"""


def render() -> dict[str, str]:
    """Return the text of each script by its file name."""
    return {name: _script(shell) for shell, name in _FILES.items()}


def _script(shell: str) -> str:
    script = get_completion_script(
        prog_name="greyd", complete_var="_GREYD_COMPLETE", shell=shell
    ).strip()
    return script + "\n" + (_COMPLETE_ON_LOAD if shell == "zsh" else "")


def render_table() -> str:
    """Return the table of commands and options that completes words."""
    app: Any = build()
    commands = {
        name: {"help": command.get_short_help_str(), **_parameters(command)}
        for name, command in app.commands.items()
    }
    return json.dumps({**_parameters(app), "commands": commands}, indent=1) + "\n"


def _parameters(command: Any) -> dict[str, Any]:
    context = command.make_context("greyd", [], resilient_parsing=True)
    parameters = command.get_params(context)
    return {
        "options": [
            {
                # typer has those of --help in a set; their order changes at each start.
                "names": sorted([*each.opts, *each.secondary_opts], key=_is_short),
                "help": " ".join((each.help or "").split()),
                "value": not each.is_flag,
                "multiple": each.multiple,
                "choices": _choices(each, context),
            }
            for each in parameters
            if each.param_type_name == "option" and not each.hidden
        ],
        "arguments": [
            _choices(each, context) for each in parameters if each.param_type_name == "argument"
        ],
    }


def _is_short(name: str) -> bool:
    return not name.startswith("--")


def _choices(parameter: Any, context: Any) -> list[str]:
    return [item.value for item in parameter.shell_complete(context, "")]


def write() -> None:
    """Write the scripts to packaging/completions, and the table."""
    TABLE.write_text(render_table())
    for name, script in render().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)


if __name__ == "__main__":
    write()
