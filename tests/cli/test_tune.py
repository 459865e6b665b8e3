"""``greyd tune``: one log, many settings, and which of them is worth setting."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.main import main
from greyd.config.vocabulary import DAY
from tests.commands import is_setting
from tests.mail_log import MailLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answer = tuple[int, str, str]


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Answer]]:
    """Yield what runs a command on a log, with settings that today's server has."""
    for name in filter(is_setting, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GREYD_RUN_DIR", str(tmp_path))
    (tmp_path / "none").touch()

    def do(name: str, *words: str, **today: object) -> Answer:
        config, none = tmp_path / "greyd.toml", str(tmp_path / "none")
        table = {"whitelist_clients": [none], "whitelist_recipients": [none], **today}
        if "never_auto_whitelist" in today:
            (tmp_path / "never").write_text("firm0.com\n")
            table["never_auto_whitelist"] = [str(tmp_path / "never")]
        lines = [f"{key} = {json.dumps(each)}\n" for key, each in table.items()]
        config.write_text("".join(lines))
        with pytest.raises(SystemExit) as ended:
            main([name, f"--config={config}", *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    mask = os.umask(0o022)
    yield do
    os.umask(mask)


def mixed_mail(folder: Path, seed: int, *, identities: bool = False) -> str:
    """Write a log of good mail, of a pool of addresses, and of spam, as a server with 300 s."""
    chance, log = random.Random(seed), MailLog(folder)
    events: list[tuple[float, str, dict[str, str]]] = []
    for _ in range(220):
        at = chance.uniform(0, 3 * DAY)
        kind = chance.choice(["good", "good", "pool", "spam", "known"])
        who = {"recipient": f"{chance.choice('abc')}@example.org"}
        if kind == "spam":
            address = f"203.0.113.{chance.randrange(1, 9)}"
            who |= {"name": "unknown", "address": address, "sender": "x@spam.example"}
            times = [at, *([at + chance.choice([70, 130, 299])] * chance.randrange(2))]
        elif kind == "known":
            who |= {"name": "mx.known.com", "address": "192.0.2.80", "sender": "k@known.com"}
            log.decided(at, f"pass, reason={chance.choice(['client AWL', 'triplet found'])}", **who)
            continue
        else:
            number = chance.randrange(3)
            who |= {"sender": f"{chance.choice('de')}@firm{number}.com"}
            times = [at, at + chance.choice([60, 200]), at + chance.choice([310, 700, 4000])]
            host = number if kind == "good" else chance.randrange(40)
            who["name"] = f"out{host}.firm{number}.com"
            who["address"] = f"198.51.{100 + host % 5 if kind == 'pool' else number}.{1 + host}"
        for place, each in enumerate(times):
            waited = int(each) - int(times[0])
            said = "greylist, reason=new"
            if place:
                said = f"greylist, reason=early-retry ({300 - waited}s missing)"
            if waited >= 300:
                said = f"pass, reason=triplet found, delay={waited}"
            who_now = dict(who)
            if kind == "pool" and place:
                host = chance.randrange(40)
                who_now["name"] = who["name"].replace("out", f"out{host}x", 1)
                who_now["address"] = f"198.51.{100 + host % 5}.{1 + host}"
            if identities and kind != "spam":
                who_now["more"] = f", identity={who['sender'].partition('@')[2]}"
            events.append((each, said, who_now))
    for each, said, whose in events:
        log.decided(each, said, **whose)
    log.decided(4 * DAY, "pass, reason=authenticated")
    return str(log.written())


AXES = ("--delay=60,300,900", "--retry-window=1h,2d", "--auto-whitelist=0,2,5", "--subnet=24,32")
EQUAL_CASES: list[dict[str, object]] = [
    {},
    {"delay": 120, "auto_whitelist_clients": 2},
    {"identity": "name", "auto_whitelist_identities": 2},
    {"greylist": "suspicious", "signals": "no_ptr,generic_name"},
    {"never_auto_whitelist": ["firm0.com"]},
    {"delay": 0},
]


@pytest.mark.parametrize("today", EQUAL_CASES, ids=str)
def test_each_setting_has_the_figures_that_replay_shows(
    tmp_path: Path, command: Callable[..., Answer], today: dict[str, object]
) -> None:
    log = mixed_mail(tmp_path, 18, identities="identity" in today)
    status, out, err = command("tune", log, "--json", *AXES, **today)
    assert status == 0, err
    told = json.loads(out)
    points = told["settings"]
    assert points[0]["with"] == []
    assert len(points) > 20
    for point in [points[0], *random.Random(7).sample(points[1:], 8)]:
        changes = [word for each in point["with"] for word in ("--with", each)]
        status, out, err = command("replay", log, "--json", *changes, **today)
        assert status == 0, err
        replayed = json.loads(out)
        figures = replayed["other" if changes else "today"]
        assert _compared(point) == _compared(figures), point["with"]
        assert told["log"]["mails"] == replayed["log"]["mails"]
        assert told["log"]["decisions_equal"] == replayed["log"]["decisions_equal"]


def _compared(figures: dict[str, Any]) -> dict[str, object]:
    came_in, waits = figures["came_in"], figures["came_in"]["wait_seconds"] or {}
    return {
        **{name: came_in[name] for name in ("at_once", "waited", "lost")},
        **{name: figures["never_came_back"][name] for name in ("kept_out", "let_in")},
        "median": waits.get("p50"),
        "total": waits.get("total", 0),
    }


def test_the_chosen_setting_waits_less_and_lets_no_more_spam_in(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    log = mixed_mail(tmp_path, 3)
    told = json.loads(command("tune", log, "--json", *AXES, delay=900)[1])
    today, chosen = told["settings"][0], told["set"]
    assert chosen["never_came_back"]["let_in"] <= today["never_came_back"]["let_in"]
    assert chosen["came_in"]["lost"] <= today["came_in"]["lost"]
    waits = [each["came_in"]["wait_seconds"]["total"] for each in (chosen, today)]
    assert waits[0] < waits[1]
    _, text, _ = command("tune", log, *AXES, delay=900)
    assert text.startswith(f"Set {chosen['options']}: ")
    assert f'GREYD_OPTS="{chosen["options"]}"' in text


def test_nothing_better_means_keep_what_you_have(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    log = mixed_mail(tmp_path, 3)
    words = (
        "--preset=none",
        "--delay=600",
        "--retry-window=2d",
        "--auto-whitelist=5",
        "--subnet=24",
    )
    assert json.loads(command("tune", log, "--json", *words)[1])["set"] is None
    assert command("tune", log, *words)[1].startswith("Keep what you have: ")


@pytest.mark.parametrize("today", [{}, {"never_auto_whitelist": ["firm0.com"]}], ids=str)
def test_a_preset_is_tried_and_named(
    tmp_path: Path, command: Callable[..., Answer], today: dict[str, object]
) -> None:
    log, words = mixed_mail(tmp_path, 3), ("--delay=60", "--subnet=24", "--auto-whitelist=5")
    told = json.loads(command("tune", log, "--json", *words, **today)[1])
    [point] = [each for each in told["settings"] if each["with"] == ["preset=recommended"]]
    _, out, _ = command("replay", log, "--json", "--with=preset=recommended", **today)
    assert _compared(point) == _compared(json.loads(out)["other"])
    _, text, _ = command("tune", log, *words, **today)
    assert "--preset=recommended" in text.partition("\n\n")[0]
    assert " preset=recommended\n" in text
    without = command("tune", log, *words, **today, preset="recommended")[1]
    assert "preset=" not in without


def test_a_plot_of_equal_spam_is_left_out(tmp_path: Path, command: Callable[..., Answer]) -> None:
    log = MailLog(tmp_path)
    log.decided(0, "greylist, reason=new")
    log.decided(310, "pass, reason=triplet found, delay=310")
    _, text, _ = command("tune", str(log.written()))
    assert "total wait" in text
    assert "T today" not in text
    assert "T today" in command("tune", mixed_mail(tmp_path, 3), *AXES, delay=900)[1]


def test_the_frontier_has_no_setting_that_another_beats(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    told = json.loads(command("tune", mixed_mail(tmp_path, 5), "--json", *AXES)[1])

    def figures(point: dict[str, Any]) -> tuple[int, int]:
        came_in = point["came_in"]
        cost = came_in["wait_seconds"]["total"] + came_in["lost"] * 5 * DAY
        return cost, point["never_came_back"]["let_in"]

    every = [figures(each) for each in told["settings"]]
    best = [figures(each) for each in told["settings"] if each["frontier"]]
    assert best
    for cost, spam in best:
        assert not any(a <= cost and b <= spam and (a, b) != (cost, spam) for a, b in every)
    for cost, spam in set(every) - set(best):
        assert any(a <= cost and b <= spam for a, b in best)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--delay="], "--delay=: expected values"),
        (["--delay=60,,300"], "expected values"),
        (["--delay=soon"], "delay"),
        (["--subnet=33"], "ipv4cidr"),
        (["--preset=best"], "preset"),
        (["--delay=" + ",".join(map(str, range(60, 160)))], "combinations"),
    ],
)
def test_a_bad_axis_ends_with_one_line(
    tmp_path: Path, command: Callable[..., Answer], words: list[str], message: str
) -> None:
    status, out, err = command("tune", mixed_mail(tmp_path, 1), *words)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_the_page_has_a_plot_and_loads_nothing(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    page = tmp_path / "tune.html"
    status, out, err = command("tune", mixed_mail(tmp_path, 3), f"--html={page}", delay=900)
    assert status == 0, err
    assert f"wrote {page}" in out
    html = page.read_text()
    assert "<svg" in html
    assert "today&#39;s settings" in html
    assert "<script" not in html
    assert "src=" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_no_line_of_the_text_has_trailing_blanks(
    tmp_path: Path, command: Callable[..., Answer]
) -> None:
    _, out, _ = command("tune", mixed_mail(tmp_path, 3), *AXES, delay=900)
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
