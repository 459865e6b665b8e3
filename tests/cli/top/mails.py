"""Stores of waiting mail, and the data that ``greyd top`` reads from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from greyd.cli.context import CommandContext
from greyd.cli.top.live_data import LiveData
from greyd.config.settings import Settings
from greyd.rules.keys import request_keys
from greyd.rules.transaction import Record
from tests.commands import fill
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
SETTINGS = Settings()


def key_of(
    sender: bytes = b"alice@example.com",
    recipient: bytes = b"bob@example.org",
    client: str = "192.0.2.7",
) -> bytes:
    return request_keys(address_of(client), sender, recipient, SETTINGS).triplet


def waiting(age_seconds: int = 60) -> bytes:
    """Return the record of a triplet whose only attempt was so long ago."""
    return b"%d" % (NOW - age_seconds)


def record(key: bytes, value: bytes) -> Record:
    return Record(key, value, 100_000)


HOSTILE_SENDERS = (
    b"[red]bold[/red]@evil.example",
    b"\x1b[2J\x1b]0;owned\x07@evil.example",
    b"\xe2\x80\xaetxt.exe@evil.example",
    b"x" * 300 + b"@" + b"y" * 250 + b".example",
    b"\xff\xfe\x00\x9b@evil.example",
    b"\xe6\x97\xa5\xe6\x9c\xac\xcc\x81@\xe4\xbe\x8b.example",
)

MAIL = {
    key_of(): waiting(60),
    key_of(b"carol@example.net", b"dave@example.org", "198.51.100.7"): waiting(4000),
    key_of(b"", b"postmaster@example.org", "203.0.113.7"): waiting(200),
    key_of(b"passed@example.net"): b"%d,%d,%d" % (NOW - 9000, NOW - 8000, NOW - 8000),
    **{
        key_of(sender, b"bob@example.org", f"192.0.2.{number}"): waiting(10 * number + 500)
        for number, sender in enumerate(HOSTILE_SENDERS)
    },
}
WAITING_COUNT = len(MAIL) - 1


def moved(value: bytes, seconds: int) -> bytes:
    """Return a record whose times are later."""
    return b",".join(b"%d" % (int(each) + seconds) for each in value.split(b","))


def data_of(folder: Path, mail: dict[bytes, bytes] | None = None, **options: Any) -> LiveData:
    """Return the live data of a store with this mail, and of no server.

    The mail is as old now as it was at ``NOW``, which may be many tests ago.
    """
    url = f"sqlite:{folder / 'greyd.db'}"
    mail = MAIL if mail is None else mail
    later = int(time.time()) - NOW
    fill(url, {key: moved(value, later) for key, value in mail.items()})
    # Servers of other tests are not this store's.
    settings = Settings(store=url, run_dir=folder, **options)
    return LiveData(CommandContext(settings), [], pause=1)
