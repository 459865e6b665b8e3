"""DNS in real processes: it costs nothing where it is off, and works where workers are forked."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.dns_server import SERVFAIL, dns_server
from tests.integration.lives import CHECKOUT, ready
from tests.processes import PolicyClient, request, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_an_option_for_it_nothing_of_dns_is_loaded(tmp_path: Path, workers: str) -> None:
    environment = {"PYTHONPROFILEIMPORTTIME": "1"}
    options = [f"--workers={workers}"]
    with (
        ready(tmp_path, *options, environment=environment) as server,
        PolicyClient(server.port) as client,
    ):
        assert client.ask(request())
        loaded = set(re.findall(r"\| +([\w.]+)$", server.log(), re.MULTILINE))
    assert {"greyd.policy.policy", "greyd.policy.observers", "uvloop.loop"} <= loaded
    assert not {name for name in loaded if re.match(r"aiodns|pycares|greyd\.dns", name)}


def test_it_works_in_forked_workers_that_have_no_rights_left_and_ends_in_silence() -> None:
    with dns_server({"mx.example.com": ["300 A 192.0.2.1"]}) as server:
        command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.integration.lookups"]
        command += [str(server.port), "mx.example.com"]
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
        )
    user = os.geteuid() or pwd.getpwnam("nobody").pw_uid
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{user} {(bytes([192, 0, 2, 1]),)}\n" * 2
    assert server.asked["mx.example.com", "A"] == 2


def test_an_outage_is_logged_once_by_several_workers(tmp_path: Path) -> None:
    with dns_server({"*.bl.example": SERVFAIL, "example.net": ["300 A 192.0.2.1"]}) as names:
        options = ["--workers=3", "--dnsbl=bl.example", f"--resolver={names.address}"]
        with ready(tmp_path, *options) as server:
            wait_until(lambda: names.asked["1.0.0.127.bl.example", "A"] >= 6, "all have probed")
            wait_until(lambda: "bl.example is out of order" in server.log(), "the outage is logged")
        assert server.log().count("bl.example is out of order") == 1
