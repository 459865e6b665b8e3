"""What greyd comes after on the throw-away machine: a postgrey that runs, and sqlgrey's file."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pages import stand_ins
from tests.processes import PolicyClient, accepts, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

_SQLGREYS = """
CREATE TABLE connect (sender_name varchar(64) NOT NULL, sender_domain varchar(255) NOT NULL,
    src varchar(39) NOT NULL, rcpt varchar(255) NOT NULL, first_seen timestamp NOT NULL);
CREATE TABLE from_awl (sender_name varchar(64) NOT NULL, sender_domain varchar(255) NOT NULL,
    src varchar(39) NOT NULL, first_seen timestamp NOT NULL, last_seen timestamp NOT NULL);
CREATE TABLE domain_awl (sender_domain varchar(255) NOT NULL, src varchar(39) NOT NULL,
    first_seen timestamp NOT NULL, last_seen timestamp NOT NULL);
"""


def make(type_: Callable[[str, str], object], *, by_script: bool = False) -> None:
    """Have postgrey learn, as its unit or its init script runs it; put sqlgrey's file in its place.

    There is no systemd on that machine, so ``greyd switch-from`` uses the init scripts.
    """
    stand_ins.install_greyd()
    # localhost is ::1 too, which that machine has not.
    Path("/etc/default/postgrey").write_text('POSTGREY_OPTS="--inet=127.0.0.1:10023"\n')
    learn(type_, "/etc/init.d/postgrey start" if by_script else "systemctl start postgrey")
    _make_sqlgrey()


def learn(type_: Callable[[str, str], object], start: str = "systemctl start postgrey") -> None:
    """Start postgrey, and let it learn."""
    type_("predecessors", start)
    wait_until(lambda: accepts(10023), "postgrey listens")
    now = int(time.time())
    with PolicyClient(10023) as client:
        for when in (now - 900, now - 300):
            for sender in ("alice@example.com", "carol@example.com"):
                client.ask(request(sender=sender, policy_test_time=str(when)))
        client.ask(request(sender="new@example.com", policy_test_time=str(now)))


def _make_sqlgrey() -> None:
    now = int(time.time())
    file = Path("/var/lib/sqlgrey/sqlgrey.db")
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(_SQLGREYS)
        waiting = ("dave", "example.com", "192.0.2", "bob@example.org", now)
        connection.execute("INSERT INTO connect VALUES (?, ?, ?, ?, ?)", waiting)
        connection.execute(
            "INSERT INTO domain_awl VALUES ('example.net', '203.0.113.9', ?, ?)", (now, now)
        )
