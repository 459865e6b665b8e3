"""``greyd doctor`` and ``greyd postfix-config`` with real programs: all well, and each fault."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from tests.commands import run_here
from tests.integration.postfix import MASTER_CF, Client, attempt, postfix
from tests.integration.prometheus import prometheus_of
from tests.integration.test_redis_roles import sentinel
from tests.processes import (
    PolicyClient,
    Running,
    accepts,
    free_port,
    greyd,
    postgrey,
    program,
    redis_server,
    request,
    running,
    unavailable,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Runner = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.integration

WELL = {"ok", "hint"}
DURABLE = ("--appendonly", "yes", "--maxmemory-policy", "noeviction")

# What only a machine that systemd has booted can tell.
OF_SYSTEMD = ("process: unit", f"clocks: {os.uname().nodename}")


@dataclass
class Place:
    """A server's settings, where it and the doctor read them."""

    folder: Path
    port: int = field(default_factory=free_port)
    metrics: int = field(default_factory=free_port)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "greyd.toml"

    def write(self, **options: Any) -> None:
        """Write the settings, some of them otherwise than by default."""
        empty = self.folder / "empty"
        empty.touch()
        self.options = {
            "inet": f"127.0.0.1:{self.port}",
            "metrics": f"127.0.0.1:{self.metrics}",
            "dbdir": str(self.folder / "db"),
            "run_dir": str(self.folder / "db"),
            "store_timeout": 5,
            "whitelist_clients": str(empty),
            "whitelist_recipients": str(empty),
            **options,
        }
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in self.options.items())
        self.config.write_text("".join(lines))

    @contextlib.contextmanager
    def served(self, *options: str, **settings: Any) -> Iterator[Running]:
        """Run the server by these settings, as an unprivileged user where root starts it."""
        self.write(**settings)
        user = ["--user=nobody"] if os.geteuid() == 0 else []
        given = [f"--config={self.config}", *user, *options]
        # What the tests' servers are started with by default must not count more than the file.
        given += [f"--{key.replace('_', '-')}={value}" for key, value in self.options.items()
                  if key != "inet"]  # fmt: skip
        with greyd(self.folder, *given, port=self.port) as server:
            wait_until(lambda: accepts(self.metrics), "metrics")
            yield server


@pytest.fixture
def place() -> Iterator[Place]:
    # pytest's folders are closed to the server's user.
    with tempfile.TemporaryDirectory(prefix="greyd-doctor-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        db = folder / "db"
        db.mkdir(mode=0o750)
        if os.geteuid() == 0:
            shutil.chown(db, "nobody")
        made = Place(folder)
        made.write()
        yield made


@dataclass
class Look:
    """What the doctor has said."""

    status: int
    states: dict[str, str]
    seen: dict[str, str]
    remedies: dict[str, str]

    @property
    def wrong(self) -> dict[str, str]:
        return {check: state for check, state in self.states.items() if state in
                ("warning", "error")}  # fmt: skip


def look(
    place: Place, *options: str, postfix_folder: Path | None = None, runner: Runner = run_here
) -> Look:
    """Call the doctor; without a folder Postfix's part is left out.

    ``run_here`` as the runner is quicker, but the doctor then can't change the process's user,
    which it does for Unix sockets.
    """
    folder = [f"--main-cf={postfix_folder}"] if postfix_folder else []
    # The tests' own folder for records counts more than the file.
    record = f"--run-dir={place.folder / 'db'}"
    done = runner("doctor", f"--config={place.config}", record, "--json", *folder, *options)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    findings = [
        each
        for each in json.loads(done.stdout)
        if postfix_folder or not each["check"].startswith(("postfix", "tips", "order"))
    ]
    keys = {"check", "state", "seen", "remedy", "commands"}
    assert all(set(each) == keys for each in findings)
    assert all(each["remedy"] for each in findings if each["state"] in ("warning", "error"))
    found = Look(
        done.returncode,
        {each["check"]: each["state"] for each in findings},
        {each["check"]: each["seen"] for each in findings},
        {each["check"]: each["remedy"] for each in findings},
    )
    if postfix_folder:
        assert done.returncode == bool(found.wrong)
    return found


def write_postfix(folder: Path, main: str, master: str) -> None:
    """Write both files, and make them look older: Postfix sleeps before it reads new ones."""
    for name, text in (("main.cf", main), ("master.cf", master)):
        (folder / name).write_text(text)
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))


