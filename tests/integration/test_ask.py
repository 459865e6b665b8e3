"""``greyd ask``: what a running server answers to a request that a person makes up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.commands import answer_of, run_here
from tests.processes import free_port, greyd, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

WAITS = re.compile("action=DEFER_IF_PERMIT (4.2.0 )?Greylisted, see ")
"""With the code of a Postfix that is new enough to send etrn_domain, as ``greyd ask`` does."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "clients").write_text("white.example\n")
    options = [f"--unix={tmp_path}/socket", f"--whitelist-clients={tmp_path}/clients", "--delay=1"]
    with greyd(tmp_path, *options) as running:
        yield running


def asked(server: Running, *words: str | Path, given: str | bytes = "") -> list[str]:
    """Ask the server; returns the lines of the answer."""
    done = run_here("ask", f"--server=127.0.0.1:{server.port}", *words, given=given)
    assert (done.returncode, errors(done)) == (0, [])
    return done.stdout.splitlines()


def logs(server: Running, *texts: str) -> None:
    """Wait until a line of the server's log has all texts: it writes several lines at once."""
    wait_until(
        lambda: any(all(text in line for text in texts) for line in server.log().splitlines()),
        f"a line with {texts}",
    )


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of standard error without the one that names the server and its store."""
    lines = done.stderr.splitlines()
    return [line for line in lines if not re.match(r"greyd: server [0-9]+ on .*, store ", line)]


def test_without_options_it_waits_and_is_let_in_after_the_delay(server: Running) -> None:
    (first,) = asked(server)
    assert WAITS.match(first)
    wait_until(lambda: asked(server)[0].startswith("action=PREPEND X-Greylist: delayed"), "a pass")
    assert asked(server) == ["action=DUNNO"]
    logs(
        server, "client_name=mail.example.com, client_address=192.0.2.7", "sender=alice@example.com"
    )


def test_options_say_who_asks(server: Running) -> None:
    assert asked(server, "--client-name=mx.white.example") == ["action=DUNNO"]
    assert asked(server, "--sasl-username=alice") == ["action=DUNNO"]
    options = ["--client-address=2001:db8::7", "--sender=", "--recipient=carol@example.net"]
    assert WAITS.match(asked(server, *options)[0])
    logs(server, "client_address=2001:db8::7", "recipient=carol@example.net")


REQUESTS = """\
request=smtpd_access_policy
client_address=198.51.100.9
client_name=mx.white.example
sender=a=b@example.com
recipient=bob@example.org

request=smtpd_access_policy
client_address=198.51.100.9
client_name=mail.example.com
sender=carol@example.com
recipient=bob@example.org
"""


def test_a_file_holds_requests_as_postfix_sends_them(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "requests"
    file.write_text(REQUESTS)
    passes, waits = asked(server, file)
    assert passes == "action=DUNNO"
    assert WAITS.match(waits)
    logs(server, "sender=a=b@example.com")
    # On standard input, with the ends of lines of another system, and with an option besides.
    text = REQUESTS.replace("\n", "\r\n")
    assert asked(server, "-", "--client-name=mx.white.example", given=text) == ["action=DUNNO"] * 2


def test_json_says_whom_it_asked(server: Running) -> None:
    told = answer_of("ask", f"--server=127.0.0.1:{server.port}", "--sasl-username=alice")
    assert told["server"] == f"127.0.0.1:{server.port}"
    assert told["action"] == "DUNNO"
    assert told["seconds"] > 0


def test_the_server_may_be_named_as_in_main_cf_or_in_the_settings(
    server: Running, tmp_path: Path
) -> None:
    port = server.port
    for name in (
        f"inet:127.0.0.1:{port}", f"inet:localhost:{port}", str(port), f"localhost:{port}",
        f"*:{port}", f"unix:{tmp_path}/socket", f"{tmp_path}/socket",
    ):  # fmt: skip
        done = run_here("ask", f"--server={name}", "--sasl-username=alice")
        assert (done.returncode, done.stdout, errors(done)) == (0, "action=DUNNO\n", []), name
    config = tmp_path / "greyd.toml"
    # Nobody listens on the first of them.
    config.write_text(f'inet = ["127.0.0.1:{free_port()}", "127.0.0.1:{port}"]\n')
    done = run_here("ask", f"--config={config}", "--sasl-username=alice")
    assert (done.returncode, done.stdout, errors(done)) == (0, "action=DUNNO\n", [])


@pytest.mark.parametrize(
    ("words", "given", "line"),
    [
        (["--server=127.0.0.1:{free}"], "", "127.0.0.1:{free}: Connection refused; is greyd run"),
        (["--server={folder}/none"], "", "{folder}/none: No such file or directory; is greyd"),
        (["--server=here"], "", "--server=here: expected [HOST:]PORT or the path of a socket"),
        (["--server=127.0.0.1:65536"], "", "--server=127.0.0.1:65536: expected [HOST:]PORT"),
        (["--server=127.0.0.1:0"], "", "--server=127.0.0.1:0: expected [HOST:]PORT"),
        (["--server="], "", "--server=: expected [HOST:]PORT"),
        (["{folder}/none"], "", "{folder}/none: No such file or directory"),
        (["{folder}"], "", "{folder}: Is a directory"),
        (["-"], "", "-: not a request: expected lines like sender=alice@example.com"),
        (["-"], "hello\n", "-: not a request: expected lines like sender=alice@example.com"),
        (["-"], "a" * 1024 * 1024 + "=\n", "-: larger than 1048576 bytes"),
        (["--sender=a\nb"], "", "--sender=a%0Ab: a b is not an address, domain or network"),
        (["--helo-name=a\nb"], "", "--helo-name: a value must not contain a line break"),
    ],
)
def test_what_can_not_be_asked_is_told_in_one_line(
    tmp_path: Path, words: list[str], given: str, line: str
) -> None:
    filled = {"free": free_port(), "folder": tmp_path}
    done = run_here("ask", *(word.format(**filled) for word in words), given=given)
    assert (done.returncode, done.stdout) == (2, "")
    (said,) = errors(done)
    assert said.startswith("greyd: " + line.format(**filled))


def test_a_server_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    with greyd(tmp_path, f"--metrics=127.0.0.1:{(port := free_port())}"):
        done = run_here("ask", f"--server=127.0.0.1:{port}", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    (said,) = errors(done)
    assert said.startswith(f"greyd: 127.0.0.1:{port}: ")
