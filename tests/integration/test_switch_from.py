"""``greyd switch-from`` with Debian's own postgrey, on a disposable machine that boots."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.booted import machine_with_greyd
from tests.pages.blocks import DOCS, Page
from tests.processes import free_port, program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.booted import Machine

pytestmark = pytest.mark.integration

GREYLISTED = "action=DEFER_IF_PERMIT "
RUNS = ("active", "inactive")

INSTALL = """
mkdir -p /etc/sysusers.d
cp packaging/sysusers.d/greyd.conf /etc/sysusers.d/
systemd-sysusers greyd.conf
cp packaging/systemd/greyd.service packaging/systemd/greyd.socket /etc/systemd/system/
rm -rf /etc/greyd /var/lib/greyd /var/lib/greyd-switch /etc/init.d/greyd
"""

ASK = r"""
ask() {  # PORT SENDER [TIME]: prints the action, and needs no second for it as nc does
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'request=smtpd_access_policy\nclient_address=192.0.2.7\nclient_name=mail.example.com\n' >&3
  printf 'sender=%s\nrecipient=bob@example.org\npolicy_test_time=%s\n\n' "$2" \
    "${3:-$(date +%s)}" >&3
  head -n 1 <&3
  exec 3>&-
}
"""
LEARN = r"""
timeout 20 sh -c 'until nc -z 127.0.0.1 PORT; do sleep 0.1; done'
for ago in 900 300; do
  for sender in alice carol; do
    ask PORT "$sender@example.com" "$(( $(date +%s) - ago ))" >/dev/null
  done
done
"""
"""Lets mail of alice's and carol's pass postgrey."""

STATE = """
for service in postgrey greyd; do
  echo "$service $(systemctl is-active $service) $(systemctl is-enabled $service)"
done
find /etc/greyd /etc/systemd/system /etc/default /etc/postgrey /etc/init.d /etc/rc3.d \
  ! -type d -exec sha256sum {} + 2>/dev/null || true
ls -d /var/lib/greyd /var/lib/greyd-switch 2>/dev/null || true
"""
"""Prints all that a switch may change."""


@pytest.fixture(scope="module")
def disposable() -> Iterator[Machine]:
    for name in ("postgrey", "db5.3_dump", "update-rc.d", "start-stop-daemon"):
        program(name)
    with machine_with_greyd() as made:
        yield made


def set_options(text: str) -> str:
    """Return the script that sets postgrey's options."""
    return f"sed -i 's|^POSTGREY_OPTS=.*|POSTGREY_OPTS=\"{text}\"|' /etc/default/postgrey\n"


def test_without_systemd_an_init_script_takes_postgreys_place_and_gives_it_back(
    disposable: Machine,
) -> None:
    # Before it boots, it has the network of the tests' machine.
    port = free_port()
    state = "ls /etc/rc3.d/ | grep -E 'S..(postgrey|greyd)$'; ls /etc/greyd 2>/dev/null || true\n"
    said = disposable.prepare(
        INSTALL
        + set_options(f"--inet=127.0.0.1:{port} --delay=60")
        + "rm -f /etc/rc?.d/???postgrey; update-rc.d postgrey defaults\n"
        + "/etc/init.d/postgrey start >/dev/null\n"
        + ASK
        + LEARN.replace("PORT", str(port))
        + "greyd switch-from postgrey --yes\n"
        + f"echo '== greyd'; {state} ask {port} alice@example.com; ask {port} new@example.com\n"
        + "greyd switch-from postgrey --undo --yes\n"
        + f"echo '== postgrey'; {state} ask {port} carol@example.com\n"
        + "/etc/init.d/postgrey stop >/dev/null\n"
        + "rm -rf /var/lib/greyd; grep greylist /etc/greyd/greyd.toml || true"
    )
    _, switched, back = re.split(r"== .*\n", said)
    assert "S01greyd\ngreyd.toml\naction=" in switched
    assert switched.index("action=DUNNO") < switched.index(GREYLISTED), "known, then new"
    assert "S01postgrey\naction=DUNNO" in back, "postgrey has known it all the time"


