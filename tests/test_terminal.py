"""Messages on standard error: whole words on a terminal, one line in a pipe."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from greyd import terminal
from greyd.cli.server.notes import describe_in_row
from greyd.cli.tables.shorten import shorten_path
from greyd.terminal import print_error

LONG = (
    "no running server in /run/greyd, /var/lib/greyd/a-long-folder-name-that-is-not-broken; using"
    " sqlite:/var/lib/greyd/greyd.db; greyd whitelist add 192.0.2.0/24 --reason 'a b c' adds it,"
    " sudo greyd doctor --fix mends the rest; see greyd list --help"
)
WHOLE = (
    "/var/lib/greyd/a-long-folder-name-that-is-not-broken;",
    "sqlite:/var/lib/greyd/greyd.db;",
    "greyd whitelist add 192.0.2.0/24 --reason 'a b c'",
    "sudo greyd doctor --fix",
    "greyd list --help",
)


@pytest.mark.parametrize("width", [30, 45, 80, 120])
def test_a_terminal_shows_whole_words_and_whole_commands(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((width, 24)))
    print_error(LONG)
    lines = capsys.readouterr().err.splitlines()
    assert " ".join(line.strip() for line in lines) == f"greyd: {LONG}"
    assert all(line.startswith("  ") for line in lines[1:])
    for line in lines:
        assert len(line) <= width or line.strip().rstrip(",;") in [
            each.rstrip(",;") for each in WHOLE
        ], line
    for each in WHOLE:
        assert any(each in line for line in lines), each


def test_a_pipe_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(LONG)
    assert capsys.readouterr().err == f"greyd: {LONG}\n"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (None, "server 28690 on 127.0.0.1:10925, store sqlite:/var/lib/a/long/folder/greyd.db"),
        (90, "server 28690 on 127.0.0.1:10925, store sqlite:/var/lib/a/long/folder/greyd.db"),
        (70, "server 28690 on 127.0.0.1:10925, store …/lib/a/long/folder/greyd.db"),
        (37, "server 28690, …/long/folder/greyd.db"),
    ],
)
def test_the_server_takes_one_row(width: int | None, shown: str) -> None:
    record = SimpleNamespace(
        pid=28690, address="127.0.0.1:10925", store="sqlite:/var/lib/a/long/folder/greyd.db"
    )
    server: Any = SimpleNamespace(record=record)
    assert describe_in_row(server, width) == shown


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("/etc/greyd/whitelist_clients.local:5", 80, "/etc/greyd/whitelist_clients.local:5"),
        ("/etc/greyd/whitelist_clients.local:5", 30, "…/whitelist_clients.local:5"),
        ("/etc/greyd/whitelist_clients.local:5", 14, "…ients.local:5"),
        ("sqlite:/srv/greyd/greyd.db", 19, "…/greyd/greyd.db"),
        ("redis://localhost/0", 11, "redis…ost/0"),
        ("command line (--whitelist-clients)", 20, "command li…-clients)"),
        ("/a/b", 0, ""),
    ],
)
def test_a_path_keeps_its_end(path: str, width: int, shown: str) -> None:
    assert shorten_path(path, width) == shown
    assert len(shorten_path(path, width)) <= width


def test_no_message_of_two_lines_is_wrapped_in_a_pipe() -> None:
    assert terminal.error_width() is None
