"""Prints what to do next once the server of ``make serve`` answers.

``make serve`` starts ``python -m tools.next_steps FOLDER`` in the background, and then replaces its
shell by the server, which thereby becomes this program's parent process.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.running.running_servers import find_running_servers
from greyd.config.values.parsers import parse_endpoint
from greyd.doctor.listeners import TcpListener
from greyd.doctor.policy_request import send_request

if TYPE_CHECKING:
    from greyd.config.running.run_record import RunRecord
    from greyd.doctor.listeners import Listener

MAX_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2


def next_steps(server: RunRecord, program: str) -> str:
    """Return the lines to print.

    Args:
        server: the running server.
        program: the path of greyd, as one would type it.
    """
    lines = [
        f"greyd is ready on {server.address}. In another terminal:",
        f"  {program} ask   plays Postfix: sends a request, and shows the answer",
        f"  {program}       shows the status, and what to do next",
    ]
    if server.metrics is not None:
        lines.append(f"Its page, in a browser: http://{server.metrics}/")
    return "\n".join(["", *lines, "Ctrl-C stops greyd.", ""])


async def _wait_for_answer(folder: Path, server_pid: int) -> RunRecord | None:
    """Return the server once it answers requests; None if it ends before, or takes too long."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < deadline and os.getppid() == server_pid:
        for found in find_running_servers([folder], everywhere=False).servers:
            listener = _listener(found.record)
            if found.record.pid == server_pid and not (await send_request(listener)).fault:
                return found.record
        await asyncio.sleep(_POLL_SECONDS)
    return None


def _listener(server: RunRecord) -> Listener:
    kind, _, address = server.sockets[0].partition(":")
    if kind == "unix":
        return Path(address)
    endpoint = parse_endpoint(address).connectable()
    return TcpListener(endpoint.host, endpoint.port)


def main() -> None:
    """Wait for the server of the parent process, and print the next steps."""
    folder, program = Path(sys.argv[1]), sys.argv[2]
    server = asyncio.run(_wait_for_answer(folder, os.getppid()))
    if server is not None:
        sys.stdout.write(next_steps(server, program))


if __name__ == "__main__":
    main()