@pytest.fixture(scope="module")
def booted(disposable: Machine) -> Machine:
    """The machine with a postgrey that its unit has started, and that has learned."""
    disposable.boot()
    disposable.run(
        INSTALL
        + "hostname mx.example.org\n"
        + set_options("--inet=127.0.0.1:10023 --delay=60")
        + "systemctl stop postgrey; rm -f /var/lib/postgrey/*; systemctl daemon-reload\n"
        + "systemctl enable -q postgrey 2>/dev/null; systemctl start postgrey\n"
        + ASK
        + LEARN.replace("PORT", "10023")
    )
    return disposable


def asked(booted: Machine, sender: str) -> str:
    """Return the action for mail from a sender."""
    return booted.run(f"{ASK}ask 10023 {sender}@example.com").strip()


def switch(booted: Machine, *options: str) -> tuple[int, str]:
    """Run the command; return its exit status and its output."""
    script = f"status=0; greyd switch-from postgrey {' '.join(options)} 2>&1 || status=$?"
    said = booted.run(f"{script}; echo; echo $status").strip()
    text, _, status = said.rpartition("\n")
    return int(status), text


def test_a_dry_run_shows_the_pages_plan_and_changes_nothing(booted: Machine) -> None:
    before = booted.run(STATE)
    status, said = switch(booted, "--dry-run")
    assert status == 0, said
    (block,) = [each for each in Page(DOCS / "migrating.md").blocks if each.title == "greyd's plan"]
    # The page's postgrey has the default delay.
    assert " ".join(block.text.split()) in " ".join(said.replace("       + delay = 60", "").split())
    assert booted.run(STATE) == before


