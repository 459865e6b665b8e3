"""The process that listens is found and judged."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.listeners import TcpListener
from greyd.doctor.process import ListeningProcess, find_process, findings_of_process

GREYD = ListeningProcess(4711, "greyd", 998, ["python3", "/usr/bin/greyd", "serve"], 65536)


@pytest.mark.parametrize(
    ("process", "open_files", "wrong"),
    [
        (GREYD, 40, {}),
        (replace(GREYD, user="root", uid=0), None, {"process: user": State.WARNING}),
        (replace(GREYD, max_files=256), None, {"process: file descriptors": State.WARNING}),
        (replace(GREYD, max_files=1024), 1000, {"process: file descriptors": State.ERROR}),
        (replace(GREYD, max_files=0), 1000, {}),
        (replace(GREYD, words=["postgrey", "--inet=10023"]), None,
         {"process: program": State.ERROR}),
        (None, None, {"process: user": State.NOT_CHECKED}),
    ],
)  # fmt: skip
def test_a_process_of_root_or_with_too_few_files_or_of_another_program_is_found(
    process: ListeningProcess | None, open_files: float | None, wrong: dict[str, State]
) -> None:
    found = findings_of_process(process, open_files)
    assert {each.check: each.state for each in found if each.state is not State.OK} == wrong


@pytest.mark.parametrize("unix", [False, True])
def test_the_process_that_listens_is_found_in_the_kernels_tables(
    unix: bool, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as listening:
        listening.bind(str(tmp_path / "socket") if unix else ("127.0.0.1", 0))
        name = listening.getsockname()
        place = Path(name) if unix else TcpListener(*name)
        assert find_process([place]) is None
        listening.listen()
        found = find_process([place])
        assert found is not None
        assert (found.pid, found.uid, found.is_greyd) == (os.getpid(), os.getuid(), False)
