"""Test an installed greyd: ``python3 packaging/smoke.py /path/to/greyd``.

Runs ``--version`` and ``--help``, starts the server on a free port with an empty folder, sends it a
request as Postfix does, and stops it. Needs only Python's standard library.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time

REQUEST = (
    b"request=smtpd_access_policy\nclient_address=192.0.2.7\nclient_name=mail.example.com\n"
    b"sender=alice@example.com\nrecipient=bob@example.org\n\n"
)
TIMEOUT_SECONDS = 30
OWN_VARIABLES = ("GREYD_", "POSTGREY_", "PYTHON")


def main(greyd: str) -> None:
    """Run the test; exits with a one-line message on failure."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(OWN_VARIABLES)
    }
    for words in (["--version"], ["--help"], ["serve", "--help"]):
        done = subprocess.run([greyd, *words], env=environment, capture_output=True, text=True)
        if done.returncode or not done.stdout.startswith(("greyd", "Usage: greyd")):
            sys.exit(f"{greyd} {' '.join(words)}: {done.stdout}{done.stderr}")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        options = [f"--inet=127.0.0.1:{port}", f"--dbdir={folder}", "--metrics=0"]
        server = subprocess.Popen([greyd, "serve", *options], env=environment)
        try:
            answer = send_request(port, server)
        finally:
            server.terminate()
            status = server.wait(TIMEOUT_SECONDS)
    if status or not answer.startswith(b"action=DEFER_IF_PERMIT "):
        sys.exit(f"{greyd}: ended with {status}, answered {answer!r}")
    sys.stdout.write(f"{greyd} works\n")


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def send_request(port: int, server: subprocess.Popen[bytes]) -> bytes:
    """Return the answer to the request, as soon as the server accepts a connection."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as client,
        ):
            client.sendall(REQUEST)
            return client.recv(4096)
        time.sleep(0.05)
    return b""


if __name__ == "__main__":
    main(sys.argv[1])