DROP_IN = "/etc/systemd/system/greyd.service.d/fault.conf"
FAULTS = {
    "greyd does not start": "ExecStart=\nExecStart=/bin/false",
    "greyd listens elsewhere": "ExecStart=\nExecStart=greyd serve --inet=127.0.0.1:10099",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_switch_that_fails_is_rolled_back(booted: Machine, fault: str) -> None:
    booted.run(f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf '[Service]\n{fault}\n' >{DROP_IN}")
    booted.run("systemctl daemon-reload")
    before = booted.run(STATE)
    try:
        status, said = switch(booted, "--yes")
        assert status == 2
        assert "greyd: rolled back: everything is as before" in said
        assert booted.run(STATE) == before
        assert GREYLISTED in asked(booted, "rollback")
    finally:
        booted.run(f"rm {DROP_IN}; systemctl daemon-reload")


def interrupted(booted: Machine, signal: str, after: str) -> str:
    """Send the command a signal once its journal has a word; return the output."""
    return booted.run(
        f"""greyd switch-from postgrey --yes >/run/said 2>&1 & pid=$!
        timeout 20 sh -c 'until grep -qs {after} /var/lib/greyd-switch/journal.json; do sleep 0.01
        done'
        kill -{signal} $pid; sleep 0.05; kill -HUP $pid 2>/dev/null || true
        wait $pid || true; cat /run/said"""
    )


def test_ctrl_c_rolls_back_and_a_lost_terminal_does_not_stop_that(booted: Machine) -> None:
    before = booted.run(STATE)
    assert "rolled back: everything is as before" in interrupted(booted, "INT", "started")
    assert booted.run(STATE) == before


def test_a_killed_switch_is_rolled_back_by_the_next_one_and_can_be_undone(booted: Machine) -> None:
    before = booted.run(STATE)
    interrupted(booted, "KILL", "stopped")
    assert switch(booted, "--dry-run")[0] == 2, "only --undo or another switch may change anything"
    status, said = switch(booted, "--yes")
    assert status == 0, said
    assert "was interrupted" in said
    assert "started again: postgrey" in said
    assert "mail that has passed postgrey passes" in said
    after = booted.run(STATE)
    assert "postgrey inactive disabled\ngreyd active enabled\n" in after
    assert asked(booted, "alice") == "action=DUNNO"
    assert GREYLISTED in asked(booted, "new")
    log = booted.run("journalctl --unit=greyd --output=cat")
    assert ".invalid" not in log, "a probe is not logged"

    status, said = switch(booted, "--yes")
    assert (status, said.startswith("already switched, ")) == (0, True)
    assert booted.run(STATE) == after

    status, said = switch(booted, "--undo", "--yes")
    assert status == 0, said
    kept = booted.run("rm -r /var/lib/greyd")
    assert kept == ""
    assert booted.run(STATE) == before
    assert asked(booted, "carol") == "action=DUNNO", "postgrey has known it all the time"
    assert switch(booted, "--undo", "--yes")[0] == 2


STREAM = r"""
import json, os, socket, time
def ask(number):
    request = (
        "request=smtpd_access_policy\nclient_address=192.0.2.9\nclient_name=mx.example.net\n"
        f"sender=stream{number}@example.net\nrecipient=bob@example.org\n\n"
    )
    with socket.create_connection(("127.0.0.1", 10023), 20) as connection:
        connection.sendall(request.encode())
        return connection.makefile().readline().strip()
asked, end = [], time.monotonic() + 60
while time.monotonic() < end:
    at = time.time()
    try:
        answer = ask(len(asked))
    except OSError:
        answer = ""
    asked.append([at, time.time(), answer])
    with open("/run/asked.new", "w") as file:
        json.dump(asked, file)
    os.replace("/run/asked.new", "/run/asked")
    time.sleep(0.05)
"""
"""Asks about mail of a new sender again and again, and writes down when, and the answers."""


def test_no_mail_during_the_switch_is_lost_nor_its_first_attempt(booted: Machine) -> None:
    (booted.root / "run").mkdir(exist_ok=True)
    booted.run(f"cat >/run/stream.py <<'END'\n{STREAM}\nEND")
    booted.run(
        "python3 -I /run/stream.py >/run/stream.log 2>&1 & echo $! >/run/stream.pid\n"
        "timeout 20 sh -c 'until test -s /run/asked; do sleep 0.1; done'"
    )
    status, said = switch(booted, "--yes")
    assert status == 0, said
    imports = re.findall(r"^imported: (\d+) triplet", said, re.MULTILINE)
    assert len(imports) == 2, said
    asked = json.loads(
        booted.run(
            "pid=$(cat /run/stream.pid); kill $pid\n"
            'timeout 20 sh -c "while kill -0 $pid 2>/dev/null; do sleep 0.1; done"\n'
            "cat /run/asked"
        )
    )
    listed = json.loads(booted.run("greyd list --json --limit=0 2>/dev/null"))["entries"]
    known = {each["sender"]: each["first_seen"] for each in listed if each["kind"] == "triplet"}
    answered = {f"stream{number}@example.net": each for number, each in enumerate(asked) if each[2]}
    assert len(answered) > 20
    assert all(GREYLISTED in answer for _, _, answer in answered.values()), "nobody passes"
    lost = answered.keys() - known.keys()
    assert not lost
    moved = {
        sender: (known[sender], before, after)
        for sender, (before, after, _) in answered.items()
        if not int(before) <= known[sender] <= after
    }
    assert not moved
    status, said = switch(booted, "--undo", "--yes")
    assert status == 0, said
    booted.run("rm -r /var/lib/greyd")


def test_a_unix_socket_stays_the_same(booted: Machine) -> None:
    path = "/var/spool/postfix/postgrey/socket"
    booted.run(
        f"install -d -o postgrey -g postgrey {path.rpartition('/')[0]}\n"
        # What the unit says, not the environment file; systemctl show would lose the quotes.
        "mkdir -p /etc/systemd/system/postgrey.service.d\n"
        "cat >/etc/systemd/system/postgrey.service.d/override.conf <<'END'\n"
        "[Service]\nExecStart=\n"
        f"ExecStart=/usr/sbin/postgrey --unix={path} \\\n"
        '  --socketmode=0660 --greylist-text="on %%H, come back"\n'
        "END\nsystemctl daemon-reload\n"
        f"systemctl restart postgrey; timeout 20 sh -c 'until test -S {path}; do sleep 0.1; done'"
    )
    status, said = switch(booted, "--yes")
    assert status == 0, said
    shown = f"stat --format='%U %G %a' {path}; systemctl is-active greyd postgrey || true"
    assert booted.run(shown).split() == ["postgrey", "postgrey", "660", *RUNS]
    assert 'greylist_text = "on %H, come back"' in booted.run("cat /etc/greyd/greyd.toml")
    status, said = switch(booted, "--undo", "--yes")
    assert status == 0, said
    assert booted.run(shown).split() == ["postgrey", "postgrey", "660", *reversed(RUNS)]


def test_postgreys_unit_that_starts_greyd_already_is_left_alone(booted: Machine) -> None:
    before = booted.run(STATE)
    folder = "/run/systemd/system/postgrey.service.d"
    booted.run(
        f"mkdir -p {folder}; printf '[Service]\nExecStart=\nExecStart=/opt/greyd/bin/greyd serve\n'"
        f" >{folder}/zz.conf; systemctl daemon-reload"
    )
    status, said = switch(booted, "--yes")
    assert (status, said.startswith("greyd: postgrey.service starts greyd already")) == (2, True)
    assert booted.run(STATE) == before


EPEL = """
systemctl stop postgrey
mkdir -p /etc/sysconfig /etc/systemd/system/postgrey.service.d
rm -f /etc/systemd/system/postgrey.service.d/* /run/systemd/system/postgrey.service.d/*
# As it is published, postgrey has other default paths than Debian's package.
sed -i 's|/var/lib/postgrey|/var/spool/postfix/postgrey|g' /usr/sbin/postgrey
sed -i 's|/etc/postgrey/|/etc/postfix/postgrey_|g' /usr/sbin/postgrey
for list in clients recipients; do
  cp /etc/postgrey/whitelist_$list /etc/postfix/postgrey_whitelist_$list
done
echo '# mine' >/etc/postfix/postgrey_whitelist_clients.local
rm -rf /etc/postgrey /etc/default/postgrey /var/spool/postfix/postgrey
install -d -o postgrey -g postfix -m 0751 /var/spool/postfix/postgrey
cat >/etc/sysconfig/postgrey <<'END'
POSTGREY_TYPE="--unix=/var/spool/postfix/postgrey/socket"
POSTGREY_PID="--pidfile=/var/run/postgrey.pid"
POSTGREY_GROUP="--group=postgrey"
POSTGREY_USER="--user=postgrey"
POSTGREY_DELAY="--delay=60"
POSTGREY_OPTS="--auto-whitelist-clients=3"
END
cat >/etc/systemd/system/postgrey.service <<'END'
[Unit]
Description=Postfix Greylisting Service
[Service]
Type=forking
PIDFile=/var/run/postgrey.pid
EnvironmentFile=-/etc/sysconfig/postgrey
ExecStart=/usr/sbin/postgrey -d $POSTGREY_TYPE $POSTGREY_PID $POSTGREY_GROUP $POSTGREY_USER \\
  $POSTGREY_DELAY $POSTGREY_OPTS
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable -q postgrey
systemctl start postgrey
python3 -c 'import socket
for ago in 900, 300:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("/var/spool/postfix/postgrey/socket")
        import time
        connection.sendall(("request=smtpd_access_policy\\nclient_address=192.0.2.7\\n"
            "client_name=mail.example.com\\nsender=alice@example.com\\nrecipient=bob@example.org\\n"
            f"policy_test_time={int(time.time()) - ago}\\n\\n").encode())
        print(connection.makefile().readline())'
"""
"""Replaces Debian's files of postgrey by those of EPEL's package, and lets alice's mail pass."""


def test_the_files_of_epels_package_are_found(booted: Machine) -> None:
    # The last test: Debian's files do not come back.
    booted.run(EPEL)
    status, said = switch(booted, "--yes", "--verbose")
    assert status == 0, said
    for part in (
        "  database /var/spool/postfix/postgrey, ",
        "/etc/postfix/postgrey_whitelist_clients.local",
        "postgrey.service, /etc/sysconfig/postgrey",
        "greyd import /var/spool/postfix/postgrey\n",
        "+ auto_whitelist_clients = 3",
        "+ ListenStream=/var/spool/postfix/postgrey/socket",
        "socket answers, new mail is greylisted",
        "checked: mail that has passed postgrey passes: would pass (triplet found)",
    ):
        assert part in said
    shown = "stat --format='%U %G %a' /var/spool/postfix/postgrey/socket"
    assert booted.run(shown).split() == ["postgrey", "postgrey", "666"]
    log = booted.run("journalctl --unit=greyd --output=cat --lines=50")
    assert "/etc/postfix/postgrey_whitelist_clients.local" in log
    status, said = switch(booted, "--undo", "--yes")
    assert status == 0, said
    assert booted.run(shown).split() == ["postgrey", "postgrey", "666"]
