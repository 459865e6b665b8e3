"""Runs every command of ``greyd -h`` without a flag, as an administrator does after the README."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pages.blocks import PageError
from tests.processes import PolicyClient, request, slowness, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Type = Callable[[str, str], subprocess.CompletedProcess[str]]

ASKS_FOR = {
    "explain": "no request; a request has lines such as sender=alice@example.com",
    "forget": "select entries by --client, --sender, --recipient or --address",
    "import": "Missing argument 'SOURCE'",
    "release": "select the mail: greyd release ADDRESS",
    "show": "expected a client's address, a sender and a recipient",
    "switch-from": "Missing argument 'SERVER'",
}
"""What a command says that can't do anything without an argument, or beside the server."""

ENDLESS = ("tail", "top")

NAMES_NO_SERVER = (
    "ask", "check-whitelist", "config", "doctor", "postfix-config", "replay", "report", "tail",
    "tune", "whitelist",
)  # fmt: skip
"""Commands whose answer need not name the store."""

LOG, MAIL_LOG = Path("/var/log/postgrey.log"), Path("/var/log/mail.log")
_FAULTS = ("no running server", "no greyd server", "nothing is stored", "refused", "Traceback")


def run(where: str, type_: Type, store: str) -> None:
    """Run the commands beside a running server that has decided on a mail.

    Raises:
        PageError: a command does not work, or not with the server's store.
    """
    with PolicyClient(10023) as client:
        client.ask(request(sender="dora@example.com"))
    wait_until(lambda: "action=greylist" in LOG.read_text(), "the decision is in the log")
    head = time.strftime("%b %e %H:%M:%S mx postgrey[7]: ")
    decisions = re.findall(r"^.*(action=\w.*\n)", LOG.read_text(), re.MULTILINE)
    MAIL_LOG.write_text("".join(head + each for each in decisions))
    listed = re.findall(r"^  ([a-z][a-z-]+)  ", type_(where, "greyd -h").stdout, re.MULTILINE)
    if missing := {*ASKS_FOR, *ENDLESS, *NAMES_NO_SERVER} - {*listed}:
        raise PageError(f"{where}: greyd -h does not list {missing}")
    # The server runs already, and without a terminal greyd is greyd status.
    listed.remove("serve")
    for name in ["", *listed]:
        seconds = 3 * slowness()
        limit = f"timeout --preserve-status --signal=INT {seconds:.0f} " if name in ENDLESS else ""
        command = f"{limit}greyd {name}".strip()
        done = type_(where, command)
        wanted = ASKS_FOR.get(name, "" if name in NAMES_NO_SERVER else store)
        statuses = (2,) if name in ASKS_FOR else (130, 0) if name in ENDLESS else (0, 1)
        faults = [each for each in _FAULTS if each in done.stdout]
        if done.returncode not in statuses or wanted not in done.stdout or faults:
            raise PageError(f"{where}: {command}\nstatus {done.returncode}\n{done.stdout}")
