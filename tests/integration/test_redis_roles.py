"""Redis with Sentinel, as a Cluster, over TLS with an ACL user, over a Unix socket: real ones."""

from __future__ import annotations

import contextlib
import functools
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.integration.lives import has_said
from tests.integration.load import GREYLISTED, HEADER, PASSED, PATIENT, Mails, Site, ask_all, trial
from tests.processes import (
    PolicyClient,
    Running,
    accepts,
    free_port,
    greyd,
    program,
    redis_server,
    request,
    running,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

NOW = 1_700_000_000
DELAY = 300


@contextlib.contextmanager
def talking_to(port: int) -> Iterator[Redis]:
    with Redis(port=port, socket_timeout=5) as client:
        yield client


def kill(server: Running) -> None:
    server.process.kill()
    server.process.wait(10)


def answers(ask: Callable[[], object]) -> bool:
    """Whether something is answered with more than an error, and truly."""
    with contextlib.suppress(RedisError):
        return bool(ask())
    return False


# Sentinel -----------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A master, its replica, and three sentinels."""

    master: Running
    replica: Running
    sentinels: list[int] = field(default_factory=list)

    @property
    def store(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"--store=redis+sentinel://{hosts}/mail/0"

    def master_port(self) -> int:
        """Return who is the master, as the first sentinel that answers says."""
        with talking_to(self.sentinels[-1]) as sentinel:
            return int(sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mail")[1])


SENTINEL = """\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor mail 127.0.0.1 {master} 2
sentinel down-after-milliseconds mail 500
sentinel failover-timeout mail 3000
"""


@contextlib.contextmanager
def sentinel(folder: Path, master: int, more: str = "") -> Iterator[int]:
    port = free_port()
    config = folder / f"sentinel-{port}.conf"
    config.write_text(SENTINEL.format(port=port, folder=folder, master=master) + more + "\n")
    command = [program("redis-sentinel"), str(config)]
    with running(command, folder, port, lambda: accepts(port)):
        yield port


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with contextlib.ExitStack() as ends:
        # A replica waits 5 s by default for others that might want a copy, too.
        options = ["--repl-diskless-sync-delay", "0"]
        master = ends.enter_context(redis_server(tmp_path, *options))
        following = [*options, "--replicaof", "127.0.0.1", str(master.port)]
        replica = ends.enter_context(redis_server(tmp_path, *following))
        all_of_them = Watched(master, replica)
        for _ in range(3):
            port = ends.enter_context(sentinel(tmp_path, master.port))
            all_of_them.sentinels.append(port)
        for port in all_of_them.sentinels:
            with talking_to(port) as client:
                wait_until(functools.partial(knows_all, client), "the sentinels know each other")
        yield all_of_them


def knows_all(client: Redis) -> bool:
    master = client.sentinel_master("mail")
    return (master["num-other-sentinels"], master["num-slaves"]) == (2, 1)


def test_a_failover_by_sentinel_costs_mail_nothing_but_a_few_seconds_of_greylisting(
    watched: Watched, tmp_path: Path
) -> None:
    with trial("Sentinel, master killed", tmp_path, watched.store, "--test-time") as mail:
        mail.normal()
        with PolicyClient(mail.server.port) as client:
            waiting = request(sender="waits@example.net", client_address="198.51.100.1")
            reply = client.ask({**waiting, "policy_test_time": str(NOW)})
            assert GREYLISTED in str(reply)
            with talking_to(watched.replica.port) as replica:
                wait_until(lambda: has_it(replica), "replicated")
            mail.begins()
            kill(watched.master)
            mail.away(1)
            wait_until(lambda: watched.master_port() == watched.replica.port, "promotion", 20)
            mail.note(f"promoted {time.monotonic() - mail.fault_at:.1f} s after the death")
            figures = mail.returns()
            assert figures.actions[PASSED] == 0, "the new master does not know the script"
            reply = client.ask({**waiting, "policy_test_time": str(NOW + DELAY + 1)})
            assert HEADER in str(reply), "what the old master knew"
            mail.asked_beside(2)


def has_it(replica: Redis) -> bool:
    return bool(replica.keys("*waits@example.net*"))


def test_a_failover_by_hand_and_a_dead_sentinel_are_no_obstacle(
    watched: Watched, tmp_path: Path
) -> None:
    # The first that is named is not there.
    watched.sentinels.insert(0, free_port())
    with trial("Sentinel, failover by hand", tmp_path, watched.store) as mail:
        mail.normal()
        with talking_to(watched.sentinels[-1]) as one:
            one.execute_command("SENTINEL", "FAILOVER", "mail")
        wait_until(lambda: watched.master_port() == watched.replica.port, "failover", 20)
        figures = mail.returns()
        assert figures.actions[PASSED] == 0


def test_a_sentinel_that_knows_no_such_master_lets_mail_pass(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis, sentinel(tmp_path, redis.port) as port:
        store = f"--store=redis+sentinel://127.0.0.1:{port}/letters/0"
        with trial("Sentinel, unknown master", tmp_path, store) as mail:
            mail.away(0.5)
            assert "letters" in " ".join(mail.said())


# Cluster ------------------------------------------------------------------------------------------


def cluster_port() -> int:
    """Return a free port whose companion for the bus, 10,000 above, can be had as well."""
    while True:
        port = free_port()
        if port < 55_000 and not accepts(port + 10_000):
            return port


@dataclass
class Nodes:
    """The three masters of a Cluster."""

    folder: Path
    ends: contextlib.ExitStack
    nodes: list[Running] = field(default_factory=list)

    @property
    def store(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"--store=redis+cluster://{hosts}"

    def begin(self, port: int) -> Running:
        """Start a node, or start it again."""
        node = self.ends.enter_context(
            redis_server(
                self.folder, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
                "--cluster-require-full-coverage", "no",
                "--cluster-config-file", f"nodes-{port}.conf", port=port,
            )
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def cli(self, *arguments: str) -> str:
        """Run ``redis-cli --cluster``."""
        command = [program("redis-cli"), "--cluster", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ids(self) -> dict[int, str]:
        """Return the nodes' names by port."""
        found = {}
        for node in self.nodes:
            with talking_to(node.port) as client:
                found[node.port] = str(client.execute_command("CLUSTER", "MYID").decode())
        return found

    def owner(self, key: bytes) -> Running:
        """Return the node that has a key's slot."""
        with talking_to(self.nodes[0].port) as client:
            for first, last, master, *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= key_slot(key) <= last:
                    return next(node for node in self.nodes if node.port == master[1])
        raise AssertionError("nobody has it")

    def all_agree(self) -> bool:
        """Whether each node knows of every slot, and of who has it."""
        views = set()
        for node in self.nodes:
            with talking_to(node.port) as client:
                info = client.execute_command("CLUSTER", "INFO")
                text = info.decode() if isinstance(info, bytes) else str(info)
                if "ok" not in text or "16384" not in text:
                    return False
                slots = client.execute_command("CLUSTER", "SLOTS")
                views.add(str(sorted((each[0], each[1], each[2][1]) for each in slots)))
        return len(views) == 1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with contextlib.ExitStack() as ends:
        nodes = Nodes(tmp_path_factory.mktemp("cluster"), ends)
        for _ in range(3):
            nodes.begin(cluster_port())
        hosts = [f"127.0.0.1:{node.port}" for node in nodes.nodes]
        nodes.cli("create", *hosts, "--cluster-yes")
        wait_until(nodes.all_agree, "the nodes agree")
        yield nodes


def pass_through(folder: Path, *options: str) -> None:
    """See the whole of a mail's life: new, early, in time with one header, then known."""
    metrics = free_port()
    with greyd(folder, "--test-time", PATIENT, f"--metrics={metrics}", *options) as server:
        wait_until(lambda: Site(metrics).status("/readyz") == 200, "the store")
        mails = [[Mails("life", NOW + second)(n) for n in range(60)] for second in (0, 1, 300, 400)]
        actions = [[each.split()[0] for each in ask_all(server.port, some)] for some in mails]
        life = [{GREYLISTED}, {GREYLISTED}, {HEADER}, {PASSED}]
        assert [set(each) for each in actions] == life, server.log()[:2000]


def test_a_mail_s_whole_life_on_a_cluster(cluster: Nodes, tmp_path: Path) -> None:
    pass_through(tmp_path, cluster.store, "--key-prefix=life:")
    sizes = []
    for node in cluster.nodes:
        with talking_to(node.port) as client:
            sizes.append(len(client.keys("life:*")))
    # A probe, since when hits are counted, and two keys of each of the clients.
    assert sum(sizes) == 2 + 2 * 60
    assert min(sizes) > 5, "all nodes have their share"


def test_private_keys_in_different_slots_of_a_cluster(cluster: Nodes, tmp_path: Path) -> None:
    pass_through(tmp_path, cluster.store, "--key-prefix=private:", "--privacy")
    places = set()
    for node in cluster.nodes:
        with talking_to(node.port) as client:
            places |= {key_slot(key) for key in client.keys("private:*")}
    assert len(places) > 100, "triplets and clients are all over the Cluster"


def test_moving_slots_lets_no_mail_pass(cluster: Nodes, tmp_path: Path) -> None:
    ids = cluster.ids()
    source, target, _ = cluster.nodes
    with trial("Cluster, 1,500 slots moved", tmp_path, cluster.store, PATIENT) as mail:
        mail.normal()
        begin = time.monotonic()
        cluster.cli(
            "reshard", f"127.0.0.1:{source.port}",
            "--cluster-from", ids[source.port], "--cluster-to", ids[target.port],
            "--cluster-slots", "1500", "--cluster-yes",
        )  # fmt: skip
        figures = mail.load.since(begin)
        mail.note(f"moving took {figures.seconds:.1f} s: {figures}; {mail.said()}")
        assert figures.actions[PASSED] == 0, "a slot on the move is not a store that is away"
        mail.returns()
    wait_until(cluster.all_agree, "the nodes agree")


def test_mail_of_a_slot_on_the_move_is_still_greylisted(cluster: Nodes, tmp_path: Path) -> None:
    key = b"slot:{192.0.2.0}/alice@example.com/bob@example.org"
    slot = key_slot(key)
    source = cluster.owner(key)
    target = next(node for node in cluster.nodes if node is not source)
    ids = cluster.ids()
    options = (cluster.store, "--key-prefix=slot:", "--test-time", PATIENT)
    with (
        greyd(tmp_path, *options) as server,
        PolicyClient(server.port) as client,
        talking_to(source.port) as old,
        talking_to(target.port) as new,
    ):

        def ask(recipient: str, now: int) -> str:
            mail = request(recipient=recipient, policy_test_time=str(now), instance=None)
            return str(client.ask(mail)).removeprefix("action=").split()[0]

        assert ask("bob@example.org", NOW) == GREYLISTED
        new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
        old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
        try:
            # The known triplet is here, its client nowhere; of the new one neither is.
            half_way = [ask("bob@example.org", NOW + 1), ask("carol@example.org", NOW + 1)]
            passed = ask("bob@example.org", NOW + DELAY)
        finally:
            for name in old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                old.execute_command("MIGRATE", "127.0.0.1", target.port, name, 0, 5000)
            for node in (new, old):
                node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])
            wait_until(cluster.all_agree, "the nodes agree")
        afterwards = [ask("bob@example.org", NOW + 400), ask("carol@example.org", NOW + 400)]
        assert half_way == [GREYLISTED, GREYLISTED], server.log()
    assert passed == HEADER
    assert afterwards == [PASSED, HEADER]


def test_a_lost_master_of_a_cluster_stops_no_mail(cluster: Nodes, tmp_path: Path) -> None:
    # Not the one that has the probe's key: the probe alone does not see that it is missing.
    having_probe = cluster.owner(b"greyd:probe")
    lost = next(node for node in cluster.nodes if node is not having_probe)
    with trial("Cluster, a master lost", tmp_path, cluster.store) as mail:
        mail.normal()
        kill(lost)
        cluster.nodes.remove(lost)
        # Two thirds of the mail may be greylisted meanwhile, so there is no more to say of that.
        time.sleep(3.5)
        figures = mail.load.since(mail.fault_at)
        lines = mail.said()
        mail.note(f"away: {figures}; {len(lines)} log lines: {lines}")
        assert figures.actions[PASSED] > 0
        assert len(lines) <= figures.seconds + 1
        assert mail.site.sample("greyd_store_errors_total") > 0
        assert mail.site.status("/healthz") == 200
        cluster.begin(lost.port)
        mail.returns()
    wait_until(cluster.all_agree, "the nodes agree")


@pytest.mark.parametrize("policy", ["pass", "defer"])
def test_slots_that_nobody_has_are_a_store_that_is_away_and_then_greylisted_again(
    cluster: Nodes, tmp_path: Path, policy: str
) -> None:
    # Not those of the probe's key: the probe alone does not see that they are missing.
    owner = next(node for node in cluster.nodes if node is not cluster.owner(b"greyd:probe"))
    with talking_to(owner.port) as client:
        slots = client.execute_command("CLUSTER", "SLOTS")
    first, last = next(each[:2] for each in slots if each[2][1] == owner.port)

    def everywhere(command: str) -> None:
        for node in cluster.nodes:
            if command == "DELSLOTSRANGE" or node is owner:
                with talking_to(node.port) as client:
                    client.execute_command("CLUSTER", command, first, last)

    metrics = free_port()
    options = (cluster.store, f"--on-store-failure={policy}", f"--metrics=127.0.0.1:{metrics}")
    with greyd(tmp_path, *options, PATIENT) as server:

        def outcomes(run: str) -> set[str]:
            actions = ask_all(server.port, [Mails(run)(number) for number in range(60)])
            return {"away" if "out of order" in action else action.split()[0] for action in actions}

        assert outcomes("before") == {GREYLISTED}
        everywhere("DELSLOTSRANGE")
        try:
            seen = {outcome for run in range(3) for outcome in outcomes(f"away{run}")}
        finally:
            everywhere("ADDSLOTSRANGE")
        away = PASSED if policy == "pass" else "away"
        assert seen - {GREYLISTED} == {away}
        wait_until(cluster.all_agree, "the nodes agree")
        wait_until(lambda: outcomes("after") == {GREYLISTED}, "greylisting is back", 30)
        said = len(server.log().splitlines())
        assert all(outcomes(f"later{run}") == {GREYLISTED} for run in range(3))
        assert not any("store away" in line for line in server.log().splitlines()[said:])
        assert "internal error" not in server.log()
        assert Site(metrics).sample("greyd_internal_errors_total") == 0


def test_the_lost_master_that_has_the_probe_s_key_stops_no_mail(
    cluster: Nodes, tmp_path: Path
) -> None:
    lost = cluster.owner(b"greyd:probe")
    with trial("Cluster, the probe's master lost", tmp_path, cluster.store) as mail:
        mail.normal()
        kill(lost)
        cluster.nodes.remove(lost)
        mail.away()
        cluster.begin(lost.port)
        mail.returns()
    wait_until(cluster.all_agree, "the nodes agree")


# TLS, ACL, Unix socket ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """A certificate authority and a server's certificate by it."""

    authority: Path
    certificate: Path
    key: Path


def openssl(*arguments: str | Path) -> None:
    command = [program("openssl"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def make_certificates(folder: Path, name: str, subject: str) -> Certificates:
    """Make an authority, and a certificate for ``subject`` (``IP:127.0.0.1``, ``DNS:…``)."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority, authority_key = folder / f"{name}-ca.pem", folder / f"{name}-ca.key"
    openssl(
        "req", "-x509", *new_key, "-keyout", authority_key, "-out", authority, "-days", "2",
        "-subj", f"/CN={name} authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    openssl(
        "req", "-x509", *new_key, "-keyout", key, "-out", certificate, "-days", "2",
        "-CA", authority, "-CAkey", authority_key, "-subj", "/CN=redis",
        "-addext", f"subjectAltName={subject}", "-addext", "basicConstraints=critical,CA:FALSE",
    )  # fmt: skip
    return Certificates(authority, certificate, key)


@contextlib.contextmanager
def tls_redis(folder: Path, certificates: Certificates, *options: str) -> Iterator[int]:
    port = free_port()
    command = [
        program("redis-server"), "--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1",
        "--save", "", "--dir", str(folder), "--tls-auth-clients", "no",
        "--tls-cert-file", str(certificates.certificate),
        "--tls-key-file", str(certificates.key),
        "--tls-ca-cert-file", str(certificates.authority), *options,
    ]  # fmt: skip
    with running(command, folder, port, lambda: accepts(port)):
        yield port


WHAT_GREYD_NEEDS = "+evalsha +eval +mget +set +client|setname"
"""On ``~greyd:*``, for ``greyd serve`` on one Redis, database 0.

MGET and SET are what the script calls. Administration asks more (``+scan +get +pttl +del``), so
does another database (``+select``), a Cluster (``+get +asking +cluster|slots``).
"""


def test_tls_and_an_acl_user_who_may_do_what_greyd_needs_and_no_more(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, "ours", "IP:127.0.0.1")
    acl = tmp_path / "users.acl"
    acl.write_text(
        f"user default off\nuser mail on >gehe/im resetchannels ~greyd:* -@all {WHAT_GREYD_NEEDS}\n"
    )
    with tls_redis(tmp_path, certificates, "--aclfile", str(acl)) as port:
        store = f"--store=rediss://mail:gehe%2Fim@127.0.0.1:{port}/0"
        trusting = f"?ssl_ca_certs={certificates.authority}"
        pass_through(tmp_path, store + trusting)
        with trial("TLS and ACL", tmp_path, store + trusting) as mail:
            mail.normal(2.5)
            assert "store away" not in mail.server.log()
        refused = greyd(tmp_path, store + trusting, "--key-prefix=other:")
        with refused as server, PolicyClient(server.port) as client:
            assert client.ask(request()) == "action=DUNNO"
            has_said(server, "NOPERM")
            assert "gehe" not in server.log()


@pytest.mark.parametrize(
    ("subject", "trusted"),
    [("IP:127.0.0.1", "theirs"), ("DNS:elsewhere.example", "ours"), ("IP:127.0.0.1", "nobody")],
)
def test_a_redis_that_can_t_prove_who_it_is_gets_no_mail_to_see(
    tmp_path: Path, subject: str, trusted: str
) -> None:
    ours = make_certificates(tmp_path, "ours", subject)
    theirs = make_certificates(tmp_path, "theirs", subject)
    files = {"ours": f"?ssl_ca_certs={ours.authority}", "nobody": ""}
    files["theirs"] = f"?ssl_ca_certs={theirs.authority}"
    with tls_redis(tmp_path, ours) as port:
        store = f"--store=rediss://127.0.0.1:{port}/0{files[trusted]}"
        with greyd(tmp_path, store) as server, PolicyClient(server.port) as client:
            assert client.ask(request()) == "action=DUNNO"
            wait_until(lambda: "the certificate is not accepted" in server.log(), "the reason")
        command = ["--tls", "--insecure", "-p", str(port), "DBSIZE"]
        size = subprocess.run([program("redis-cli"), *command], capture_output=True, text=True)
    assert size.stdout.strip() == "0"


def test_a_unix_socket_with_a_password(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    options = ["--unixsocket", str(path), "--requirepass", "geheim"]
    with redis_server(tmp_path, *options):
        wait_until(path.exists, "the socket")
        pass_through(tmp_path, f"--store=unix://:geheim@{path}?db=3")
        with trial("Unix socket", tmp_path, f"--store=unix://:geheim@{path}?db=0") as mail:
            mail.normal()
        wrong = greyd(tmp_path, f"--store=unix://:falsch@{path}?db=0")
        with wrong as server, PolicyClient(server.port) as client:
            assert client.ask(request()) == "action=DUNNO"
            has_said(server, "store away")
            assert "falsch" not in server.log()


# A password in a file -----------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", "mail@"], ids=["password", "user and password"])
def test_a_password_in_a_file_opens_redis_and_is_told_to_nobody(tmp_path: Path, login: str) -> None:
    acl = tmp_path / "users.acl"
    rights = f"on >gehe/im# resetchannels ~greyd:* -@all {WHAT_GREYD_NEEDS}\n"
    acl.write_text(f"user default {rights}user mail {rights}")
    password = tmp_path / "password"
    password.write_text("gehe/im#\n")
    given = f"--store-password-file={password}"
    with redis_server(tmp_path, "--aclfile", str(acl)) as redis:
        store = f"--store=redis://{login}127.0.0.1:{redis.port}/0"
        pass_through(tmp_path, store, given)
        password.write_text("falsch\n")
        with greyd(tmp_path, store, given) as server, PolicyClient(server.port) as client:
            assert client.ask(request()) == "action=DUNNO"
            has_said(server, "store away")
            assert not any(secret in server.log() for secret in ("gehe", "falsch"))


def test_sentinel_s_master_asks_for_the_password_in_the_file(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("geheim")
    given = f"--store-password-file={password}"
    with (
        redis_server(tmp_path, "--requirepass", "geheim") as master,
        sentinel(tmp_path, master.port, "sentinel auth-pass mail geheim") as port,
    ):
        pass_through(tmp_path, f"--store=redis+sentinel://127.0.0.1:{port}/mail/0", given)
