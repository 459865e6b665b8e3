"""What can't be set up ends the start: status 2, one line that says what to do, nothing left."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import (
    CHECKOUT,
    QUIET,
    SERVE,
    Ended,
    ask,
    has_said,
    nothing_left_of,
    only_as_root,
    open_folder,
    processes_of,
    run_to_the_end,
    serve,
)
from tests.processes import free_port, greyd, program, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


def assert_refused(ended: Ended, folder: Path, line: str) -> None:
    """Assert status 2, the one line, and that nothing stayed in the folder nor in memory."""
    assert ended.status == 2, ended.errors
    assert ended.output == ""
    assert "Traceback" not in ended.errors
    assert re.fullmatch(rf"greyd: [^\n]*{line}[^\n]*\n", ended.errors), ended.errors
    assert not (folder / "pid").exists()
    assert not (folder / "socket").exists()
    assert not list(folder.glob("tmp/*"))
    assert not processes_of(folder)


def start(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Ended:
    """Start with all that could be left behind: a pid file, a Unix socket, a port, counters."""
    temporary = folder / "tmp"
    temporary.mkdir()
    return serve(
        f"--inet=127.0.0.1:{free_port()}", f"--unix={folder / 'socket'}",
        f"--pidfile={folder / 'pid'}", f"--dbdir={folder}", *QUIET, *options,
        environment={"TMPDIR": str(temporary), **(environment or {})},
    )  # fmt: skip


# Options ----------------------------------------------------------------------------------------


def link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


BAD_OPTIONS = [
    pytest.param(["--colour=grey"], "--colour: unknown option; see greyd serve --help", id="name"),
    pytest.param(["-z"], "-z: unknown option", id="letter"),
    pytest.param(["--del=60"], "--del: unknown option", id="abbreviation"),
    pytest.param(["--delay=soon"], "--delay=soon: expected a whole number", id="number"),
    pytest.param(["--delay=1.5"], r"--delay=1\.5: expected a whole number", id="fraction"),
    pytest.param(["--delay="], "--delay=: expected", id="no number"),
    pytest.param(["--delay"], "--delay needs a value", id="no value"),
    pytest.param(["--quiet=yes"], "--quiet takes no value", id="value too many"),
    pytest.param(["--max-age=old"], "--max-age=old: expected", id="days"),
    pytest.param(["--retry-window=2y"], "--retry-window=2y: expected .*6h", id="years"),
    pytest.param(["--ipv4cidr=33"], "--ipv4cidr=33: expected .* 0 to 32", id="ipv4cidr"),
    pytest.param(["--ipv6cidr=129"], "--ipv6cidr=129: expected .* 0 to 128", id="ipv6cidr"),
    pytest.param(
        ["--auto-whitelist-clients=abc"], "--auto-whitelist-clients=abc: expected", id="awl"
    ),
    pytest.param(["--unix=@greyd"], "--unix=@greyd: expected .* abstract socket", id="abstract"),
    pytest.param(["--unix=/"], "--unix=/: expected the path of a file", id="no socket's path"),
    pytest.param(["--unix=/" + 107 * "x"], "--unix=/x+: expected .* 107 bytes", id="long path"),
    pytest.param(
        ["--auto-whitelist-clients=-3"], "--auto-whitelist-clients=-3: expected .*0 or", id="-3"
    ),
    pytest.param(
        ["--listen-queue-size=999999999999"],
        "--listen-queue-size=9+: expected .* 2147483647",
        id="queue",
    ),
    pytest.param(["--socketmode=0999"], "--socketmode=0999: expected", id="mode of a file"),
    pytest.param(["--mode=maybe"], "--mode=maybe: expected one of on, learn, off", id="mode"),
    pytest.param(["--log-format=xml"], "--log-format=xml: expected one of", id="log format"),
    pytest.param(["--facility=post"], "--facility=post: expected", id="facility"),
    pytest.param(["--store-timeout=0"], "--store-timeout=0: expected", id="timeout"),
    pytest.param(["--on-store-failure=panic"], "--on-store-failure=panic: exp", id="failure"),
    pytest.param(["--workers=0"], "--workers=0: expected", id="no workers"),
    pytest.param(["--workers=many"], "--workers=many: expected", id="many workers"),
    pytest.param(
        ["--workers=2", "--store=memory://"],
        "--workers: processes cannot share memory://",
        id="memory",
    ),
    pytest.param(["--inet=localhost"], r"--inet=localhost: expected \[HOST:\]PORT", id="no port"),
    pytest.param(["--inet=127.0.0.1:65536"], "--inet=127.0.0.1:65536: expected", id="port"),
    pytest.param(["--inet=nowhere.invalid:10023"], "--inet=nowhere.invalid:10023: ", id="no host"),
    pytest.param(["--inet=192.0.2.1:0"], r"--inet=192\.0\.2\.1:0: .*address of this host", id="ip"),
    pytest.param(["--metrics=high"], "--metrics=high: expected", id="metrics"),
    pytest.param(["--user=no-such-user"], "--user=no-such-user: no such user", id="user"),
    pytest.param(["--group=no-such-group"], "--group=no-such-group: no such group", id="group"),
    pytest.param(["--greylist-text=a\nb"], "--greylist-text=.*control char", id="text"),
    pytest.param(["--privacy-key=/dev/null"], "--privacy-key .* --privacy", id="key alone"),
    pytest.param(["--privacy", "--privacy-key=/dev/null"], "--privacy-key=/dev/null: ", id="key"),
    pytest.param(["--store=mysql://localhost/"], "--store: unknown scheme.*redis", id="scheme"),
    pytest.param(["--store=greyd.db"], "--store.*sqlite:", id="no scheme"),
    pytest.param(["--store=sqlite:"], "sqlite:PATH", id="no file"),
    pytest.param(["--store=sqlite:x?colour=grey"], "sqlite:PATH", id="option of a file"),
    pytest.param(["--store=redis://host:port/0"], "--store=redis://.*HOST:PORT", id="Redis"),
    pytest.param(["--store=redis+sentinel://a,b"], "--store=redis.sentinel.*NAME", id="master"),
    pytest.param(
        ["--store=sqlite:a", "--store=memory://"], "--store: two different stores", id="two"
    ),
    pytest.param(
        ["--recipient-domain=*.example.com;delay=5"],
        r"--recipient-domain: \*\.example\.com: no wildcards; write example.com and subdom",
        id="wildcard",
    ),
    pytest.param(
        [
            "--recipient-domain=bücher.example;delay=5",
            "--recipient-domain=xn--bcher-kva.example;mode=off",
        ],
        "--recipient-domain: xn--bcher-kva.example is the same domain as bücher.example",
        id="one domain in two forms",
    ),
    pytest.param(
        ["--sender-group=a=co.uk"],
        "--sender-group: co.uk: all names below .co.uk, whoever owns them, would be one sender",
        id="public suffix",
    ),
    pytest.param(
        ["--sender-group=a=192.0.2.0/24", "--sender-group=b=::ffff:192.0.2.0/120"],
        "--sender-group: ::ffff:.* is also a member of a; a client belongs to one group",
        id="member of two groups",
    ),
]


@pytest.mark.parametrize(("options", "line"), BAD_OPTIONS)
def test_an_option_that_means_nothing_ends_the_start(
    tmp_path: Path, options: list[str], line: str
) -> None:
    assert_refused(start(tmp_path, *options), tmp_path, line)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--colour=grey"], id="name"),
        pytest.param(["--store=mysql://localhost/"], id="store"),
        pytest.param(["--user=no-such-user"], id="user"),
        pytest.param(["--inet=nowhere.invalid:10023"], id="host"),
        pytest.param(["--store=mysql://localhost/", "--workers=2"], id="store of two"),
    ],
)
def test_in_the_background_it_is_the_same(tmp_path: Path, options: list[str]) -> None:
    assert_refused(start(tmp_path, "--daemonize", *options), tmp_path, "")


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"GREYD_DELAY": "soon"}, "GREYD_DELAY=soon: expected a whole number"),
        ({"GREYD_DAEMONIZE": "maybe"}, "GREYD_DAEMONIZE=maybe: expected yes or no"),
        ({"GREYD_INET": "10023 nowhere"}, "GREYD_INET=nowhere: expected"),
        ({"GREYD_STORE": "mysql://localhost/"}, "--store: unknown scheme"),
        ({"GREYD_CONFIG": "/nonexistent/greyd.toml"}, "/nonexistent/greyd.toml: No such file"),
    ],
)
def test_a_variable_that_means_nothing_ends_the_start(
    tmp_path: Path, environment: dict[str, str], line: str
) -> None:
    assert_refused(start(tmp_path, environment=environment), tmp_path, line)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("delay = \n", "line 1", id="broken"),
        pytest.param("[server\n", "line 1", id="broken table"),
        pytest.param('colour = "grey"\n', "colour: unknown setting", id="unknown key"),
        pytest.param("[server]\ndelay = 60\n", "server: unknown setting", id="unknown table"),
        pytest.param('delay = "soon"\n', "delay=soon: expected a whole number", id="bad number"),
        pytest.param("delay = [60, 70]\n", "delay: use a string, a number", id="list"),
        pytest.param("delay = 1979-05-27\n", "delay: use a string, a number", id="date"),
        pytest.param('config = "other.toml"\n', "config: unknown setting", id="config in config"),
        pytest.param("delay = 60\ndelay = 70\n", "overwrite", id="key given twice"),
        pytest.param(b"delay = 60 # gr\xfcn\n", "utf-8", id="Latin-1"),
    ],
)
def test_a_file_that_means_nothing_ends_the_start(
    tmp_path: Path, text: str | bytes, line: str
) -> None:
    file = tmp_path / "greyd.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused = start(tmp_path, f"--config={file}")
    assert_refused(refused, tmp_path, f"{re.escape(str(file))}: .*{line}")


def test_a_folder_is_no_file_of_settings(tmp_path: Path) -> None:
    refused = start(tmp_path, f"--config={tmp_path}")
    assert_refused(refused, tmp_path, f"{re.escape(str(tmp_path))}: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("delay = " + "[" * 5000 + "]" * 5000, "nested too deep", id="lists"),
        pytest.param("delay = " + "{a=" * 5000 + "1" + "}" * 5000, "", id="tables"),
        pytest.param("delay = " + "9" * 5000, "too many digits", id="digits"),
        pytest.param("delay = -" + "9" * 5000, "too many digits", id="digits below nought"),
        pytest.param("delay = 1e999999", "expected", id="exponent"),
        pytest.param("delay = inf", "expected", id="infinity"),
        pytest.param("store-timeout = nan", "expected", id="nan"),
        pytest.param('"\\u001b[31m" = 1', "unknown setting", id="odd key"),
        pytest.param("#" * (2**20 + 1), "larger than 1 MiB", id="large"),
        pytest.param("listen_queue_size = 999999999999", "2147483647", id="queue"),
        pytest.param("max_age = -1", "0 or more", id="age"),
        pytest.param(
            '[recipient_domain."a.example"]\ndelay = "soon"',
            r'recipient_domain\."a\.example": delay=soon: expected',
            id="delay of a domain",
        ),
        pytest.param(
            '[recipient_domain."bücher.example"]\ndelay = 5\n'
            '[recipient_domain."xn--bcher-kva.example"]\ndelay = 6',
            "is the same domain as bücher.example; set it once",
            id="a domain in two forms",
        ),
        pytest.param(
            '[[sender_group]]\nname = "a"\nnames = ["com.de", "co.uk"]',
            'sender_group "a": .*whoever owns them',
            id="public suffix",
        ),
    ],
)
def test_a_file_that_is_too_much_ends_the_start(tmp_path: Path, text: str, line: str) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text(text)
    assert_refused(
        start(tmp_path, f"--config={file}"), tmp_path, f"{re.escape(str(file))}: .*{line}"
    )


@pytest.mark.parametrize(
    "option",
    ["--config={}", "--privacy --privacy-key={}", "--store=redis://h/0 --store-password-file={}"],
)
@pytest.mark.parametrize(
    ("make", "kind"),
    [(os.mkfifo, "a named pipe"), (Path.mkdir, "directory"), (link_to_zero, "a device")],
    ids=["fifo", "directory", "device"],
)
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(
    tmp_path: Path, option: str, make: Callable[[Path], object], kind: str
) -> None:
    odd = tmp_path / "odd"
    make(odd)
    words = option.replace("{}", str(odd)).split()
    assert_refused(start(tmp_path, *words), tmp_path, f"{re.escape(str(odd))}: .*{kind}")


# Folders and files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--dbdir={}/none"], "--dbdir={}/none: no such folder; create it"),
        (["--dbdir={}/file"], "--dbdir={}/file: "),
        (["--unix={}/none/socket"], "--unix={}/none/socket: No such file or directory"),
        (["--unix={}/file"], "--unix={}/file: .*not a socket"),
        (["--daemonize", "--pidfile={}/none/pid"], "--pidfile={}/none/pid: No such file"),
        (["--daemonize", "--pidfile={}"], "--pidfile={}: "),
        (["--config={}/none.toml"], "{}/none.toml: No such file or directory"),
        (["--privacy", "--privacy-key={}/none"], "--privacy-key={}/none: No such file"),
        (
            ["--store=redis://db/0", "--store-password-file={}/none"],
            "--store-password-file={}/none: No such file",
        ),
        (
            ["--store=redis://db/0", "--store-password-file={}/empty"],
            "--store-password-file={}/empty: should hold the password alone",
        ),
        (
            ["--store=redis://db/0", "--store-password-file={}/two"],
            "--store-password-file={}/two: should hold the password alone",
        ),
        (
            ["--store=redis://db/0", "--store-password-file={}/octets"],
            "--store-password-file={}/octets: not UTF-8 text",
        ),
        (["--store=sqlite:{}/none/greyd.db"], "sqlite:{}/none/greyd.db: .*{}/none"),
        (["--store=sqlite:{}/none/greyd.db", "--workers=2"], "sqlite:{}/none/greyd.db: "),
    ],
)
def test_a_missing_folder_or_file_ends_the_start(
    tmp_path: Path, options: list[str], line: str
) -> None:
    (tmp_path / "file").write_text("not greyd's\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "two").write_text("geheim\ngeheim\n")
    (tmp_path / "octets").write_bytes(b"\xff\xfe\n")
    refused = start(tmp_path, *(each.replace("{}", str(tmp_path)) for each in options))
    assert "geheim" not in refused.errors
    assert_refused(refused, tmp_path, line.replace("{}", re.escape(str(tmp_path))))
    assert (tmp_path / "file").read_text() == "not greyd's\n"


def test_a_pidfile_that_cannot_be_written_is_only_a_warning_in_the_foreground(
    tmp_path: Path,
) -> None:
    # postgrey writes none there.
    with greyd(tmp_path, f"--pidfile={tmp_path}/none/pid") as server:
        assert "greyd: " not in server.log()


# Ports ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [[], ["--daemonize"]])
@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "localhost", "*", ""])
def test_a_port_that_is_taken_ends_the_start(
    tmp_path: Path, address: str, background: list[str]
) -> None:
    with ExitStack() as ends:
        taken = ends.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = taken.getsockname()[1]
        ends.enter_context(socket.create_server(("::1", port), family=socket.AF_INET6))
        refused = start(tmp_path, f"--inet={address}:{port}", *background)
        assert_refused(refused, tmp_path, rf"--inet=.*:{port}: in use; is another greyd")


def test_one_family_taken_is_taken(tmp_path: Path) -> None:
    # Half of localhost would be another server's: Postfix may ask either.
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as taken:
        port = taken.getsockname()[1]
        assert_refused(start(tmp_path, f"--inet={port}"), tmp_path, f":{port}: in use")


def test_a_unix_socket_bound_before_another_failed_goes_again(tmp_path: Path) -> None:
    refused = start(tmp_path, f"--unix={tmp_path}/none/second")
    assert_refused(refused, tmp_path, "--unix=.*/none/second: ")


# Rights -----------------------------------------------------------------------------------------


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder that belongs to the user nobody."""
    only_as_root()
    with open_folder() as folder:
        os.chown(folder, 65534, 65534)
        yield folder


