"""``greyd release``: what is probably spam comes first, and a terminal's user is asked."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.rules.keys import request_keys
from tests.commands import CHECKOUT, content, environment_without_settings, fill, run_here
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
SETTINGS = Settings()
WAITS = b"%d" % (NOW - 60)
LOST = b"%d" % (NOW - 40_000)
PASSED = b"%d,%d,%d" % (NOW - 30_000, NOW - 20_000, NOW - 20_000)


def key(client: str, sender: str, recipient: str = "bob@example.org") -> bytes:
    return request_keys(address_of(client), sender.encode(), recipient.encode(), SETTINGS).triplet


def signs_of(url: str, *options: str) -> dict[str, str]:
    """Return the sign of each sender, in the order of the table."""
    done = run_here("release", f"--store={url}", "--dry-run", *options, GREYD_DELAY="7200")
    lines = [line.split("  ") for line in done.stdout.splitlines()[1:] if "@" in line]
    return {[part for part in line if part][1].strip(): line[-1] for line in lines}


def test_what_is_probably_spam_comes_first(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    known = request_keys(address_of("192.0.2.9"), b"", b"", SETTINGS).client
    fill(
        url,
        {
            key("192.0.2.7", "a@known.example"): WAITS,
            known: b"2,%d" % NOW,
            key("192.0.2.77", "lost@known.example"): LOST,
            key("198.51.100.7", "b@new.example"): WAITS,
            key("198.51.101.7", "f@passed.example"): WAITS,
            key("198.51.101.8", "f@passed.example", "carol@example.org"): PASSED,
            key("203.0.113.7", "c@lost.example"): WAITS,
            key("203.0.113.8", "d@other.example", "carol@example.org"): LOST,
            **{key("2001:db8::1", f"e@{n}.many{n}.com"): WAITS for n in range(3)},
            **{key("2001:db8:1::1", f"g@{n}.one.com"): WAITS for n in range(3)},
        },
    )
    signs = signs_of(url, "--recipient=bob@example.org")
    assert signs == {
        "c@lost.example": "spam? 1 never returned",
        **{f"e@{n}.many{n}.com": "spam? 3 sender domains" for n in range(3)},
        "b@new.example": "new network",
        **{f"g@{n}.one.com": "new network" for n in range(3)},
        "a@known.example": "known network",
        "f@passed.example": "known network",
        # Of mail that is not released, no sign is shown.
        "lost@known.example": "-",
    }
    assert all(sign.startswith("spam?") for sign in list(signs.values())[:4])
    assert set(list(signs)[-3:]) == {"a@known.example", "f@passed.example", "lost@known.example"}
    done = run_here(
        "release", f"--store={url}", "--recipient=example.org", "--json", GREYD_DELAY="7200"
    )
    assert json.loads(done.stdout)["probably_spam"] == 4


@pytest.mark.parametrize(
    ("options", "released", "left"),
    [
        (("--without-spam",), ["known", "new"], 2),
        (("--without-spam", "--dry-run"), [], 2),
        (("--without-spam", "--sender=lost.example"), [], 1),
        (("--without-spam", "--sender=new.example"), ["new"], 0),
        ((), ["known", "lost", "many", "new"], 0),
    ],
)
def test_what_is_probably_spam_can_be_left_waiting(
    tmp_path: Path, options: tuple[str, ...], released: list[str], left: int
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    waiting = {
        "known": key("192.0.2.7", "a@known.example"),
        "new": key("198.51.100.7", "b@new.example"),
        "lost": key("203.0.113.7", "c@lost.example"),
        "many": key("2001:db8::1", "e@many.example"),
    }
    known = request_keys(address_of("192.0.2.9"), b"", b"", SETTINGS).client
    others = {
        known: b"2,%d" % NOW,
        key("203.0.113.8", "d@other.example", "carol@example.com"): LOST,
        **{key("2001:db8::1", f"e@{n}.com", "carol@example.com"): WAITS for n in "ab"},
    }
    fill(url, {**dict.fromkeys(waiting.values(), WAITS), **others})
    before = content(url)
    done = run_here(
        "release", f"--store={url}", "--recipient=example.org", *options, GREYD_DELAY="7200"
    )
    after = content(url)
    assert [
        name for name, each in sorted(waiting.items()) if after[each] != before[each]
    ] == released
    assert (f"{left} not released: probably spam" in done.stdout) is (left > 0)
    assert done.returncode == int("--sender=lost.example" in options)


def test_of_a_flood_that_is_not_released_only_the_counts_are_shown(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    flood = {key("192.0.2.7", f"{'x' * n}@flood.example"): b"%d" % (NOW - 9000) for n in range(30)}
    fill(url, {**flood, key("198.51.100.7", "b@new.example"): WAITS})
    text = run_here(
        "release", f"--store={url}", "--recipient=example.org", GREYD_DELAY="7200"
    ).stdout
    assert "b@new.example" in text
    assert "@flood.example" not in text
    assert "30 not released: the delay is over" in text


def answered(answer: bytes, url: str, *options: str) -> tuple[str, int]:
    """Run ``greyd release`` on a terminal, and type an answer if it asks."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "greyd", "release", f"--store={url}", *options],
        cwd=CHECKOUT, stdin=its, stdout=its, stderr=its, start_new_session=True,
        env={**environment_without_settings(), "TERM": "dumb", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(its)
    text = b""
    try:
        while piece := os.read(ours, 10_000):
            text += piece
            if b"[y/N]" in piece and answer == b"^C":
                process.send_signal(signal.SIGINT)
            elif b"[y/N]" in piece:
                os.write(ours, answer + b"\n")
    except OSError:
        pass
    os.close(ours)
    return text.decode(), process.wait(timeout=60)


@pytest.mark.parametrize(
    ("answer", "released", "status"), [(b"y", 6, 0), (b"n", 0, 2), (b"", 0, 2), (b"^C", 0, 130)]
)
def test_a_user_is_asked_before_many_go_and_a_no_changes_nothing(
    tmp_path: Path, answer: bytes, released: int, status: int
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    now = int(time.time())
    fill(url, {key("192.0.2.7", f"{'x' * n}@example.com"): b"%d" % now for n in range(1, 7)})
    before = content(url)
    text, code = answered(answer, url, "--recipient=example.org")
    assert "greyd: release 6 waiting triplets? [y/N]" in text
    assert code == status
    assert (content(url) == before) is (released == 0)
    assert ("6 released" in text) is (released == 6)


def test_one_mail_or_a_yes_needs_no_question(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    now = int(time.time())
    fill(url, {key("192.0.2.7", f"{'x' * n}@example.com"): b"%d" % now for n in range(1, 7)})
    one = ("--sender=x@example.com", "--recipient=bob@example.org")
    assert "1 released" in answered(b"", url, *one)[0]
    text, status = answered(b"", url, "--recipient=bob@example.org", "--yes")
    assert ("5 released" in text, "[y/N]" in text, status) == (True, False, 0)


MANY = 25
"""More than the command shows."""
TO_BOB = [key("192.0.2.7", f"a@{n}.example") for n in range(MANY)]
BOUNCES = [key("203.0.113.7", "", f"b{n}@example.org") for n in range(MANY)]
QUOTED = [key("198.51.100.7", f"c{n}@example.com", "o'neil&co@quoted.example") for n in range(MANY)]


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        (["bob@example.org"], [TO_BOB]),
        (["example.org"], [TO_BOB, BOUNCES]),
        (["--recipient=bob@example.org"], [TO_BOB]),
        (["--recipient", "example.org", "--sender", "<>"], [BOUNCES]),
        (["--sender=<>", "--without-spam"], [BOUNCES]),
        (["192.0.2.0/24"], [TO_BOB]),
        (["--client=198.51.100.7", "--sender=example.com"], [QUOTED]),
        (["--recipient=o'neil&co@quoted.example"], [QUOTED]),
    ],
)
def test_a_command_lists_the_mail_that_is_not_shown(
    tmp_path: Path, words: list[str], groups: list[list[bytes]]
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    waiting = dict.fromkeys([*TO_BOB, *BOUNCES, *QUOTED], WAITS)
    waiting[TO_BOB[0]] = waiting[QUOTED[0]] = LOST
    passed = {key("192.0.2.7", "passed@example.com"): PASSED}
    fill(url, waiting | passed)
    done = run_here("release", f"--store={url}", "--dry-run", *words, GREYD_DELAY="7200")
    line = next(each for each in done.stdout.splitlines() if "greyd list" in each)
    command = line.partition("; greyd ")[2].removesuffix(" shows all")
    listed = run_here(*shlex.split(command), "--json", GREYD_DELAY="7200")
    keys = {each["key"].encode() for each in json.loads(listed.stdout)["entries"]}
    assert keys == {each for group in groups for each in group}