def advice(place: Place, *options: str) -> str:
    """Return what ``greyd postfix-config`` prints."""
    done = run_here("postfix-config", f"--config={place.config}", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


# All well -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_good_setup_has_only_hints_and_greylists_mail(
    place: Place, tmp_path: Path, store: str
) -> None:
    if os.geteuid() != 0:
        unavailable("only root can see who listens, and start Postfix")
    with contextlib.ExitStack() as ends:
        settings: dict[str, Any] = {"delay": 1}
        if store == "redis":
            redis = ends.enter_context(redis_server(tmp_path, *DURABLE))
            settings["store"] = f"redis://127.0.0.1:{redis.port}/0"
        ends.enter_context(place.served(**settings))
        lines = advice(place, "--minimal")
        mail = ends.enter_context(postfix(tmp_path, main_cf=lines, mx=""))
        client = Client("192.0.2.7", "mail.example.com")
        sender = f"{store}@example.com"
        first = attempt(mail.ports["mx"], client, sender, "bob@example.org")
        assert not first.taken
        assert first.replies[0].startswith("450 4.2.0")
        time.sleep(1.5)
        second = attempt(mail.ports["mx"], client, sender, "bob@example.org")
        assert second.taken
        mail.sink.wait_for(second.subject)

        found = look(place, "--thorough", postfix_folder=mail.etc)
        assert found.wrong == {}
        assert found.status == 0
        unknown = [check for check, state in found.states.items() if state not in WELL]
        assert [check for check in unknown if check not in OF_SYSTEMD] == []
        for check in ("server: is greyd", "server: ready", "postfix: policy service",
                      "postfix: relaying", "store: answers", "process: user",
                      "whitelists: in use"):  # fmt: skip
            assert found.states[check] == "ok", check


def test_postfix_accepts_the_recommended_lines_and_the_doctor_finds_no_fault(
    place: Place, tmp_path: Path
) -> None:
    with place.served(), postfix(tmp_path, main_cf=advice(place), mx="") as mail:
        checked = subprocess.run(
            [program("postfix"), "-c", mail.etc, "check"], capture_output=True, text=True
        )
        assert (checked.returncode, "fatal" in checked.stderr) == (0, False)
        # Each is answered by a check that needs no DNS; behind them, the list is read to its end.
        nameless = attempt(mail.ports["mx"], Client("192.0.2.7"), "", "bob@example.org")
        assert "cannot find your reverse hostname" in nameless.replies[0]
        known = Client("192.0.2.8", "known.example.net")
        assert attempt(mail.ports["mx"], known, "", "bob@example.org").taken
        found = look(place, postfix_folder=mail.etc)
        assert {
            check: state
            for check, state in found.wrong.items()
            if check.startswith(("postfix", "tips", "order"))
            # The lines override those of the test's own main.cf.
            and "overriding earlier entry" not in found.seen[check]
        } == {}
        tips = [check for check, state in found.states.items() if check.startswith("tips")
                and state != "ok"]  # fmt: skip
        assert tips == ["tips: 3 clients whose name and address do not match"]
        assert "Server configuration" not in mail.maillog.read_text()


def test_without_json_the_verdict_comes_first_and_what_is_fine_is_a_count(place: Place) -> None:
    with place.served():
        short = run_here("doctor", f"--config={place.config}").stdout
        whole = run_here("doctor", f"--config={place.config}", "-v").stdout
    assert re.match("Problems found: |Working, with |No problems found|All is well", short)
    assert re.search(r"^\d+ ok, \d+ hints? \(-v shows them\)\.$", short, re.MULTILINE)
    assert "its counters have counted" not in short
    assert "  ok           is greyd: its counters have counted" in whole