def as_nobody(folder: Path, *options: str) -> Ended:
    """Start as the user nobody, who needs a Python and a checkout that everybody may read."""
    setpriv = [program("setpriv"), "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    environment = {"HOME": str(folder)}
    command = SERVE
    if run_to_the_end([*setpriv, "test", "-x", os.path.realpath(sys.executable)]).status:
        # This Python lies in root's home; Debian's will do, with the same packages.
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        debians = shutil.which(f"python{version}", path="/usr/bin")
        if debians is None:
            pytest.skip("no Python that the user nobody could run")
        packages = sysconfig.get_path("purelib")
        environment["PYTHONPATH"] = f"{packages}:{CHECKOUT}"
        command = [debians, *SERVE[1:]]
    if run_to_the_end([*setpriv, "test", "-r", str(CHECKOUT / "greyd" / "cli.py")]).status:
        pytest.skip("the user nobody can't read this checkout")
    return run_to_the_end([*setpriv, *command, *QUIET, *options], environment)


def privileged_port() -> int:
    """Return a free port that only root may bind."""
    first_of_all = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    for port in range(min(first_of_all, 1024) - 1, 0, -1):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    pytest.skip("here everybody may bind every port (ip_unprivileged_port_start)")


def test_a_port_that_only_root_may_bind_ends_the_start(nobodys: Path) -> None:
    port = privileged_port()
    refused = as_nobody(
        nobodys, f"--inet=127.0.0.1:{port}", f"--dbdir={nobodys}", f"--pidfile={nobodys}/pid"
    )
    assert_refused(refused, nobodys, f"--inet=127.0.0.1:{port}: not allowed; .*1023")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--user=root"], "only root can run as another user or group"),
        (["--group=root"], "only root can run as another user or group"),
        (["--unix=/usr/greyd-test"], "--unix=/usr/greyd-test: Permission denied"),
        (["--daemonize", "--pidfile=/usr/greyd-test"], "--pidfile=/usr/greyd-test: Permission"),
        (["--config=/etc/shadow"], "/etc/shadow: Permission denied"),
    ],
)
def test_what_this_user_may_not_do_ends_the_start(
    nobodys: Path, options: list[str], line: str
) -> None:
    inet = f"--inet=127.0.0.1:{free_port()}"
    refused = as_nobody(nobodys, inet, f"--dbdir={nobodys}", *options)
    assert_refused(refused, nobodys, line)


