"""greyd's image, built and run for real: whose rights it has, what it needs, how it is asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd import __version__
from tests.integration.containers import BASE, POSTFIX, Container, podman_with_greyd
from tests.integration.lives import CHECKOUT, ask, get, status_of
from tests.integration.postfix import Client, attempt, postfix
from tests.processes import free_port, program, redis_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.containers import Podman

pytestmark = pytest.mark.integration

GREYLISTED = "action=DEFER_IF_PERMIT "
HEALTHCHECK = "/opt/greyd/bin/python3 /opt/greyd/bin/healthcheck.py"


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with podman_with_greyd() as made:
        yield made


def greylists(container: Container) -> bool:
    """Whether it greylists mail that nobody has seen, asked from outside."""
    recipient = f"user{time.monotonic_ns()}@example.org"
    return (ask(container.policy, recipient=recipient) or "").startswith(GREYLISTED)


# What is in it ----------------------------------------------------------------------------------


def test_the_labels_say_what_it_is(podman: Podman) -> None:
    labels = json.loads(podman.inspect("greyd", "{{json .Config.Labels}}"))
    said = {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()}
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert said["title"] == "greyd"
    assert said["description"]
    assert (said["licenses"], said["version"]) == ("MIT", __version__)
    assert said["revision"] == head.stdout.strip()
    assert "source" in said


def test_nothing_in_it_builds_or_installs(podman: Podman) -> None:
    tools = [
        "cc",
        "gcc",
        "c++",
        "g++",
        "clang",
        "ld",
        "as",
        "make",
        "cmake",
        "git",
        "pip",
        "pip3",
        "wheel",
        "hatchling",
        "curl",
    ]
    with podman.files_of("greyd") as root:
        for folder in ("opt/greyd/bin", "usr/local/bin", "usr/local/sbin", "usr/bin", "usr/sbin"):
            assert not [tool for tool in tools if os.path.lexists(root / folder / tool)]
        assert list(root.glob("opt/greyd/lib/python3*/site-packages/greyd/server/serve.py"))
        assert not list(root.glob("opt/greyd/lib/python3*/site-packages/pip"))
        assert not list(root.glob("usr/local/lib/python3*/site-packages/pip"))


def test_only_greyd_and_what_it_runs_on_is_in_it(podman: Podman) -> None:
    def names(image: str) -> set[str]:
        with podman.files_of(image) as root:
            return {str(path.relative_to(root)) for path in root.rglob("*")}

    added = names("greyd") - names(BASE)
    places = ("opt/greyd", "etc/greyd", "var/lib/greyd")
    others = {name for name in added if not name.startswith(places)}
    # What making a user leaves behind, and where the builder has mounted something.
    users = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
    mounted = {"etc/hosts", "etc/resolv.conf", "etc/pip.conf"}
    assert others <= {f"etc/{name}-" for name in users} | mounted
    inside = {name for name in added if "/site-packages/greyd/" in name}
    assert any(name.endswith("/greyd/whitelists/whitelist_clients") for name in inside)
    assert not [name for name in inside if re.search(r"tests?/|/test_|\.git|\.toml", name)]


# Whose rights it has ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_number_without_rights_and_a_root_that_is_read_only_are_enough(
    podman: Podman, workers: int
) -> None:
    assert podman.inspect("greyd", "{{.Config.User}}") == "10023:10023"
    with podman.greyd(f"--env=GREYD_WORKERS={workers}") as container:
        assert greylists(container)
        status = status_of(container.pid())
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10023"}
        assert {status[each] for each in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        refused = container.inside(
            "for f in / /opt/greyd /etc/greyd /tmp; do [ -w $f ] || echo $f; done"
        )
        assert refused.split() == ["/", "/opt/greyd", "/etc/greyd", "/tmp"]
        assert "warning" not in container.log()
        page = get(container.metrics, "/metrics")[1]
        assert 'greyd_requests_total{action="greylist",reason="new"} 1.0' in page


def test_workers_without_a_folder_to_write_in_end_the_start_with_a_line(podman: Podman) -> None:
    done = podman(
        "run", "--rm", "--pull=never", "--read-only", "--read-only-tmpfs=false", "--workdir=/",
        "--env=TMPDIR=/nowhere", "--env=GREYD_WORKERS=2", "greyd", status=2,
    )  # fmt: skip
    assert re.search(
        r"^greyd: --workers=2: can't create a folder .*; set TMPDIR to a writable folder$",
        done.stderr,
        re.MULTILINE,
    )
    assert "Traceback" not in done.stderr


def test_what_it_remembers_stays_in_the_volume(podman: Podman) -> None:
    volume, settings = "--volume=memory:/var/lib/greyd", "--env=GREYD_TEST_TIME=yes"
    with podman.greyd(volume, settings) as first:
        assert (ask(first.policy, policy_test_time="1000000") or "").startswith(GREYLISTED)
        assert first.stop() == 0
    with podman.greyd(volume, settings) as second:
        reply = ask(second.policy, policy_test_time="1000400")
        assert (reply or "").startswith("action=PREPEND X-Greylist: delayed 400 seconds")


# Where it listens -------------------------------------------------------------------------------

NO_IPV6 = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 97,
            "args": [{"index": 0, "value": socket.AF_INET6, "op": "SCMP_CMP_EQ"}],
        }
    ],
}
"""A kernel without IPv6, for whoever asks: EAFNOSUPPORT."""


@pytest.mark.parametrize("without", ["nothing", "addresses", "kernel"])
def test_it_listens_on_all_interfaces_with_ipv6_and_without(
    podman: Podman, without: str, tmp_path: Path
) -> None:
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps(NO_IPV6))
    options = {
        "nothing": [],
        "addresses": ["--sysctl=net.ipv6.conf.all.disable_ipv6=1"],
        "kernel": [f"--security-opt=seccomp={profile}"],
    }[without]
    with podman.greyd(*options) as container:
        assert "listens on 0.0.0.0:10023" in container.log()
        assert ("[::]:10023" in container.log()) == (without != "kernel")
        assert greylists(container)
        assert get(container.metrics, "/healthz")[0] == 200
        assert container.is_healthy()


# Health -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ([], ()),
        (["--env=GREYD_METRICS=127.0.0.1:9924"], ()),
        (["--env=GREYD_METRICS=[::1]:9924"], ()),
        (["--env=GREYD_METRICS=[::]:9924", "--env=GREYD_WORKERS=2"], ()),
        ([], ("serve", "--metrics=9924")),
        (["--unsetenv=GREYD_METRICS", "--volume={}:/etc/greyd:ro"], ()),
    ],
    ids=["as it is", "port", "IPv6", "all of IPv6", "command line", "file"],
)
def test_the_health_check_asks_where_greyd_listens(
    podman: Podman, tmp_path: Path, options: list[str], command: tuple[str, ...]
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "greyd.toml").write_text('metrics = "9924"\n')
    given = [each.format(tmp_path) for each in options]
    with podman.greyd(*given, command=command) as container:
        assert container.is_healthy()


def test_the_health_check_fails_while_greyd_hangs(podman: Podman) -> None:
    with podman.greyd() as container:
        container.kill("STOP")
        assert not container.is_healthy()
        container.kill("CONT")
        wait_until(container.is_healthy, "its health")


def test_the_health_check_fails_where_there_is_nobody_to_ask(podman: Podman) -> None:
    with podman.greyd("--env=GREYD_METRICS=0") as container:
        assert not container.is_healthy()
        told = podman("exec", container.name, *HEALTHCHECK.split(), status=1)
        assert "no metrics port" in told.stderr
    with podman.greyd() as container:
        elsewhere = ["exec", "--env=GREYD_METRICS=127.0.0.1:9925", container.name]
        told = podman(*elsewhere, *HEALTHCHECK.split(), status=1)
        assert "http://127.0.0.1:9925/healthz: " in told.stderr


# Whose the volume is ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "owner"),
    [("10023:10023", "0:0"), ("1000690000:0", "0:0"), ("4711:4711", "10023:0")],
)
def test_a_volume_that_it_may_not_write_is_unhealthy_until_it_is_given_the_volume(
    podman: Podman, tmp_path: Path, user: str, owner: str
) -> None:
    tmp_path.parent.chmod(0o755)
    volume = tmp_path / "volume"
    volume.mkdir()
    os.chown(volume, *map(int, owner.split(":")))
    with podman.greyd(f"--volume={volume}:/var/lib/greyd", f"--user={user}") as container:
        assert ask(container.policy) == "action=DUNNO"
        told = f"/var/lib/greyd belongs to {owner} (mode 0755), and greyd, which runs as {user},"
        remedy = f"may not write it; chown {user} /var/lib/greyd"
        assert container.log().count(f"{told} {remedy}") == 1
        assert not container.is_healthy()
        check = podman("exec", container.name, *HEALTHCHECK.split(), status=1)
        assert f"{told} {remedy}" in check.stderr
        # The process itself is well: restarting it would mend nothing.
        assert get(container.metrics, "/livez")[0] == 200
        os.chown(volume, *map(int, user.split(":")))
        wait_until(container.is_healthy, "its health")
        assert greylists(container)


def test_a_file_in_the_volume_that_is_another_user_s_is_unhealthy(podman: Podman) -> None:
    volume = f"--volume=moved{time.monotonic_ns()}:/var/lib/greyd"
    with podman.greyd(volume) as first:
        assert greylists(first)
        assert first.stop() == 0
    with podman.greyd(volume, "--user=1000690000:0") as second:
        assert ask(second.policy) == "action=DUNNO"
        assert not second.is_healthy()
        assert "; chown 1000690000:0 /var/lib/greyd/greyd.db" in second.log()
        # A command says what its user is to do, who must not take the file from the server.
        told = podman("exec", second.name, "greyd", "list", status=2).stderr
        assert "run this as root" in told
        assert "chown" not in told


@pytest.mark.parametrize("volume", ["fresh", "none"])
def test_any_user_of_group_0_is_at_home_in_it(podman: Podman, volume: str) -> None:
    options = [f"--volume=any{time.monotonic_ns()}:/var/lib/greyd"] if volume == "fresh" else []
    with podman.greyd("--user=1000690000:0", "--unsetenv=HOME", *options) as container:
        assert greylists(container)
        assert container.is_healthy()
        assert "warning" not in container.log()
        assert json.loads(container.inside("greyd list --json"))["entries"]
        container.inside("greyd mode off --for 1h")
        wait_until(lambda: "1000690000@" in container.log(), "the log says by whom")


def test_it_is_healthy_while_redis_is_away(podman: Podman) -> None:
    with podman.greyd("--env=GREYD_STORE=redis://127.0.0.1:1/0") as container:
        assert ask(container.policy) == "action=DUNNO"
        assert get(container.metrics, "/readyz")[0] == 503
        assert container.is_healthy()


# Commands ---------------------------------------------------------------------------------------


def test_commands_in_the_container_are_about_its_server(podman: Podman) -> None:
    with podman.greyd(command=("serve", "--delay=777")) as container:
        assert greylists(container)
        told = json.loads(container.inside("greyd list --json"))["entries"]
        assert [each["passes_at"] - each["first_seen"] for each in told] == [777]
        figures = json.loads(container.inside("greyd stats --json"))
        assert figures["servers"][0]["ready"]
        assert figures["store"]["entries"]["triplets"]["waiting"] == 1
        container.inside("greyd release --recipient example.org")
        wait_until(lambda: "released 1 waiting triplets" in container.log(), "the log says so")


# Signals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_answers_what_was_asked_and_ends_well(podman: Podman, workers: int) -> None:
    with podman.greyd(f"--env=GREYD_WORKERS={workers}") as container:
        assert greylists(container)
        assert container.stop() == 0
        assert container.log().count("stopping") == workers
        assert "Traceback" not in container.log()


@pytest.mark.parametrize("workers", [1, 2])
def test_as_first_process_it_buries_what_others_leave(podman: Podman, workers: int) -> None:
    with podman.greyd(f"--env=GREYD_WORKERS={workers}") as container:
        container.inside("sh -c 'exec sleep 0.01' & exit 0")
        children = Path(f"/proc/{container.pid()}/task/{container.pid()}/children")
        own = workers if workers > 1 else 0
        wait_until(lambda: len(children.read_text().split()) == own, "no child but its workers")
        assert greylists(container)


def test_whitelists_of_ones_own_are_mounted_and_read_again(podman: Podman, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    own = tmp_path / "whitelist_clients.local"
    own.write_text("192.0.2.0/24\n")
    with podman.greyd(f"--volume={tmp_path}:/etc/greyd:ro") as container:
        assert re.search(r"whitelists: \d\d+ clients, ", container.log()), "greyd's own are there"
        assert ask(container.policy, client_address="192.0.2.1") == "action=DUNNO"
        assert (ask(container.policy, client_address="198.51.100.1") or "").startswith(GREYLISTED)
        own.write_text("198.51.100.0/24\n")
        container.kill("HUP")
        wait_until(lambda: container.log().count("whitelists: ") == 2, "the new whitelist")
        assert ask(container.policy, client_address="198.51.100.1") == "action=DUNNO"


# Mail -------------------------------------------------------------------------------------------


def test_a_postfix_on_the_host_asks_it(podman: Podman, tmp_path: Path) -> None:
    with podman.greyd("--env=GREYD_DELAY=1") as container:
        restriction = f"check_policy_service inet:127.0.0.1:{container.policy}"
        with postfix(tmp_path, greyd=restriction) as mta:
            send = (mta.ports["greyd"], Client("192.0.2.9"), "a@example.com", "b@example.org")
            assert "Greylisted" in attempt(*send).replies[0]
            time.sleep(1.1)
            again = attempt(*send)
            assert again.taken
            assert mta.sink.wait_for(again.subject)[0].greylist_headers


def test_redis_s_password_comes_by_a_file(podman: Podman, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    with redis_server(tmp_path, "--requirepass", "geheim") as redis:
        own = free_port()
        with podman.greyd(
            "--network=host", f"--env=GREYD_INET=127.0.0.1:{own}",
            f"--env=GREYD_METRICS=127.0.0.1:{free_port()}",
            f"--env=GREYD_STORE=redis://127.0.0.1:{redis.port}/0",
            "--env=GREYD_STORE_PASSWORD_FILE=/run/secrets/password",
            f"--volume={secret}:/run/secrets/password:ro",
        ) as container:  # fmt: skip
            assert (ask(own) or "").startswith(GREYLISTED)
            assert "store away" not in container.log()
            assert "geheim" not in podman("inspect", container.name).stdout + container.log()


# The stack --------------------------------------------------------------------------------------

REDIS = f"""\
FROM {BASE}
RUN mkdir /data && chown 999:999 /data
"""


class Stack:
    """``docker/compose.yaml`` with the Postfix, as podman-compose runs it."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.smtp, self.policy = free_port(), free_port()
        self._docker = folder / "docker"
        shutil.copytree(CHECKOUT / "docker", self._docker, ignore=shutil.ignore_patterns("secrets"))
        secrets = self._docker / "secrets"
        secrets.mkdir(mode=0o700)
        self.password = secrets / "redis_password"
        self.password.write_text("d0c4'b\"a #5\n")
        self.password.chmod(0o444)

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "podman_compose", "--podman-path", program("podman")]
        for name in ("compose.yaml", "compose.postfix.yaml"):
            command += ["--file", str(self._docker / name)]
        settings = {
            "GREYD_DELAY": "2",
            "SMTP_PORT": str(self.smtp),
            "POLICY_PORT": str(self.policy),
        }
        return self.podman.run([*command, *words], more=settings)

    def log(self, service: str) -> str:
        done = self.podman("logs", f"greyd_{service}_1")
        return done.stdout + done.stderr

    def is_healthy(self, service: str) -> bool:
        done = self.podman("healthcheck", "run", f"greyd_{service}_1", status=None)
        return done.returncode == 0

    def swaks(self) -> str:
        """Send a mail from outside; returns the conversation."""
        command = [program("swaks"), f"--server=127.0.0.1:{self.smtp}", "--from=a@example.com"]
        return subprocess.run(
            [*command, "--to=b@example.org"], capture_output=True, text=True, timeout=60
        ).stdout