def test_the_doctor_changes_no_entry(place: Place, tmp_path: Path) -> None:
    with redis_server(tmp_path, *DURABLE) as server, Redis(port=server.port) as redis:
        with place.served(store=f"redis://127.0.0.1:{server.port}/0"):
            with PolicyClient(place.port) as client:
                client.ask(request())
            before = {key: redis.get(key) for key in redis.keys()}  # noqa: SIM118 - no dictionary
            look(place)
            after = {key: redis.get(key) for key in redis.keys()}  # noqa: SIM118
        before.pop(b"greyd:probe", None)
        assert 0 < redis.ttl("greyd:probe") <= 60
        after.pop(b"greyd:probe")
        assert before == after
        assert before


# The server ---------------------------------------------------------------------------------------


def test_a_server_that_does_not_run_is_found(place: Place) -> None:
    found = look(place)
    assert found.status == 1
    assert found.states[f"server: 127.0.0.1:{place.port}"] == "error"
    assert "Connection refused" in found.seen[f"server: 127.0.0.1:{place.port}"]
    assert found.states["server: is greyd"] == "not checked"


def test_a_postgrey_that_listens_instead_of_greyd_is_found(place: Place, tmp_path: Path) -> None:
    # Without its record the server's sockets are those of the settings.
    with postgrey(tmp_path) as old, place.served(run_dir=str(place.folder)):
        place.port = old.port
        place.write()
        found = look(place)
    assert found.states[f"server: 127.0.0.1:{old.port}"] == "error"
    assert "this is not greyd" in found.seen[f"server: 127.0.0.1:{old.port}"]
    if os.geteuid() == 0:
        assert found.states["process: program"] == "error"
        assert f"process {old.process.pid}" in found.seen["process: program"]


def test_a_greyd_that_the_metrics_do_not_belong_to_is_found(place: Place, tmp_path: Path) -> None:
    with greyd(tmp_path) as other, place.served(run_dir=str(place.folder)):
        place.port = other.port
        place.write()
        found = look(place)
    assert found.states[f"server: 127.0.0.1:{other.port}"] == "ok"
    assert found.states["server: is greyd"] == "error"


def test_without_metrics_the_answers_show_that_greyd_answers(place: Place, tmp_path: Path) -> None:
    with greyd(tmp_path, port=place.port):
        place.write(metrics=0)
        found = look(place)
    assert found.states[f"server: 127.0.0.1:{place.port}"] == "ok"
    assert found.states["server: is greyd"] == "ok"
    assert "its answers are those of greyd" in found.seen["server: is greyd"]


def test_unix_sockets_and_several_workers_are_checked(place: Place) -> None:
    path = place.folder / "socket"
    with place.served("--workers=2", unix=str(path)):
        found = look(place)
    assert found.states[f"server: {path}"] == "ok"
    assert found.states["server: is greyd"] == "ok"
    assert "2 requests" in found.seen["server: is greyd"]
    assert found.states["server: version"] == "ok"


@pytest.mark.parametrize(
    ("options", "folder_mode", "state"),
    [
        (["--socketmode=0666"], 0o755, "ok"),
        (["--socketmode=0660", "--group=postfix"], 0o755, "ok"),
        (["--socketmode=0660"], 0o755, "error"),
        (["--socketmode=0666"], 0o750, "error"),
    ],
)
def test_a_unix_socket_is_opened_with_the_rights_of_postfix(
    place: Place, options: list[str], folder_mode: int, state: str
) -> None:
    if os.geteuid() != 0:
        unavailable("only root can look as somebody else")
    program("postconf")
    run_folder = place.folder / "run"
    run_folder.mkdir()
    run_folder.chmod(folder_mode)
    with place.served(*options, unix=str(run_folder / "socket")):
        found = look(place)
    assert found.states[f"server: {run_folder}/socket"] == state
    assert "Postfix's user postfix" in found.seen[f"server: {run_folder}/socket"]


def test_a_server_that_runs_as_root_is_found(place: Place) -> None:
    if os.geteuid() != 0:
        unavailable("only root can start it so")
    place.write()
    with greyd(place.folder, f"--config={place.config}", "--user=root", port=place.port):
        found = look(place)
    assert found.states["process: user"] == "warning"


def test_scrapes_by_a_prometheus_are_ok(place: Place, tmp_path: Path) -> None:
    with place.served():
        assert look(place).states["metrics: scraped"] == "hint"
        with prometheus_of(tmp_path, place.metrics):
            wait_until(lambda: look(place).states["metrics: scraped"] == "ok", "scraped")


