"""Writes the shells' completions: ``python -m docs.render_completions``.

They are typer's, which ask ``greyd`` itself for what fits, so they know each command and option.
"""

from __future__ import annotations

from pathlib import Path

from typer._completion_shared import get_completion_script

FOLDER = Path(__file__).parent.parent / "packaging" / "completions"

_FILES = {"bash": "bash/greyd", "zsh": "zsh/_greyd", "fish": "fish/greyd.fish"}

# zsh reads the file when a completion is first asked for, and wants one from that reading, too.
_AT_ONCE = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _greyd_completion "$@"
fi
"""


def render() -> dict[str, str]:
    """Return the scripts by the names of their files."""
    return {name: _script(shell) for shell, name in _FILES.items()}


def _script(shell: str) -> str:
    script = get_completion_script(
        prog_name="greyd", complete_var="_GREYD_COMPLETE", shell=shell
    ).strip()
    return script + "\n" + (_AT_ONCE if shell == "zsh" else "")


def write() -> None:
    """Write the scripts."""
    for name, script in render().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)


if __name__ == "__main__":
    write()
