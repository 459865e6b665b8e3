"""The service script on the page about FreeBSD, with a stand-in for ``rc.subr``."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.pages.blocks import DOCS, Page

if TYPE_CHECKING:
    from pathlib import Path

RC_SUBR = """\
load_rc_config() { if [ -e "$RC_CONF.$1" ]; then . "$RC_CONF.$1"; fi; . "$RC_CONF"; }
run_rc_command() { eval "set -- $command_args"; printf '%s\\n' "$@"; }
"""
FIXED = ["--user=postgrey", "--pidfile=/var/run/greyd.pid", "--daemonize"]


@pytest.mark.parametrize(
    ("rc_conf", "of_postgrey", "expected"),
    [
        ("", "", ["--inet=127.0.0.1:10023", "--dbdir=/var/db/postgrey"]),
        (
            'postgrey_flags="--inet=10023 --delay=60"', "",
            ["--inet=10023", "--delay=60", "--dbdir=/var/db/postgrey"],
        ),
        (
            "", 'postgrey_flags="--delay=60"\npostgrey_dbdir=/var/db/other',
            ["--delay=60", "--dbdir=/var/db/other"],
        ),
        (
            'postgrey_flags="--delay=60"\ngreyd_options="--delay=90"\ngreyd_dbdir=/x', "",
            ["--delay=90", "--dbdir=/x"],
        ),
        (
            "postgrey_flags=\"--greylist-text='come back'\"", "",
            ["--greylist-text=come back", "--dbdir=/var/db/postgrey"],
        ),
    ],
    ids=["nothing", "rc.conf", "rc.conf.d/postgrey", "greyd's own", "quoted"],
)  # fmt: skip
def test_greyd_gets_the_options_that_are_set_for_postgrey(
    rc_conf: str, of_postgrey: str, expected: list[str], tmp_path: Path
) -> None:
    page = Page(DOCS / "systems" / "freebsd.md")
    (script,) = [each.text for each in page.blocks if each.title == "/usr/local/etc/rc.d/greyd"]
    (tmp_path / "rc.subr").write_text(RC_SUBR)
    (tmp_path / "rc.conf").write_text(f"{rc_conf}\n")
    (tmp_path / "rc.conf.postgrey").write_text(f"{of_postgrey}\n")
    (tmp_path / "greyd").write_text(script.replace("/etc/rc.subr", str(tmp_path / "rc.subr")))
    done = subprocess.run(
        ["sh", str(tmp_path / "greyd"), "start"],
        env={"RC_CONF": str(tmp_path / "rc.conf"), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    first, *words = done.stdout.splitlines()
    assert (first, done.stderr) == ("serve", "")
    assert sorted(words) == sorted([*FIXED, *expected])