def test_other_exchangers_are_checked(place: Place, tmp_path: Path) -> None:
    metrics = free_port()
    with place.served(), greyd(tmp_path, f"--metrics=127.0.0.1:{metrics}"):
        wait_until(lambda: accepts(metrics), "metrics")
        name = f"127.0.0.1:{metrics}"
        found = look(place, f"--server=http://{name}")
        assert found.states[f"exchangers: {name}: version"] == "ok"
        assert found.states[f"clocks: {name}"] == "ok"
    gone = look(place, f"--server=http://{name}")
    assert gone.states[f"exchangers: {name}"] == "error"


# Whitelists ---------------------------------------------------------------------------------------


def test_a_whitelist_that_the_server_has_not_read_yet_is_found(place: Place) -> None:
    clients = place.folder / "clients"
    clients.write_text("example.com\n")
    with place.served(whitelist_clients=str(clients)):
        assert look(place).states["whitelists: in use"] == "ok"
        clients.write_text("example.com\nexample.net\n")
        assert look(place).states["whitelists: in use"] == "hint"
        clients.write_text("example.com\nexample net\n")
        found = look(place)
        assert found.states["whitelists: lines"] == "warning"
        assert f"{clients}:2" in found.seen["whitelists: lines"]
        if os.geteuid() == 0:
            assert found.states["whitelists: readable"] == "ok"
            clients.chmod(0o600)
            assert look(place).states["whitelists: readable"] == "error"


# Stores -------------------------------------------------------------------------------------------


def test_a_file_that_all_can_read_is_found(place: Place) -> None:
    with place.served():
        assert look(place).states["store: secrecy"] == "ok"
        (place.folder / "db" / "greyd.db").chmod(0o644)
        (place.folder / "db").chmod(0o755)
        found = look(place)
    assert found.states["store: secrecy"] == "warning"
    assert "chmod 0600" in found.remedies["store: secrecy"]


def test_the_faults_of_a_redis_are_found(place: Place, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, Redis(port=server.port) as redis:
        with place.served(store=f"redis://127.0.0.1:{server.port}/0"):
            found = look(place)
            assert found.states["store: durable"] == "error"
            assert found.states["store: answers"] == "ok"
            redis.config_set("save", "3600 1")
            assert look(place).states["store: durable"] == "warning"
            redis.config_set("appendonly", "yes")
            assert look(place).states["store: durable"] == "ok"
            redis.config_set("maxmemory", "500mb")
            redis.config_set("maxmemory-policy", "volatile-lru")
            assert look(place).states["store: evicts nothing"] == "error"
            redis.config_set("bind", "*")
            assert look(place).states["store: closed to others"] == "hint"
            redis.config_set("protected-mode", "no")
            assert look(place).states["store: closed to others"] == "error"
            redis.config_set("requirepass", "geheim")
            place.write(store=f"redis://:geheim@127.0.0.1:{server.port}/0")
            done = run_here("doctor", f"--config={place.config}")
            assert "geheim" not in done.stdout + done.stderr
            assert look(place).states["store: closed to others"] == "ok"
        place.write(store=f"redis://127.0.0.1:{server.port}/0")
        assert look(place).states["store: answers"] == "error"


def test_a_store_that_is_down_is_found(place: Place, tmp_path: Path) -> None:
    with contextlib.ExitStack() as ends:
        server = ends.enter_context(redis_server(tmp_path, *DURABLE))
        ends.enter_context(place.served(store=f"redis://127.0.0.1:{server.port}/0"))
        server.stop()
        with PolicyClient(place.port) as client:
            client.ask(request())
        found = look(place)
    assert found.states["store: answers"] == "error"
    assert found.states["store: as the server sees it"] == "error"
    assert found.states["server: ready"] == "error"


def test_facts_that_a_user_may_not_read_are_not_checked(place: Place, tmp_path: Path) -> None:
    with contextlib.ExitStack() as ends:
        server = ends.enter_context(redis_server(tmp_path, *DURABLE))
        redis = ends.enter_context(Redis(port=server.port))
        # As docs/security.md has it.
        needed = "on >geheim ~greyd:* +evalsha +eval +mget +set +get +pttl +scan +client|setname"
        redis.execute_command("ACL", "SETUSER", "greyd", *needed.split())
        redis.execute_command("ACL", "SETUSER", "default", "off")
        ends.enter_context(place.served(store=f"redis://greyd:geheim@127.0.0.1:{server.port}/0"))
        found = look(place)
    assert found.states["store: answers"] == "ok"
    assert found.states["store: Redis"] == "not checked"
    assert found.states["store: closed to others"] == "not checked"
    assert found.states["clocks: Redis"] == "not checked"
    assert "ACL SETUSER" in found.remedies["store: Redis"]


def test_every_sentinel_is_checked(place: Place, tmp_path: Path) -> None:
    with redis_server(tmp_path, *DURABLE) as master, contextlib.ExitStack() as ends:
        ports = [ends.enter_context(sentinel(tmp_path, master.port)) for _ in range(3)]

        def store(*named: int) -> str:
            return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in named)}/mail/0"

        with place.served(store=store(*ports)):
            found = look(place)
            assert found.states["store: Sentinels"] == "ok"
            assert f"master 127.0.0.1:{master.port}" in found.seen["store: Sentinels"]
            place.write(store=store(*ports[:2], free_port()))
            assert look(place).states["store: Sentinels"] == "warning"


