"""The ACL that docs/exim.md shows, in a real Exim."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import open_folder
from tests.pages import ROOT, blocks
from tests.processes import SYSTEM_PATH, free_port, greyd, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

CONFIGURATION = """\
primary_hostname = mx.example.org
domainlist local_domains = example.org
hostlist relay_from_hosts = 127.0.0.1
acl_smtp_rcpt = check_rcpt
spool_directory = {folder}
log_file_path = {folder}/%slog
# The page's host_lookup would ask the DNS, which a test has none of.
host_lookup =
begin acl
check_rcpt:
{acl}
  accept
"""


def exim() -> str:
    """Return Exim's path; it can't be installed beside Postfix, so it may be in a folder."""
    found = shutil.which("exim4", path=f"{SYSTEM_PATH}:/opt/exim4/usr/sbin")
    if found is None:
        unavailable("exim4 is not installed")
    return found


def talk(configuration: Path, *dialogue: str) -> list[str]:
    """Play a client at 192.0.2.7; returns Exim's answers."""
    words = "".join(f"{line}\r\n" for line in (*dialogue, "QUIT"))
    command = [exim(), "-C", str(configuration), "-bh", "192.0.2.7"]
    done = subprocess.run(command, input=words, capture_output=True, text=True, timeout=60)
    return [line for line in done.stdout.splitlines() if line[:3].isdigit()]


def configure(folder: Path, port: int) -> Path:
    lookup, acl = [
        block.text for block in blocks(ROOT / "docs" / "exim.md") if block.language == "exim"
    ]
    assert lookup == "host_lookup = *\n"
    configuration = folder / "exim.conf"
    acl = acl.replace("10023", str(port))
    configuration.write_text(CONFIGURATION.format(folder=folder, acl=acl))
    return configuration


@pytest.fixture
def spool() -> Iterator[Path]:
    """Yield a folder that Exim's own user can write to."""
    with open_folder() as folder:
        folder.chmod(0o777)
        yield folder


MAIL = ("EHLO mail.example.com", "MAIL FROM:<alice@example.com>", "RCPT TO:<bob@example.org>")


def test_the_page_s_acl_defers_and_then_accepts(tmp_path: Path, spool: Path) -> None:
    with greyd(tmp_path, "--exim", "--delay=1") as server:
        configuration = configure(spool, server.port)
        answers = talk(configuration, *MAIL)
        assert "451 Greylisted, see http://postgrey.schweikert.ch/help/example.org.html" in answers

        def accepted() -> bool:
            return any(line.startswith("250 Accepted") for line in talk(configuration, *MAIL))

        wait_until(accepted, "it passes after a second")
        assert "client_name=unknown, client_address=192.0.2.7" in server.log()


def test_without_greyd_mail_is_accepted(spool: Path) -> None:
    answers = talk(configure(spool, free_port()), *MAIL)
    assert any(line.startswith("250 Accepted") for line in answers), answers
