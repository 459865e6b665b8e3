"""The container's health check, without a container."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.commands import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

CHECK = CHECKOUT / "docker" / "healthcheck.py"


def check(folder: Path, metrics: str) -> subprocess.CompletedProcess[str]:
    """Run the health check of a server whose metrics port is ``metrics``."""
    return subprocess.run(
        [sys.executable, CHECK],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "GREYD_METRICS": metrics},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(200, 0, ""), (503, 1, "greyd: /healthz: status 503: the store can't be written\n")],
)
def test_it_says_what_healthz_says(tmp_path: Path, status: int, code: int, error: str) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"the store can't be written")

        def log_message(self, *_: object) -> None:
            """Leave the test's output clean."""

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        done = check(tmp_path, f"127.0.0.1:{server.server_port}")
        thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (code, "", error)


@pytest.mark.parametrize(
    ("metrics", "error"),
    [
        ("0", "greyd: no metrics port (GREYD_METRICS=0); run the container without a health check"),
        ("127.0.0.1:9", "greyd: http://127.0.0.1:9/healthz: "),
        ("nonsense:port", "greyd: GREYD_METRICS=nonsense:port: "),
    ],
)
def test_where_it_cannot_ask_it_says_why_in_one_line(
    tmp_path: Path, metrics: str, error: str
) -> None:
    done = check(tmp_path, metrics)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(error)