def test_every_master_of_a_cluster_is_checked(place: Place, tmp_path: Path) -> None:
    port = free_port()
    while port > 55_000:  # the bus has its port 10000 above
        port = free_port()
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1",
               "--dir", str(tmp_path), "--cluster-enabled", "yes", *DURABLE]  # fmt: skip
    with running(command, tmp_path, port, lambda: accepts(port)), Redis(port=port) as redis:
        redis.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: redis.cluster("info")["cluster_state"] == "ok", "state ok")
        with place.served(store=f"redis+cluster://127.0.0.1:{port}"):
            found = look(place)
    assert found.states["store: Cluster"] == "ok"
    assert found.states["store: durable"] == "ok"


# Postfix ------------------------------------------------------------------------------------------

OURS = "inet:127.0.0.1:10023"
MASTER = MASTER_CF + "smtp inet n - n - - smtpd\n"
SUBMISSION = """\
submission inet n - n - - smtpd
  -o smtpd_recipient_restrictions=$mua_recipient_restrictions
  -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }
"""


@pytest.mark.parametrize(
    ("main", "master", "check", "state"),
    [
        ("", "", "postfix: policy service", "error"),
        (f"smtpd_recipient_restrictions = check_policy_service {OURS}", "",
         "postfix: policy service", "ok"),
        (f"""rest = permit_mynetworks,
   # a comment
   reject_unauth_destination
smtpd_recipient_restrictions =
   $rest,
   check_policy_service {{ {OURS},
       timeout = 10s }}
""", "", "postfix: policy service", "ok"),
        (f"""smtpd_restriction_classes = greylist
greylist = check_policy_service {OURS}
smtpd_recipient_restrictions = reject_unauth_destination greylist
""", "", "postfix: policy service", "ok"),
        (f"smtpd_recipient_restrictions = check_policy_service {OURS}", "",
         "postfix: timeout", "warning"),
        (f"smtpd_recipient_restrictions = check_policy_service {OURS}", "",
         "postfix: default action", "warning"),
        (f"""smtpd_policy_service_timeout = 10s
smtpd_recipient_restrictions = check_policy_service {OURS}""", "", "postfix: timeout", "ok"),
        (f"smtpd_recipient_restrictions = check_policy_service {{ {OURS}, timeout=10s }}", "",
         "postfix: timeout", "ok"),
        (f"smtpd_recipient_restrictions = permit check_policy_service {OURS}", "",
         "postfix: place", "error"),
        (f"smtpd_data_restrictions = check_policy_service {OURS}", "", "postfix: place", "error"),
        ("smtpd_recipient_restrictions = check_policy_service unix:postgrey/socket", "",
         "postfix: policy service", "error"),
        ("smtpd_recipient_restriction = permit", "", "postfix: files", "warning"),
        ("local_thing = permit", "", "postfix: files", "hint"),
        ("myhostname = a.example\nmyhostname = b.example", "", "postfix: files", "warning"),
        (f"""smtpd_recipient_restrictions =
   reject_unauth_destination,
check_policy_service {OURS}""", "", "postfix: files", "error"),
        ("hello world", "", "postfix: files", "error"),
        ("mydomain = $b\nb = $mydomain", "", "postfix: files", "error"),
        ("smtpd_recipient_restrictions = ${mynetworks?permit", "", "postfix: files", "error"),
        ("", "submission inet n - n - smtpd\n", "postfix: files", "error"),
        ("", "submission inet n - n - - smtpd\n-o syslog_name=x\n", "postfix: files", "error"),
        ("", "submission inett n - n - - smtpd\n", "postfix: files", "error"),
        ("", "2525 inet n - n - - smtpd\n  -o smtpd_helo_restrictions=permit, reject\n",
         "postfix: files", "error"),
        ("", "2525 inet n - n - - smtpd\n  -o { smtpd_helo_restrictions = permit\n",
         "postfix: files", "error"),
        ("", "smtp inet n - n - - smtpd\n" * 2, "postfix: files", "warning"),
        (f"""smtpd_recipient_restrictions = ${{mynetworks?{{permit_mynetworks}}:{{reject}}}},
   check_policy_service {OURS}""", "", "postfix: restrictions", "ok"),
        ("smtpd_recipient_restrictions = permit_mynetwork, check_policy_servce inet:127.0.0.1:9",
         "", "postfix: restrictions", "error"),
        ("smtpd_client_restrictions = check_client_access hash:/nonexistent/file", "",
         "postfix: restrictions", "error"),
        ("smtpd_client_restrictions = check_client_access nosuchtype:/etc/passwd", "",
         "postfix: restrictions", "error"),
        ("smtpd_restriction_classes = gone-class", "", "postfix: restrictions", "error"),
        (f"""smtpd_milters = inet:rspamd.example.org:11332
smtpd_recipient_restrictions = check_policy_service {OURS}""", "", "postfix: other greylisting",
         "warning"),
        (f"smtpd_recipient_restrictions = check_policy_service {OURS}",
         """25 inet n - n - 1 postscreen
  -o postscreen_bare_newline_enable=yes
smtpd pass - - n - - smtpd
""", "postfix: postscreen", "warning"),
        ("smtpd_recipient_restrictions = reject_unauth_destination, rejekt_all", "",
         "postfix: restrictions", "error"),
        (f"""mua_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = check_policy_service {OURS}""", SUBMISSION,
         "postfix: submission (submission)", "ok"),
        (f"""mua_recipient_restrictions = check_policy_service {OURS}, reject
smtpd_sasl_auth_enable = yes
smtpd_recipient_restrictions = check_policy_service {OURS}""", SUBMISSION,
         "postfix: submission (submission)", "hint"),
        ("postscreen_pipelining_enable = yes",
         "25 inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd\n",
         "postfix: postscreen", "warning"),
    ],
)  # fmt: skip
def test_main_cf_is_parsed_as_postfix_does(
    tmp_path: Path, main: str, master: str, check: str, state: str
) -> None:
    program("postconf")
    place = Place(tmp_path, port=10023)
    place.write()
    write_postfix(tmp_path, f"compatibility_level = 3.6\n{main}\n", MASTER + master)
    found = look(place, postfix_folder=tmp_path, runner=run_here)
    assert found.states[check] == state, found.seen
    if check == "postfix: files" and state == "error":
        assert found.status == 1
        assert re.search(r"(main|master)\.cf", found.seen[check])


