"""A disposable machine: this machine's files under an overlay, its own processes and network.

``enter`` starts a page in it; ``set_up`` runs inside, before the page. There is no way out of its
network, so any port is free and any address can be its own: documentation addresses are, and
dnsmasq answers for their names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pages import stand_ins
from tests.pages.blocks import CHECKOUT
from tests.processes import slowness

if TYPE_CHECKING:
    from tests.pages.blocks import Page

PROGRAMS = (
    "curl", "db5.3_dump", "dnsmasq", "ip", "nc", "postfix", "postgrey", "redis-sentinel",
    "redis-server", "swaks", "systemd-analyze", "unshare",
)  # fmt: skip
"""The programs that the pages and the machine need."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MX = "192.0.2.1"
SENDER = "203.0.113.7"
SETTINGS = {
    # Nobody waits five minutes here. Pages that show the wait name a shorter one themselves.
    "GREYD_DELAY": "1",
    # On a busy machine the disk may well take longer than the 0.3 s that mail waits for it.
    "GREYD_STORE_TIMEOUT": "5",
}
"""greyd's settings on the machine, unless a page sets others."""

HOSTS = {
    "mx.example.org": MX,
    "mx1.example.org": "192.0.2.2",
    "mx2.example.org": "192.0.2.3",
    "redis.example.net": "192.0.2.10",
    "redis1.example.org": "192.0.2.11",
    "redis2.example.org": "192.0.2.12",
    "mail.example.com": SENDER,
    "listed.example.net": "203.0.113.66",
    "mail.listed-domain.example": "203.0.113.67",
    "known.example.net": "203.0.113.68",
}
"""Names that resolve to an address and back."""

NAMELESS = "203.0.113.99"
MISMATCHED = "203.0.113.77"

_ZONES = {
    "66.113.0.203.zen.spamhaus.org": "127.0.0.4",
    "68.113.0.203.zen.spamhaus.org": "127.0.0.4",
    "listed-domain.example.dbl.spamhaus.org": "127.0.1.2",
}
_DOMAINS = {
    "example.org": "mx.example.org",
    "example.com": "mail.example.com",
    "listed-domain.example": "mail.listed-domain.example",
}


def enter(page: Page, seconds: float = 180.0) -> subprocess.CompletedProcess[str]:
    """Run a page; returns the status and the output."""
    command = [
        "unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child",
        # A shell fetches the children that nobody else does, as a first process has to.
        "bash", "-c", '"$@"; exit $?', "bash",
        sys.executable, "-m", "tests.pages.inside", page.name,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="greyd-page-") as folder:
        return subprocess.run(
            command,
            cwd=CHECKOUT,
            env={
                **SETTINGS,
                "HOME": "/root",
                "LC_ALL": "C.UTF-8",
                "PAGE_FOLDER": folder,
                "PATH": SYSTEM_PATH,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds * slowness(),
        )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def set_up() -> None:
    """Create the machine, and enter it."""
    _change_root(Path(os.environ["PAGE_FOLDER"]))
    _run("hostname", "mx.example.org")
    _make_network()
    _make_files()
    stand_ins.install()
    os.environ["PATH"] = f"{stand_ins.FOLDER}:{SYSTEM_PATH}"


def _change_root(folder: Path) -> None:
    # What is mounted here must not be seen outside.
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "tmpfs", "greyd-page", str(folder))
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir()
    _run("mount", "-t", "overlay", "overlay", str(root),
         "-o", f"lowerdir=/,upperdir={upper},workdir={work}")  # fmt: skip
    _run("mount", "--rbind", "/dev", f"{root}/dev")
    _run("mount", "-t", "proc", "proc", f"{root}/proc")
    _run("mount", "-t", "tmpfs", "run", f"{root}/run")
    os.chroot(root)
    os.chdir(CHECKOUT)


def _make_network() -> None:
    _run("ip", "link", "set", "lo", "up")
    for address in {*HOSTS.values(), NAMELESS, MISMATCHED}:
        _run("ip", "address", "add", f"{address}/32", "dev", "lo")
    # Mail to the exchanger comes from outside, unless a command names its address.
    _run("ip", "route", "replace", "local", MX, "dev", "lo", "src", SENDER, "table", "local")
    records = [f"--host-record={name},{address}" for name, address in (HOSTS | _ZONES).items()]
    records += [f"--mx-host={domain},{host}" for domain, host in _DOMAINS.items()]
    records += [
        f"--ptr-record={'.'.join(reversed(MISMATCHED.split('.')))}.in-addr.arpa,other.example.net"
    ]
    resolver = Path("/etc/resolv.conf")
    resolver.unlink(missing_ok=True)
    resolver.write_text("nameserver 127.0.0.1\n")
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    _run("dnsmasq", "--conf-file=/dev/null", "--no-hosts", "--no-resolv", "--user=root",
         "--listen-address=127.0.0.1", "--bind-interfaces", "--local=/#/", *records)  # fmt: skip


MAIN_CF = f"""\
compatibility_level = 3.6
myhostname = mx.example.org
mydestination = example.org, localhost
inet_interfaces = {MX}, 127.0.0.1
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
maillog_file = /var/log/mail.log
"""
"""The Postfix configuration of a small site without greyd."""


def start_redis() -> None:
    """Start the Redis that many pages mention."""
    _run("redis-server", "--bind", HOSTS["redis.example.net"], "--save", "", "--dir", "/run",
         "--protected-mode", "no", "--daemonize", "yes")  # fmt: skip


def _make_files() -> None:
    Path("/etc/postfix/main.cf").write_text(MAIN_CF)
    with Path("/etc/passwd").open("a") as users:
        users.write("bob:x:4711:4711::/nonexistent:/usr/sbin/nologin\n")
    for path in ("/etc/greyd", "/var/lib/greyd", "/var/spool/postfix/etc"):
        shutil.rmtree(path, ignore_errors=True)
    for path in ("/etc/greyd", "/var/spool/postfix/etc"):
        Path(path).mkdir()
    # Debian's Postfix is in a chroot, which has its own copies.
    for name in ("resolv.conf", "hosts", "nsswitch.conf", "services"):
        shutil.copy(f"/etc/{name}", "/var/spool/postfix/etc")
    Path("/usr/local/bin/greyd").unlink(missing_ok=True)
    Path("/usr/local/bin/greyd").symlink_to(Path(sys.executable).with_name("greyd"))
    Path("/var/log/mail.log").unlink(missing_ok=True)
    Path("/var/mail/bob").unlink(missing_ok=True)
