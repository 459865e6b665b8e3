"""An unknown command: the message proposes what the word probably stands for."""

from __future__ import annotations

import pytest

from greyd.cli.app import COMMANDS
from greyd.cli.unknown_command import _COMMANDS_OF_TOPICS
from tests.commands import run_here


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("preset", "preset is an option of greyd serve: greyd config preset shows it, greyd replay"
                   " --with preset=recommended tries it out"),
        ("auto_whitelist_clients", "greyd config auto-whitelist-clients shows it"),
        ("metrics", "metrics is an option of greyd serve: greyd config metrics shows it;"),
        ("relase", "did you mean release?"),
        ("stauts", "did you mean stats or status?"),
        ("serach", "did you mean greyd show?"),
        ("search", "you may want greyd show;"),
        ("help", "you may want greyd -h;"),
        ("bob@example.org", "greyd show bob@example.org shows"),
        ("192.0.2.1", "greyd show 192.0.2.1 shows"),
        ("xyzzy", 'no such command: "xyzzy"; see greyd --help'),
        ("a\x1b[31m", 'no such command: "a?[31m"; see greyd --help'),
    ],
)  # fmt: skip
def test_the_message_proposes_what_the_word_stands_for(word: str, said: str) -> None:
    done = run_here(word)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("see greyd --help\n")


def test_no_topic_is_a_command_and_all_lead_to_one() -> None:
    assert not {*_COMMANDS_OF_TOPICS} & {"serve", *COMMANDS}
    for proposed in _COMMANDS_OF_TOPICS.values():
        program, command, *_ = proposed.split()
        assert program == "systemctl" or command in ("serve", *COMMANDS, "-h", "--version")


def test_config_shows_what_a_preset_sets() -> None:
    shown = run_here("config", "preset").stdout
    assert "preset=recommended sets, unless they are set explicitly:\n" in shown
    assert "  identity = spf,name\n" in shown
    assert "  dnsbl = zen.spamhaus.org=1h\n" in shown
    assert "preset=recommended" not in run_here("config", "delay").stdout