def test_the_file_and_the_line_that_postfix_cannot_read_are_named(
    place: Place, tmp_path: Path
) -> None:
    program("postconf")
    for text, line in (
        ("a = b\n\nsmtpd_recipient_restrictions =\n  permit,\nreject\n", 5),
        ("a = b\n# c\nsmtpd_helo_restrictions =\n  permit\n  ${f\n", 3),
    ):
        write_postfix(tmp_path, text, MASTER)
        found = look(place, postfix_folder=tmp_path, runner=run_here)
        assert f"{tmp_path}/main.cf:{line}: " in found.seen["postfix: files"]
        assert f"postconf -c {tmp_path} -n" in found.remedies["postfix: files"]
    write_postfix(tmp_path, "a = b\n", f"{MASTER}25 inett n - n - - smtpd\n")
    found = look(place, postfix_folder=tmp_path, runner=run_here)
    last = len(MASTER.splitlines()) + 1
    assert f"{tmp_path}/master.cf:{last}: " in found.seen["postfix: files"]


def test_a_second_postgrey_is_known_by_its_process(place: Place, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        unavailable("only root can see who listens")
    program("postconf")
    with postgrey(tmp_path) as old, place.served():
        write_postfix(
            tmp_path,
            "compatibility_level = 3.6\nsmtpd_client_restrictions ="
            f" check_policy_service inet:127.0.0.1:{old.port}\nsmtpd_recipient_restrictions ="
            f" check_policy_service inet:127.0.0.1:{place.port}\n",
            MASTER,
        )
        found = look(place, postfix_folder=tmp_path)
    check = "postfix: other greylisting"
    assert (found.states[check], "looks like postgrey" in found.seen[check]) == ("warning", True)
    assert found.remedies[check].startswith(f"{tmp_path}/main.cf: remove check_policy_service")


def test_the_doctors_requests_do_not_count_as_mail(place: Place) -> None:
    with place.served() as server:
        with PolicyClient(place.port) as client:
            client.ask(request(sasl_username="alice"))
        found = look(place)
        assert found.states["server: is greyd"] == "ok"
        text = urllib.request.urlopen(f"http://127.0.0.1:{place.metrics}/metrics").read().decode()
        assert 'greyd_requests_total{action="pass",reason="authenticated"} 1.0' in text
        assert "greyd_doctor_probes_total 1.0" in text
        assert server.log().count("action=") == 1
        assert "greyd-doctor@" not in server.log()


def test_main_cf_may_be_named_by_its_file_or_its_folder(place: Place, tmp_path: Path) -> None:
    program("postconf")
    write_postfix(tmp_path, "hello world\n", MASTER)
    for given in (f"--main-cf={tmp_path}", f"--main-cf={tmp_path}/main.cf",
                  f"--config-dir={tmp_path}"):  # fmt: skip
        done = run_here("doctor", f"--config={place.config}", given)
        assert done.returncode == 1
        assert f"{tmp_path}/main.cf:1: " in done.stdout


def test_a_folder_without_main_cf_is_an_error(place: Place, tmp_path: Path) -> None:
    program("postconf")
    found = look(place, postfix_folder=tmp_path)
    assert found.states["postfix: files"] == "error"
    assert "No such file" in found.seen["postfix: files"]


def test_invalid_settings_end_the_command(place: Place) -> None:
    place.config.write_text("delay = 'soon'\n")
    done = run_here("doctor", f"--config={place.config}", f"--dbdir={place.folder / 'db'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "delay" in done.stderr


def test_the_recommended_lines_for_submission_have_no_fault(place: Place, tmp_path: Path) -> None:
    program("postconf")
    place.write(learn_outbound=True, identity="spf")
    lines = advice(place)
    main = f"compatibility_level = 3.6\n{lines}\n"
    own = "  -o smtpd_recipient_restrictions=$submission_recipient_restrictions\n"
    assert own.strip() in lines
    submission = f"{MASTER}submission inet n - n - - smtpd\n"
    write_postfix(tmp_path, main, submission + own)
    found = look(place, postfix_folder=tmp_path, runner=run_here)
    assert found.states["postfix: submission (submission)"] == "ok"
    assert found.states["postfix: policy service"] == "ok"
    write_postfix(tmp_path, main, submission)
    found = look(place, postfix_folder=tmp_path, runner=run_here)
    assert found.states["postfix: submission (submission)"] == "warning"


def test_the_recommended_lines_are_available_as_json(place: Place) -> None:
    said = json.loads(advice(place, "--json", "--minimal"))
    assert said == {"text": advice(place, "--minimal")}
    assert f"inet:127.0.0.1:{place.port}" in advice(place, "--exim")
