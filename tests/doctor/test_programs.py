"""Other programs are bounded in time and output."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from greyd.doctor.programs import ProgramError, run_program


def test_other_programs_are_bounded_in_time_and_output() -> None:
    def ask(script: str, seconds: float = 10.0) -> str:
        return asyncio.run(run_program(sys.executable, "-c", script, seconds=seconds)).stdout

    assert ask("print('yes')") == "yes\n"
    began = time.monotonic()
    with pytest.raises(ProgramError, match=r"no answer within 0\.5 s"):
        ask("import time; time.sleep(60)", 0.5)
    with pytest.raises(ProgramError, match="more than 1 MiB of output"):
        ask("while True: print('x' * 1000)")
    assert time.monotonic() - began < 30
    with pytest.raises(ProgramError, match="no such thing"):
        ask("raise SystemExit('no such thing')")
    with pytest.raises(ProgramError, match="not installed"):
        asyncio.run(run_program("nosuchprogram"))
