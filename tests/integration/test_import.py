"""What postgrey has learned is known to greyd: real databases, of every kind of stop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import CHECKOUT, answer_of, content, fill, run_here
from tests.integration.lives import has_said
from tests.processes import (
    PolicyClient,
    accepts,
    free_port,
    greyd,
    postgrey,
    program,
    redis_server,
    request,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

NOW = int(time.time())
DAY = 86400

SENDERS = [
    "alice@example.com",
    "Bounces-4711-99=x@lists.example.com",
    "prvs=0123456789=bob@example.com",
    "carol+tag@example.com",
    "",
    "d/e@example.com",
    "näme@example.com",
    'a\\b"c@example.com',
    "no-domain",
]
CLIENTS = ["192.0.2.7", "198.51.100.200", "2001:db8::1", "2001:db8:7:8:9::10"]
RECIPIENTS = ["bob@example.org", "Carl+list@Example.org"]

MAILS = [
    {"client_address": client, "client_name": "unknown", "sender": sender, "recipient": recipient}
    for client, sender, recipient in itertools.product(CLIENTS, SENDERS, RECIPIENTS)
]


def ask(server: Running, mail: Mapping[str, str], when: int) -> str:
    """Return what a server says to a mail at a time: the action's first word."""
    data: dict[str, Any] = {name: value.encode() for name, value in mail.items()}
    with PolicyClient(server.port) as client:
        reply = client.ask(request(policy_test_time=str(when), instance=None, **data))
    assert reply is not None
    return reply.removeprefix("action=").split()[0]


