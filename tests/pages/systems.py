"""The products on docs/systems/*.md, as far as they can be on the disposable machine.

Each has its own restrictions in a real Postfix and, where it has one, a postgrey with its options.
What is missing has a stand-in: a policy server that always answers DUNNO for the product's other
policy servers, a table that finds nothing for its SQL tables, units that only run.
"""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.pages import predecessors, stand_ins

Type = Callable[[str, str], object]

CONTAINER_NAMES = ("greyd", "greyd-mailcow")
"""The names of greyd's containers."""


@dataclass(frozen=True)
class System:
    """A product."""

    restrictions: str = ""
    """Its smtpd_recipient_restrictions."""
    parameters: tuple[str, ...] = ()
    """Its other parameters of main.cf."""
    postgrey_folder: str = ""
    """The folder of postgrey's database; empty without postgrey."""
    postgrey_options: str = ""
    policy_ports: tuple[int, ...] = ()
    """The ports of its other policy servers."""
    units: tuple[str, ...] = ()
    """Its other units that the page restarts."""
    greylists_after: str = ""
    """A text in the block after which Postfix greylists mail; empty if a block of main.cf is it."""


SYSTEMS = {
    "docker-mailserver": System(
        restrictions="permit_sasl_authenticated, permit_mynetworks, reject_unauth_destination,"
        " reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname,"
        " reject_unknown_recipient_domain",
        postgrey_folder="docker-data/dms/mail-state/lib-postgrey",
        greylists_after="inet:greyd:10023",
    ),
    "freebsd": System(postgrey_folder="/var/db/postgrey"),
    "iredmail": System(
        restrictions="reject_non_fqdn_recipient, reject_unlisted_recipient,"
        " check_policy_service inet:127.0.0.1:7777, permit_mynetworks, permit_sasl_authenticated,"
        " reject_unauth_destination, check_policy_service inet:127.0.0.1:12340",
        parameters=("smtpd_end_of_data_restrictions = check_policy_service inet:127.0.0.1:7777",),
        policy_ports=(7777, 12340),
        units=("iredapd",),
        greylists_after="greyd mode on",
    ),
    "ispconfig": System(
        restrictions="permit_mynetworks, reject_unknown_recipient_domain,"
        " permit_sasl_authenticated, reject_non_fqdn_recipient, reject_unauth_destination,"
        " check_recipient_access inline:{bob@example.org=greylisting}",
        parameters=(
            "smtpd_restriction_classes = greylisting",
            "greylisting = check_policy_service inet:127.0.0.1:10023",
        ),
        postgrey_folder="/var/lib/postgrey",
        units=("rspamd",),
        greylists_after="postconf -e",
    ),
    "mail-in-a-box": System(
        restrictions="permit_sasl_authenticated, permit_mynetworks, reject_unlisted_recipient,"
        " check_policy_service inet:127.0.0.1:10023",
        parameters=("smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination",),
        postgrey_folder="/home/user-data/mail/postgrey/db",
        postgrey_options="--delay=180",
    ),
    "mailcow": System(),
    "plesk": System(
        restrictions="permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
        greylists_after="postconf -e",
    ),
    "rhel": System(postgrey_folder="/var/spool/postfix/postgrey"),
}
"""By the name of the page."""

_RC_SUBR = """\
load_rc_config() { :; }
run_rc_command() {
    case $1 in
        start) $command $command_args ;;
        stop) kill "$(cat "$pidfile")" ;;
    esac
}
"""
"""What FreeBSD's rc.subr does with a service script, in short."""

_SYSCONFIG = """\
POSTGREY_TYPE="--unix=/var/spool/postfix/postgrey/socket"
POSTGREY_PID="--pidfile=/var/run/postgrey.pid"
POSTGREY_GROUP="--group=postgrey"
POSTGREY_USER="--user=postgrey"
POSTGREY_DELAY="--delay=60"
POSTGREY_OPTS=""
"""
"""The variables of EPEL's postgrey."""


def set_up(name: str, folder: Path, type_: Type) -> None:
    """Prepare the machine for the page of this name."""
    system = SYSTEMS[name]
    main_cf = Path("/etc/postfix/main.cf")
    new = list(system.parameters)
    if system.restrictions:
        new.append(f"smtpd_recipient_restrictions = {system.restrictions}")
    main_cf.write_text(main_cf.read_text() + "".join(f"{each}\n" for each in new))
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {' '.join(CONTAINER_NAMES)}\n")
    Path("/var/spool/postfix/etc/hosts").write_text(Path("/etc/hosts").read_text())
    for unit in system.units:
        _write_unit(unit)
    if system.postgrey_folder:
        _make_postgrey(system, folder / system.postgrey_folder, type_)
    if system.policy_ports:
        _start_policy_servers(system.policy_ports)
    Path("/etc/rc.subr").write_text(_RC_SUBR)
    Path("/etc/sysconfig").mkdir(exist_ok=True)
    if name == "rhel":
        Path("/etc/sysconfig/postgrey").write_text(_SYSCONFIG)
    Path("/usr/local/etc/rc.d").mkdir(parents=True, exist_ok=True)


def _make_postgrey(system: System, folder: Path, type_: Type) -> None:
    """Let a postgrey learn in the product's folder, and stop it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["chown", "-R", "postgrey:postgrey", folder], check=True)
    # Postfix's folder is not for everybody.
    subprocess.run(["chmod", "a+x", *folder.parents[:-1]], check=True)
    options = f"--inet=127.0.0.1:10023 --dbdir={folder} {system.postgrey_options}".strip()
    Path("/etc/default/postgrey").write_text(f'POSTGREY_OPTS="{options}"\n')
    predecessors.learn(type_)
    type_("systems", "systemctl stop postgrey")


def _write_unit(name: str) -> None:
    # The stand-in for systemctl waits for the words of a server that is ready.
    command = "/bin/sh -c 'echo listens on nothing; exec sleep 600'"
    path = stand_ins.UNIT_FOLDERS[0] / f"{name}.service"
    path.write_text(f"[Service]\nExecStart={command}\n")


class _Dunno(socketserver.StreamRequestHandler):
    """Answers each policy request, which an empty line ends, with DUNNO."""

    def handle(self) -> None:
        for line in self.rfile:
            if line == b"\n":
                self.wfile.write(b"action=DUNNO\n\n")


def _start_policy_servers(ports: tuple[int, ...]) -> None:
    for port in ports:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", port), _Dunno)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
