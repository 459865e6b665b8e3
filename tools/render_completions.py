"""Render the shell completions: ``python -m tools.render_completions``.

typer generates the scripts. They ask ``greyd`` itself for the matches, so they complete every
command and option.
"""

from __future__ import annotations

from pathlib import Path

from typer._completion_shared import get_completion_script

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


def write() -> None:
    """Write the scripts to packaging/completions."""
    for name, script in render().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)


if __name__ == "__main__":
    write()
