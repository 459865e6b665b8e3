"""Words of a command line: their case, and what an error says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.commands import run_here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("word", ["OFF", "Learn", "ON", "Reset"])
def test_a_mode_may_be_in_any_case(word: str, tmp_path: Path) -> None:
    done = run_here("mode", word, f"--dbdir={tmp_path / 'missing'}")
    assert "not one of" not in done.stderr
    assert "No such file" in done.stderr


@pytest.mark.parametrize("arguments", [["mode", "of"], ["mode", ""], ["top", "--count=of"]])
def test_no_error_names_an_exception_of_python(arguments: list[str]) -> None:
    done = run_here(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "error," not in line.lower()
    assert line.endswith(f"; see greyd {arguments[0]} --help")