def teach(server: Running) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Let a server learn of mail that passes and of mail that waits; returns both."""
    known, waiting = MAILS[::2], MAILS[1::2]
    for mail in known:
        assert ask(server, mail, NOW - DAY) == "DEFER_IF_PERMIT"
        assert ask(server, mail, NOW - DAY + 400) == "PREPEND"
    for mail in waiting:
        assert ask(server, mail, NOW - 200) == "DEFER_IF_PERMIT"
    return known, waiting


def stop(server: Running, how: signal.Signals) -> None:
    """End postgrey. A SIGTERM that comes while it is busy is lost on it, so it may take several."""
    while server.process.poll() is None:
        server.signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(1)


# From postgrey ------------------------------------------------------------------------------------

KINDS: list[list[str]] = [
    [],
    ["--privacy"],
    ["--lookup-by-host"],
    ["--ipv4cidr=28", "--ipv6cidr=48"],
    ["--lookup-by-host", "--privacy"],
]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("options", KINDS, ids=" ".join)
def test_nobody_whom_postgrey_knew_waits_anew(
    tmp_path: Path, options: list[str], how: signal.Signals
) -> None:
    with postgrey(tmp_path, "--auto-whitelist-clients=0", *options) as server:
        known, waiting = teach(server)
        stop(server, how)
    config = tmp_path / "greyd.toml"
    config.write_text(_toml(options))
    there = (f"--config={config}", f"--dbdir={tmp_path}")
    told = answer_of("import", tmp_path / "postgrey-db", *there)
    assert told["unreadable"]["count"] == 0
    assert told["entries"]["triplets"]["imported"] == told["entries"]["triplets"]["read"] > 0
    assert told["remarks"] == []
    with greyd(tmp_path, "--test-time", "--auto-whitelist-clients=0", *options) as server:
        assert [mail for mail in known if ask(server, mail, NOW) != "DUNNO"] == []
        for mail in waiting:
            assert ask(server, mail, NOW) == "DEFER_IF_PERMIT"
        # The rest of their wait, and no more.
        assert [mail for mail in waiting if ask(server, mail, NOW + 100) != "PREPEND"] == []


def _toml(options: list[str]) -> str:
    lines = ""
    for option in options:
        name, _, value = option.removeprefix("--").partition("=")
        lines += f"{name} = {value or 'true'}\n"
    return lines


def test_auto_whitelisted_clients_stay_so_and_others_count_on(store: str, tmp_path: Path) -> None:
    with postgrey(tmp_path, "--auto-whitelist-clients=3") as server:
        for client, times in (("192.0.2.7", 3), ("2001:db8::1", 2)):
            for hour in range(times):
                mail = {"client_address": client, "sender": f"s{'x' * hour}@example.com"}
                when = NOW - DAY + 7200 * hour
                assert ask(server, mail, when) == "DEFER_IF_PERMIT"
                assert ask(server, mail, when + 400) == "PREPEND"
        stop(server, signal.SIGKILL)
    told = answer_of("import", tmp_path / "postgrey-db", store)
    assert told["entries"]["clients"]["imported"] == 2
    with greyd(tmp_path, store, "--test-time", "--auto-whitelist-clients=3") as server:
        new = {"sender": "new@example.com", "client_address": "192.0.2.7"}
        assert ask(server, new, NOW) == "DUNNO"
        has_said(server, "reason=client AWL")
        other = {"sender": "new@example.com", "client_address": "2001:db8::1"}
        assert ask(server, other, NOW) == "DEFER_IF_PERMIT"
        assert ask(server, other, NOW + 400) == "PREPEND"
        has_said(server, "whitelisted: ")


def test_a_second_import_changes_nothing_and_a_dry_run_nothing_at_all(
    store: str, tmp_path: Path
) -> None:
    url = store.removeprefix("--store=")
    with postgrey(tmp_path) as server:
        teach(server)
        stop(server, signal.SIGTERM)
    original = snapshot(tmp_path / "postgrey-db")
    dry = answer_of("import", tmp_path / "postgrey-db", "--dry-run", store)
    assert dry["entries"]["triplets"]["imported"] > 50
    assert content(url) == {}
    first = answer_of("import", tmp_path / "postgrey-db", store)
    assert first["entries"] == dry["entries"]
    stored = {key: value for key, value in content(url).items() if key != b"control"}
    second = answer_of("import", tmp_path / "postgrey-db", store)
    triplets = second["entries"]["triplets"]
    assert (triplets["imported"], triplets["merged"]) == (0, 0)
    assert triplets["unchanged"] == triplets["read"] == first["entries"]["triplets"]["read"]
    assert {key: value for key, value in content(url).items() if key != b"control"} == stored
    assert snapshot(tmp_path / "postgrey-db") == original


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return what is in the files of a folder, and when they were changed."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in folder.iterdir()}


def test_what_greyd_knows_already_is_merged_and_the_running_server_goes_on(
    store: str, tmp_path: Path
) -> None:
    mail = MAILS[0]
    with postgrey(tmp_path) as old:
        ask(old, mail, NOW - DAY)
        ask(old, mail, NOW - DAY + 400)
        stop(old, signal.SIGTERM)
    with greyd(tmp_path, store, "--test-time") as server:
        assert ask(server, mail, NOW - 60) == "DEFER_IF_PERMIT"
        told = answer_of("import", tmp_path / "postgrey-db", store)
        assert told["entries"]["triplets"]["merged"] == 1
        assert ask(server, mail, NOW) == "DUNNO"
        has_said(server, "imported 1 triplet, 1 client, by ")


def test_a_longer_delay_here_makes_nobody_wait_who_has_waited_there(tmp_path: Path) -> None:
    with postgrey(tmp_path, "--delay=60", "--auto-whitelist-clients=0") as server:
        ask(server, MAILS[0], NOW - DAY)
        ask(server, MAILS[0], NOW - DAY + 100)
        ask(server, MAILS[1], NOW - DAY)
        stop(server, signal.SIGTERM)
    varied = f"--dbdir={tmp_path}"
    options = {"GREYD_DELAY": "600", "GREYD_AUTO_WHITELIST_CLIENTS": "0"}
    answer_of("import", tmp_path / "postgrey-db", "--from-delay=60", varied, **options)
    with greyd(tmp_path, "--test-time", "--delay=600", "--auto-whitelist-clients=0") as server:
        assert ask(server, MAILS[0], NOW) == "DUNNO"


def test_a_running_postgrey_is_imported_with_a_warning(tmp_path: Path) -> None:
    with postgrey(tmp_path) as server:
        ask(server, MAILS[0], NOW)
        done = run_here("import", tmp_path / "postgrey-db", f"--dbdir={tmp_path}")
        assert done.returncode == 1
        assert "postgrey is running" in done.stderr
        assert ask(server, MAILS[0], NOW + 400) == "PREPEND"
    assert any(b"alice" in key for key in content(f"sqlite:{tmp_path / 'greyd.db'}"))


def test_networks_of_another_width_are_told_of(tmp_path: Path) -> None:
    with postgrey(tmp_path, "--ipv4cidr=16") as server:
        for number in range(40):
            mail = {**MAILS[0], "client_address": f"10.{number}.7.9"}
            ask(server, mail, NOW)
        stop(server, signal.SIGTERM)
    done = run_here("import", tmp_path / "postgrey-db", f"--dbdir={tmp_path}")
    assert done.returncode == 1
    assert "--ipv4cidr=16" in done.stderr


def test_private_databases_need_a_private_server(tmp_path: Path) -> None:
    with postgrey(tmp_path, "--privacy") as server:
        ask(server, MAILS[0], NOW)
        stop(server, signal.SIGTERM)
    done = run_here("import", tmp_path / "postgrey-db", f"--dbdir={tmp_path}")
    assert done.returncode == 1
    assert "--privacy" in done.stdout
    assert b"/" not in b"".join(
        key for key in content(f"sqlite:{tmp_path / 'greyd.db'}") if key != b"control"
    )


def test_readable_databases_are_hashed_on_their_way_to_a_private_server(tmp_path: Path) -> None:
    with postgrey(tmp_path, "--auto-whitelist-clients=0") as server:
        known, _ = teach(server)
        stop(server, signal.SIGTERM)
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef")
    private = ["--privacy", f"--privacy-key={key}"]
    options = {"GREYD_PRIVACY": "yes", "GREYD_PRIVACY_KEY": str(key)}
    answer_of("import", tmp_path / "postgrey-db", f"--dbdir={tmp_path}", **options)
    assert b"example" not in b"".join(content(f"sqlite:{tmp_path / 'greyd.db'}"))
    with greyd(tmp_path, "--test-time", "--auto-whitelist-clients=0", *private) as server:
        assert [mail for mail in known if ask(server, mail, NOW) != "DUNNO"] == []


def test_a_dump_on_standard_input_is_as_good(tmp_path: Path) -> None:
    with postgrey(tmp_path) as server:
        teach(server)
        stop(server, signal.SIGTERM)
    folder = tmp_path / "postgrey-db"
    whole = answer_of("import", folder, f"--dbdir={tmp_path}")
    subprocess.run([program("db5.3_recover"), "-h", folder], check=True)
    dumps = [
        subprocess.run(
            [program("db5.3_dump"), *form, folder / name], capture_output=True, check=True
        ).stdout
        for name, form in (("postgrey.db", ["-p"]), ("postgrey_clients.db", []))
    ]
    other = tmp_path / "other"
    other.mkdir()
    done = run_here("import", "-", f"--dbdir={other}", given=b"".join(dumps))
    assert done.returncode == 0, done.stderr
    assert _times(other) == _times(tmp_path)
    assert whole["entries"]["clients"]["imported"] > 0


def _times(folder: Path) -> dict[bytes, bytes]:
    found = content(f"sqlite:{folder / 'greyd.db'}")
    return {key: value for key, value in found.items() if key != b"control"}


def test_without_berkeley_dbs_programs_one_line_says_which(tmp_path: Path) -> None:
    folder = tmp_path / "postgrey-db"
    folder.mkdir()
    (folder / "postgrey.db").touch()
    # The interpreter is started by its path; on the command's PATH nothing is found.
    script = (
        "import greyd.cli.importing.postgrey.programs as it; it._USUAL_FOLDERS = ();"
        "import sys; from greyd.cli.main import main; main(sys.argv[1:])"
    )
    import sys

    done = subprocess.run(
        [sys.executable, "-c", script, "import", folder, f"--dbdir={tmp_path}"],
        env={"PATH": str(tmp_path)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    # Servers of other tests may be named before.
    assert "apt install db5.3-util" in done.stderr.splitlines()[-1]


# From sqlgrey -------------------------------------------------------------------------------------


def sqlgreys_file(path: Path) -> None:
    """Make a database as sqlgrey 1.8 makes it."""
    connection = sqlite3.connect(path)
    with connection:
        connection.executescript(
            """
            CREATE TABLE connect (sender_name varchar(64) NOT NULL, sender_domain varchar(255)
                NOT NULL, src varchar(39) NOT NULL, rcpt varchar(255) NOT NULL,
                first_seen timestamp NOT NULL);
            CREATE TABLE from_awl (sender_name varchar(64) NOT NULL, sender_domain varchar(255)
                NOT NULL, src varchar(39) NOT NULL, first_seen timestamp NOT NULL,
                last_seen timestamp NOT NULL, PRIMARY KEY (src, sender_domain, sender_name));
            CREATE TABLE domain_awl (sender_domain varchar(255) NOT NULL, src varchar(39)
                NOT NULL, first_seen timestamp NOT NULL, last_seen timestamp NOT NULL,
                PRIMARY KEY (src, sender_domain));
            CREATE TABLE optin_domain (domain varchar(255));
            """
        )
        waiting = ("alice", "example.com", "192.0.2", "bob@example.org", NOW - 200)
        connection.execute("INSERT INTO connect VALUES (?, ?, ?, ?, ?)", waiting)
        bounce = ("-undef-", "-undef-", "198.51.100.7", "bob@example.org", NOW - 200)
        connection.execute("INSERT INTO connect VALUES (?, ?, ?, ?, ?)", bounce)
        for number in range(6):
            row = (f"s{number}", "example.net", "203.0.113.7", NOW - DAY + 3600 * number, NOW - 100)
            connection.execute("INSERT INTO from_awl VALUES (?, ?, ?, ?, ?)", row)
        row = ("x", "example.net", "203.0.113", NOW - DAY, NOW - 100)
        connection.execute("INSERT INTO from_awl VALUES (?, ?, ?, ?, ?)", row)
    connection.close()


def test_what_sqlgrey_knows_is_taken_over_as_far_as_there_is_a_place(
    store: str, tmp_path: Path
) -> None:
    file = tmp_path / "sqlgrey.db"
    sqlgreys_file(file)
    told = answer_of("import", file, store)
    assert told["entries"]["triplets"]["imported"] == 2
    assert told["entries"]["clients"]["imported"] == 1
    assert told["not_taken_over"][0]["count"] == 1
    with greyd(tmp_path, store, "--test-time") as server:
        mail = {"sender": "alice@example.com", "client_address": "192.0.2.99"}
        assert ask(server, mail, NOW) == "DEFER_IF_PERMIT"
        assert ask(server, mail, NOW + 100) == "PREPEND"
        bounce = {"sender": "", "client_address": "198.51.100.7"}
        assert ask(server, bounce, NOW + 100) == "PREPEND"
        assert ask(server, {"client_address": "203.0.113.7"}, NOW) == "DUNNO"
        assert ask(server, {"client_address": "203.0.113.8"}, NOW) == "DEFER_IF_PERMIT"


SQLGREY = """
loglevel = 2
inet = 127.0.0.1:{port}
pidfile = {folder}/pid
reconnect_delay = 0
db_type = SQLite
db_name = {folder}/sqlgrey.db
user = {user}
group = {group}
"""


def test_the_file_of_a_real_sqlgrey_is_read(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "conf").write_text(
        SQLGREY.format(port=port, folder=tmp_path, user=os.geteuid(), group=os.getegid())
    )
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [program("sqlgrey"), "-f", tmp_path / "conf"], stdout=log, stderr=log
        ) as sqlgrey,
    ):
        try:
            wait_until(lambda: accepts(port), "sqlgrey")
            with PolicyClient(port) as client:
                for address in ("192.0.2.7", "2001:db8::7"):
                    client.ask(request(client_address=address.encode(), client_name=b"unknown"))
                # The second attempt, not in the same second, gets its sender onto the list.
                time.sleep(1.1)
                client.ask(request(client_address=b"192.0.2.7", client_name=b"unknown"))
        finally:
            # It may be deaf to SIGTERM while its children are busy; its data are committed.
            sqlgrey.terminate()
            try:
                sqlgrey.wait(5)
            except subprocess.TimeoutExpired:
                sqlgrey.kill()
    told = answer_of("import", tmp_path / "sqlgrey.db", f"--dbdir={tmp_path}")
    assert told["source"] == "sqlgrey's database"
    assert told["unreadable"]["count"] == 0
    assert told["entries"]["triplets"]["imported"] == 1
    assert told["entries"]["clients"]["read"] == 1


# From another store of greyd's --------------------------------------------------------------------


def test_a_store_moves_to_another_with_all_that_it_holds(tmp_path: Path) -> None:
    file = f"sqlite:{tmp_path / 'greyd.db'}"
    records = {
        b"{192.0.2.0}/alice@example.com/bob@example.org": b"%d,%d,%d" % (NOW - 900, NOW, NOW),
        b"{192.0.2.0}/w%2fx@example.com/bob@example.org": b"%d" % (NOW - 10),
        b"{192.0.2.0}:192.0.2.7": b"4,%d" % NOW,
        b"{example.com}/alice@example.com/bob@example.org": b"%d,%d,%d"
        % (NOW - 900, NOW, NOW - 600),
        b"{example.com}:example.com": b"2,%d,%d" % (NOW, NOW - DAY),
        b"{example.com}~0123": b"%d" % NOW,
        b"control": b"{}",
        b"probe": b"%d" % NOW,
    }
    fill(file, records)
    with redis_server(tmp_path) as redis:
        url = f"redis://127.0.0.1:{redis.port}/0"
        told = answer_of("import", file, f"--store={url}", "--key-prefix=two:")
        kinds = ("triplets", "clients", "identity_triplets", "identities", "correspondences")
        assert [told["entries"][kind]["imported"] for kind in kinds] == [2, 1, 1, 1, 1]
        moved = {key: value for key, value in _content(url, "two:").items() if key != b"control"}
        expected = {key: value for key, value in records.items() if key not in _NOT_MOVED}
        assert moved == expected
        back = f"--store=sqlite:{tmp_path / 'back.db'}"
        answer_of("import", url, "--from-key-prefix=two:", back)
        assert {
            key: value
            for key, value in content(f"sqlite:{tmp_path / 'back.db'}").items()
            if key != b"control"
        } == expected
        same = run_here("import", url, f"--store={url}")
        assert same.returncode == 2
        assert "own store" in same.stderr


def test_the_hashes_of_rspamds_greylisting_are_not_entries(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        url = f"redis://127.0.0.1:{redis.port}/0"
        keys = {b"b" + b"y345h769" * 2 + b"ybnd": b"%d" % NOW, b"myb1ndrfg8ejkmcpqxot1": b"1.5"}
        fill(url, {**keys, b"mybndrfg8ejkmcpqxot1u": b"%d" % NOW}, key_prefix="rg")
        done = run_here("import", url, f"--dbdir={tmp_path}")
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert "keys of rspamd's greylisting" in line
        assert "greyd mode learn" in line
        told = run_here("import", url, f"--dbdir={tmp_path}", "--from-key-prefix=rg", "--json")
        assert json.loads(told.stdout)["not_taken_over"][0]["count"] == 2
        # Beside greyd's own entries they are not in the way.
        fill(url, {b"{192.0.2.0}:192.0.2.7": b"4,%d" % NOW})
        told = answer_of("import", url, f"--dbdir={tmp_path}")
        assert told["entries"]["clients"]["imported"] == 1


_NOT_MOVED = (b"control", b"probe")


def _content(url: str, prefix: str) -> dict[bytes, bytes]:
    from tests.commands import store_at

    async def read() -> dict[bytes, bytes]:
        async with store_at(url, prefix) as store:
            return {each.key: each.value async for group in store.records() for each in group}

    return asyncio.run(read())


def test_the_servers_own_file_is_no_source(tmp_path: Path) -> None:
    fill(f"sqlite:{tmp_path / 'greyd.db'}", {b"{192.0.2.0}:192.0.2.7": b"4,%d" % NOW})
    done = run_here("import", f"sqlite:{tmp_path / 'greyd.db'}", f"--dbdir={tmp_path}")
    assert done.returncode == 2
    assert "own store" in done.stderr


# What is none -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (None, "No such file"),
        (b"nonsense", "neither a dump"),
        (b"", "source: empty"),
        (b"SQLite format 3\0" + b"\0" * 100, "greyd: "),
    ],
)
def test_what_is_no_source_is_refused_in_a_line(
    tmp_path: Path, made: bytes | None, said: str
) -> None:
    source = tmp_path / "source"
    if made is not None:
        source.write_bytes(made)
    done = run_here("import", source, f"--dbdir={tmp_path}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "greyd.db").exists()


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (None, "{folder}: no postgrey.db in it; name the folder of postgrey --dbdir"),
        (lambda path: path.with_name("log.0000000001").touch(), "{folder}: no postgrey.db in it"),
        (lambda path: path.symlink_to("/etc/passwd"), "{folder}/postgrey.db: not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "{folder}/postgrey.db: not a regular file"),
        (os.mkfifo, "{folder}/postgrey.db: not a regular file"),
        (a_folder, "{folder}/postgrey.db: not a regular file"),
    ],
    ids=["empty", "logs alone", "link", "broken link", "pipe", "folder"],
)
def test_what_is_no_folder_of_postgreys_is_refused_in_a_line_with_or_without_db5_3_util(
    tmp_path: Path, make: Callable[[Path], None] | None, said: str
) -> None:
    folder = tmp_path / "postgrey"
    folder.mkdir()
    if make is not None:
        make(folder / "postgrey.db")
    done = run_here("import", folder, f"--dbdir={tmp_path}")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("greyd: " + said.format(folder=folder))
