"""The two imports of a switch: what postgrey learns in between, greyd knows, with its times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from greyd.cli.context import CommandContext
from greyd.cli.switching.machine_site import CLOCK_MARGIN_SECONDS, MachineSite
from greyd.cli.switching.services.init_scripts import InitScripts
from greyd.config.settings import Settings
from greyd.rules.records import Client, Triplet
from tests.commands import content, fill

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
KEY = b"192.0.2.0/alice@example.com/bob@example.org"
KEY_HERE = b"{192.0.2.0}/alice@example.com/bob@example.org"
CLIENT = b"192.0.2.7"
CLIENT_HERE = b"{192.0.2.0}:192.0.2.7"
DELAY = Settings().delay_seconds
OLD = CLOCK_MARGIN_SECONDS + 3 * DELAY


def ago(*seconds: int) -> bytes:
    """Return times as postgrey stores them."""
    return b",".join(b"%d" % (NOW - each) for each in seconds)


class Switching:
    """A switch whose postgrey has a dump instead of a database."""

    def __init__(self, folder: Path) -> None:
        self._dump = folder / "dump"
        self.url = f"sqlite:{folder / 'greyd.db'}"
        context = CommandContext(Settings(store=self.url), as_json=True)
        self._site = MachineSite(InitScripts(), context, self._dump, ())

    def import_entries(self, entries: dict[bytes, bytes], *, is_last: bool) -> str:
        lines = [b"VERSION=3", b"format=print", b"type=btree", b"db_pagesize=4096", b"HEADER=END"]
        for key, value in entries.items():
            lines += [b" " + key, b" " + value]
        self._dump.write_bytes(b"".join(b"%b\n" % each for each in (*lines, b"DATA=END")))
        return self._site.import_entries(is_last=is_last)

    def record(self, key: bytes) -> bytes | None:
        return content(self.url).get(key)


TRIPLETS: dict[str, tuple[bytes | None, bytes, bytes | None, tuple[int, int, int | None]]] = {
    # before, after, what greyd writes before the second import; first, last, passed
    "unchanged": (ago(900, 100), ago(900, 100), None, (900, 100, 900 - DELAY)),
    "unchanged for a long time": (ago(OLD, OLD - 400), ago(OLD, OLD - 400), None,
                                  (OLD, OLD - 400, OLD - DELAY)),
    "new to postgrey": (None, ago(5, 5), None, (5, 5, None)),
    "new, and tried again at greyd": (None, ago(5, 5), ago(1), (5, 1, None)),
    "tried again too early": (ago(60, 60), ago(60, 2), None, (60, 2, None)),
    "passed postgrey": (ago(900, 900), ago(900, 3), None, (900, 3, 900 - DELAY)),
    "old, and passed postgrey": (ago(OLD, OLD), ago(OLD, 3), None, (OLD, 3, OLD - DELAY)),
    "passed greyd meanwhile": (ago(900, 900), ago(900, 900), ago(900, 1, 1), (900, 1, 1)),
    "new, and tried at both": (None, ago(900, 4), ago(2), (900, 2, 900 - DELAY)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "at_greyd", "expected"), TRIPLETS.values(), ids=TRIPLETS.keys()
)
def test_mail_between_the_imports_keeps_its_first_attempt(
    before: bytes | None, after: bytes, at_greyd: bytes | None,
    expected: tuple[int, int, int | None], tmp_path: Path,
) -> None:  # fmt: skip
    switching = Switching(tmp_path)
    other = {b"198.51.100.0/carol@example.com/bob@example.org": ago(800, 100)}
    switching.import_entries(other | ({KEY: before} if before else {}), is_last=False)
    if at_greyd:
        fill(switching.url, {KEY_HERE: at_greyd})
    switching.import_entries(other | {KEY: after}, is_last=True)
    stored = Triplet.load(switching.record(KEY_HERE) or b"")
    assert stored is not None
    passed = None if stored.passed_at is None else NOW - stored.passed_at
    assert (NOW - stored.first_seen, NOW - stored.last_seen, passed) == expected


@pytest.mark.parametrize(
    ("before", "after", "at_greyd", "successes"),
    [(None, 1, None, 1), (3, 4, None, 4), (4, 4, 5, 5), (3, 4, 3, 4)],
)
def test_a_client_keeps_the_greater_count(
    before: int | None, after: int, at_greyd: int | None, successes: int, tmp_path: Path
) -> None:
    switching = Switching(tmp_path)
    first = {} if before is None else {CLIENT: b"%d,%d" % (before, NOW - OLD)}
    switching.import_entries({KEY: ago(900, 100), **first}, is_last=False)
    if at_greyd:
        fill(switching.url, {CLIENT_HERE: Client(at_greyd, NOW - 1).dump()})
    switching.import_entries({KEY: ago(900, 100), CLIENT: b"%d,%d" % (after, NOW)}, is_last=True)
    stored = Client.load(switching.record(CLIENT_HERE) or b"")
    assert stored is not None
    assert stored.successes == successes


def test_what_postgrey_has_deleted_in_between_stays_known(tmp_path: Path) -> None:
    switching = Switching(tmp_path)
    assert switching.import_entries({KEY: ago(900, 100)}, is_last=False) == "1 triplet"
    other = {b"198.51.100.0/carol@example.com/bob@example.org": ago(9, 9)}
    assert switching.import_entries(other, is_last=True) == "1 triplet"
    assert switching.record(KEY_HERE) is not None


def test_the_second_import_takes_only_what_was_used_since_the_first_one(tmp_path: Path) -> None:
    switching = Switching(tmp_path)
    old = {b"192.0.2.0/old%d@example.com/bob@example.org" % each: ago(OLD, OLD - DELAY)
           for each in range(50)}  # fmt: skip
    assert switching.import_entries({**old, KEY: ago(9, 9)}, is_last=False) == "51 triplets"
    assert switching.import_entries({**old, KEY: ago(9, 1)}, is_last=True) == "1 triplet"