def test_a_database_that_the_later_user_cannot_write_costs_no_mail(nobodys: Path) -> None:
    # As with a disk that is full or read-only: somebody may see to it while mail passes.
    database = nobodys / "roots"
    database.mkdir(mode=0o700)
    with greyd(nobodys, f"--dbdir={database}", "--user=nobody") as server:
        assert ask(server.port) == "action=DUNNO"
        has_said(server, f"warning: store away: sqlite:{database}/greyd.db: ")
        os.chown(database, 65534, 65534)
        wait_until(lambda: (ask(server.port) or "").startswith("action=DEFER"), "greylisting", 10)


# systemd ----------------------------------------------------------------------------------------


def datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def connected() -> socket.socket:
    one, other = socket.socketpair()
    other.close()
    return one


def not_bound() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def bound_alone() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.bind(("127.0.0.1", 0))
    return opened


def packets() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def netlink() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (datagrams, "is a datagram socket: use ListenStream="),
        (packets, "is a datagram socket"),
        (connected, "does not listen: use ListenStream= and Accept=no"),
        (not_bound, "does not listen"),
        (bound_alone, "does not listen"),
        (netlink, "is neither a TCP nor a Unix socket"),
        (lambda: open(os.devnull), "is not a socket"),  # noqa: PTH123, SIM115 - as a descriptor
    ],
)
def test_a_socket_of_systemd_s_that_does_not_listen_ends_the_start(
    tmp_path: Path, make: Callable[[], socket.socket], line: str
) -> None:
    launcher = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3);"
        " os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
        " os.execv(sys.argv[2], sys.argv[2:])"
    )
    with make() as handed:
        command = [sys.executable, "-c", launcher, str(handed.fileno()), *SERVE, *QUIET]
        done = subprocess.run(
            [*command, f"--dbdir={tmp_path}"], cwd=CHECKOUT, capture_output=True, text=True,
            timeout=60, pass_fds=[handed.fileno()],
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert line in done.stderr
    assert "check the socket unit" in done.stderr


@pytest.mark.parametrize("count", ["nonsense", "1", "-1", "1_0", "9" * 5000, "9999"])
def test_sockets_promised_by_systemd_that_are_not_there_end_the_start(
    tmp_path: Path, count: str
) -> None:
    launcher = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
        " os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = [sys.executable, "-c", launcher, *SERVE, *QUIET, f"--dbdir={tmp_path}"]
    refused = run_to_the_end([*command, f"--inet=127.0.0.1:{free_port()}"], {"LISTEN_FDS": count})
    assert_refused(refused, tmp_path, "LISTEN_FDS")
