"""``greyd tune`` in several processes: a log from a pipe is simulated as a file is."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_tune import mixed_mail
from tests.commands import is_setting
from tests.mail_log import MailLog
from tests.processes import slowness

FEW = ("--delay=60,900", "--retry-window=2d", "--auto-whitelist=0,5", "--subnet=24,32")

IS_SINGLE_CORE = len(os.sched_getaffinity(0)) < 2


def started(folder: Path, *words: str, cores: set[int] | None = None) -> subprocess.Popen[bytes]:
    """Start ``greyd tune`` without whitelists."""
    none, config = folder / "none", folder / "greyd.toml"
    none.touch()
    config.write_text(f'whitelist_clients = ["{none}"]\nwhitelist_recipients = ["{none}"]\n')
    environment = {name: value for name, value in os.environ.items() if not is_setting(name)}
    return subprocess.Popen(
        [sys.executable, "-m", "greyd", "tune", f"--config={config}", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment, "GREYD_RUN_DIR": str(folder)},
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,  # noqa: PLW1509 - no threads
    )


def answer(process: subprocess.Popen[bytes], data: bytes = b"") -> tuple[int, str, str]:
    """Return the status and what a command says about a log on its standard input."""
    out, err = process.communicate(data, timeout=60 * slowness())
    return process.returncode, out.decode(), err.decode()


def children_of(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(each) for each in path.read_text().split()]


def wait_for_children(process: subprocess.Popen[bytes]) -> list[int]:
    until = time.monotonic() + 60 * slowness()
    while len(found := children_of(process)) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def test_a_pipe_a_compressed_file_and_one_core_give_the_same_figures(tmp_path: Path) -> None:
    log = Path(mixed_mail(tmp_path, 4))
    compressed = tmp_path / "mail.log.gz"
    compressed.write_bytes(gzip.compress(log.read_bytes()))
    core = min(os.sched_getaffinity(0))
    runs = [
        (started(tmp_path, "--json", *FEW, str(log)), b""),
        (started(tmp_path, "--json", *FEW, str(compressed)), b""),
        (started(tmp_path, "--json", *FEW, "-"), log.read_bytes()),
        (started(tmp_path, "--json", *FEW, "-", cores={core}), log.read_bytes()),
    ]
    answers = [answer(*each) for each in runs]
    assert [status for status, _, _ in answers] == [0] * len(runs)
    told = [json.loads(out) for _, out, _ in answers]
    assert told[0]["log"]["mails"] > 100
    assert len(told[0]["settings"]) > 10
    assert told[1:] == [told[0]] * (len(runs) - 1)


@pytest.mark.skipif(IS_SINGLE_CORE, reason="needs two cores")
def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    process = started(tmp_path, *FEW, "-")
    assert process.stdin is not None
    process.stdin.write(Path(mixed_mail(tmp_path, 4)).read_bytes())
    process.stdin.flush()
    children = wait_for_children(process)
    process.send_signal(signal.SIGINT)
    # The pipe stays open: the command does not wait for its end.
    process.wait(60 * slowness())
    status, out, err = answer(process)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "greyd: interrupted"
    assert "Traceback" not in err
    assert not [each for each in children if Path(f"/proc/{each}").exists()]


@pytest.mark.skipif(IS_SINGLE_CORE, reason="needs two cores")
def test_a_process_that_is_killed_ends_the_command_with_one_line(tmp_path: Path) -> None:
    process = started(tmp_path, *FEW, "--preset=none", "-")
    os.kill(wait_for_children(process)[-1], signal.SIGKILL)
    status, out, err = answer(process, Path(mixed_mail(tmp_path, 4)).read_bytes())
    assert (status, out) == (2, "")
    assert "a process of the simulation was ended" in err.splitlines()[-1]
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(IS_SINGLE_CORE, reason="needs two cores")
def test_the_processes_end_with_the_command(tmp_path: Path) -> None:
    process = started(tmp_path, *FEW, "-")
    children = wait_for_children(process)
    process.kill()
    answer(process)
    until = time.monotonic() + 60 * slowness()
    while left := [each for each in children if Path(f"/proc/{each}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "data", "message"),
    [
        ((), b"", "no decisions of greyd or postgrey, no mail: "),
        ((), b"Nov 18 12:00:00 mx1 sshd[7]: Server listening\n", "no decisions of greyd"),
        (("--subnet=33",), b"", "ipv4cidr"),
        (("--warm-up=30d",), None, "within --warm-up"),
    ],
)
def test_a_log_without_mail_or_a_bad_value_ends_with_status_2(
    tmp_path: Path, words: tuple[str, ...], data: bytes | None, message: str
) -> None:
    log = MailLog(tmp_path)
    log.decided(0, "greylist, reason=new")
    given = log.written().read_bytes() if data is None else data
    status, out, err = answer(started(tmp_path, "--preset=none", *words, "-"), given)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