@pytest.fixture(scope="module")
def stack(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    compose = Stack(podman, folder)
    image = re.search(r"image: (redis:\S+)", (CHECKOUT / "docker/compose.yaml").read_text())
    assert image
    podman.build(image[1], folder, REDIS)
    podman.build(POSTFIX, CHECKOUT / "docker" / "postfix")
    compose("up", "--no-build", "--detach", "redis", "greyd", "postfix")
    try:
        for service in ("redis", "greyd", "postfix"):
            wait_until(lambda name=service: compose.is_healthy(name), f"{service} healthy")
        yield compose
    finally:
        compose("down", "--volumes")


def test_the_stack_greylists_and_then_takes_a_mail(stack: Stack) -> None:
    wait_until(lambda: (ask(stack.policy) or "").startswith(GREYLISTED), "Redis reached")
    assert "450 4.2.0" in stack.swaks()
    time.sleep(2.1)
    assert "250 2.0.0 Ok: queued" in stack.swaks()
    wait_until(lambda: "status=sent" in stack.log("postfix"), "its delivery")
    assert "reason=triplet found, delay=" in stack.log("greyd")


def test_the_stack_tells_the_password_to_nobody(stack: Stack) -> None:
    password = stack.password.read_text().strip()
    for service in ("redis", "greyd"):
        said = stack.log(service) + stack.podman("inspect", f"greyd_{service}_1").stdout
        assert password not in said
        assert password not in said.replace("\\", ""), "nor with what JSON puts before a quote"


def test_the_stack_s_redis_lets_nobody_in_but_greyd_and_that_to_little(stack: Stack) -> None:
    def cli(words: str) -> str:
        return stack.podman("exec", "greyd_redis_1", "sh", "-c", words).stdout

    as_greyd = 'REDISCLI_AUTH="$(cat /run/secrets/redis_password)" redis-cli --user greyd'
    assert "NOAUTH" in cli("redis-cli dbsize")
    assert cli(f"{as_greyd} ping").strip() == "PONG"
    for refused in ("flushall", "get other:x", "set other:x 1", "config get maxmemory"):
        assert "NOPERM" in cli(f"{as_greyd} {refused}")
