"""greyd as it is installed for real: by pipx and as a Debian package, started by its unit."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from greyd import __version__
from tests.integration.booted import machine
from tests.integration.lives import CHECKOUT
from tests.pages.blocks import DOCS, Page
from tests.processes import program, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.booted import Machine

pytestmark = pytest.mark.integration

GREYLISTED = "action=DEFER_IF_PERMIT "


@pytest.fixture
def fresh() -> Iterator[Machine]:
    with machine() as made:
        yield made


def block_with(words: str) -> str:
    """Return the block of the page about installing that has some words."""
    (found,) = [each.text for each in Page(DOCS / "install.md").blocks if words in each.text]
    return found


def assert_served_by_the_unit(fresh: Machine, program_of_it: str) -> None:
    """See that the unit runs it, as its own user, with all that it forbids, and that it works."""
    wait_until(lambda: "active" in fresh.run("systemctl is-active greyd || true"), "the unit")
    assert fresh.ask().startswith(GREYLISTED), fresh.run("journalctl -u greyd")
    pid = fresh.run("systemctl show --value --property=MainPID greyd").strip()
    assert program_of_it in fresh.run(f"tr '\\0' ' ' </proc/{pid}/cmdline")
    status = fresh.run(f"cat /proc/{pid}/status")
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert fresh.run(f"nsenter -t {pid} -m ls -A /root /home").split() == ["/home:", "/root:"]
    assert fresh.run("stat --format=%U:%a /var/lib/greyd/greyd.db").strip() == "greyd:600"
    fresh.run("systemctl reload greyd; systemctl restart greyd; systemctl is-active greyd")
    assert fresh.ask().startswith(GREYLISTED), "it remembers"
    assert "warning" not in fresh.run("journalctl --unit=greyd --output=cat")


def test_pipx_and_the_unit_agree_as_the_page_shows_it(fresh: Machine) -> None:
    program("pipx")
    fresh.prepare(block_with("pipx install ."))
    assert fresh.prepare("/usr/local/bin/greyd serve --version") == f"greyd {__version__}\n"
    fresh.boot()
    fresh.run(block_with("systemctl enable --now greyd"))
    assert_served_by_the_unit(fresh, "/usr/local/bin/greyd")
    assert "/opt/pipx/" in fresh.run("readlink /usr/local/bin/greyd")


# The Debian package -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deb() -> Path:
    """The package for this machine's own Python, as ``make deb`` makes it."""
    for name in ("strip", "dpkg", "lintian"):
        program(name)
    asked = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    python = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    done = subprocess.run(
        ["make", "deb", f"PYTHON={sys.executable}", f"DEB_PYTHON={python}"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (name,) = re.findall(r"created package: (\S+)", done.stdout)
    return CHECKOUT / name


def test_lintian_has_nothing_to_remark_on_the_package(deb: Path) -> None:
    command = ["lintian", "--allow-root", "--fail-on=error,warning", "--tag-display-limit=0"]
    done = subprocess.run([*command, deb], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_package_serves_is_replaced_and_goes_without_a_trace(fresh: Machine, deb: Path) -> None:
    fresh.boot()
    fresh.run(f"dpkg --install {deb}")
    assert_served_by_the_unit(fresh, "/usr/bin/greyd")
    assert fresh.run("greyd --version") == f"greyd {__version__}\n"
    # All can be loaded, also what only an option asks for, and what is compiled.
    modules = "pydantic_core, greyd.dns.resolver"
    modules += ", greyd.store.redis.opening, greyd.monitoring.web.http"
    script = f"import sys; sys.path.insert(0, '/usr/lib/greyd'); import {modules}"
    fresh.run(f'/usr/bin/python3 -I -c "{script}"')
    fresh.run(f"dpkg --install {deb}")
    assert fresh.ask().startswith(GREYLISTED)
    fresh.run("dpkg --remove greyd")
    assert "inactive" in fresh.run("systemctl is-active greyd || true")
    left = fresh.run("ls /var/lib/greyd").split()
    assert left == ["greyd.db", "greyd.db-lock"], "what was remembered stays"
    fresh.run("dpkg --purge greyd")
    assert fresh.run("ls -d /usr/lib/greyd /var/lib/greyd /etc/greyd /usr/bin/greyd || true") == ""
