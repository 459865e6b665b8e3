"""``greyd report``: the providers that it proposes for the whitelist, and those it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_report import END, decided
from tests.commands import run_here

if TYPE_CHECKING:
    from pathlib import Path


def report_here(folder: Path, *texts: str) -> Any:
    """Return what ``greyd report --json`` says of a log."""
    path = folder / "mail.log"
    path.write_text("".join(texts))
    return json.loads(run_here("report", str(path), "--json").stdout)


def retried(names: list[str], sender: str = "alice@example.com") -> list[str]:
    """Return a mail that comes from a network for each name, and passes from the first again."""
    addresses = [f"192.0.{number}.1" for number in range(2, 2 + len(names))]
    tries = [
        decided(600 * number, name=name, address=address, sender=sender)
        for number, (name, address) in enumerate(zip(names, addresses, strict=True))
    ]
    passed = decided(
        600 * len(names), "triplet found, delay=1800", name=names[0], address="192.0.2.1",
        sender=sender,
    )  # fmt: skip
    return [*tries, passed]


@pytest.mark.parametrize(
    ("names", "entry"),
    [
        (["a1.outbound.mail.big.com", "b2.outbound.mail.big.com"], "outbound.mail.big.com"),
        (["mail-a.big.com", "out-b.smtp.big.com"], "big.com"),
        (["192-0-2-1.dsl.big.com", "192-0-3-1.dsl.big.com"], None),
        (["mx1.cust-a.amazonaws.com", "mx2.cust-a.amazonaws.com"], "cust-a.amazonaws.com"),
        (["a.amazonaws.com", "b.amazonaws.com"], None),
        (["a.one.com", "b.two.com"], None),
        (["unknown", "unknown"], None),
        (["a.big.com", "unknown"], None),
    ],
    ids=["narrowest", "whole", "lines", "customer", "everybody's", "two", "nameless", "half"],
)
def test_a_pool_gets_the_command_that_whitelists_it_if_that_is_safe(
    tmp_path: Path, names: list[str], entry: str | None
) -> None:
    found = report_here(tmp_path, *retried(names), END)["whitelist_candidates"]
    assert [each["entry"] for each in found] == ([entry] if entry else [])
    if entry:
        reason = "retries from up to 2 networks"
        assert found[0]["command"] == f"greyd whitelist add {entry} --reason '{reason}'"


def test_who_waits_often_is_a_candidate_and_who_never_returns_is_none(tmp_path: Path) -> None:
    waits = [
        decided(n * 3600 + at, told, name=f"mx{n}.big.com", sender=f"s{n}@big.com")
        for n in range(3)
        for at, told in ((0, "new"), (600, "triplet found, delay=600"))
    ]
    once = [
        decided(at, told, name="mx.once.com", sender="s@once.com", address="198.51.100.1")
        for at, told in ((0, "new"), (600, "triplet found, delay=600"))
    ]
    spam = [
        decided(n, name=f"x{n}.spam.com", address=f"203.0.{n}.1", sender="s@spam.com")
        for n in range(5)
    ]
    found = report_here(tmp_path, *waits, *once, *spam, END)["whitelist_candidates"]
    assert [(each["entry"], each["reason"]) for each in found] == [
        ("big.com", "3 mails waited 30 min in all")
    ]


def test_a_provider_that_the_whitelist_covers_is_not_proposed_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join([*retried(["a.out.big.com", "b.out.big.com"]), END]))
    (tmp_path / "clients").write_text("")
    lists = {"GREYD_WHITELIST_CLIENTS": f"{tmp_path}/clients {tmp_path}/clients.local"}
    command = "greyd whitelist add out.big.com --reason 'retries from up to 2 networks'"
    assert command in run_here("report", str(log), **lists).stdout.splitlines()
    (tmp_path / "clients.local").write_text("big.com\n")
    text = run_here("report", str(log), **lists).stdout
    assert "whitelist add" not in text
    pools = text.partition("Pools")[2].splitlines()
    assert any(line.startswith("big.com") and line.endswith("whitelisted") for line in pools)


def test_the_commands_have_the_order_and_the_names_of_the_table(tmp_path: Path) -> None:
    log, waits = tmp_path / "log", {"one": 3, "two": 5, "three": 4}
    lines = [
        decided(n * 3600 + at, told, name=f"mx.{who}.com", sender=f"s{n}@{who}.com",
                address=f"192.0.{count}.1")
        for who, count in waits.items()
        for n in range(count)
        for at, told in ((0, "new"), (600, "triplet found, delay=600"))
    ]  # fmt: skip
    log.write_text("".join([*lines, END]))
    text = run_here("report", str(log)).stdout
    names = ["mx.two.com", "mx.three.com", "mx.one.com"]
    table = text.partition("Waited longest")[2].splitlines()[3:6]
    assert [line.split()[0] for line in table] == names
    commands = [line.split()[3] for line in text.splitlines() if line.startswith("greyd whitel")]
    # The first one stands in the summary, too.
    assert commands == [names[0], *names]
    assert "; 12 mails waited and passed (median" in text.splitlines()[0]


def test_clients_without_a_name_count_by_the_organisation_that_spf_proves(tmp_path: Path) -> None:
    waits = [
        decided(
            n * 3600 + at, told, name="unknown", address=f"192.0.{n}.1", sender=f"s{n}@big.com",
            more=", identity=big.com",
        )
        for n in range(4)
        for at, told in ((0, "new"), (600, "triplet found, delay=600"))
    ]  # fmt: skip
    found = report_here(tmp_path, *waits, END)
    assert [(each["client"], each["mails"]) for each in found["waited_longest"]] == [("big.com", 4)]
    assert found["whitelist_candidates"] == []
