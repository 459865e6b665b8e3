"""What ``greyd doctor`` prints: the verdict, the problems worst first, and counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from greyd.cli.context import CommandContext
from greyd.cli.doctor.output import print_findings, verdict
from greyd.cli.doctor.pasting import lines_to_paste
from greyd.config.settings import Settings
from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.postfix.fix.plan import FileChange, FixPlan

LIST = "postconf -e 'smtpd_recipient_restrictions = permit_mynetworks'"
FINE = [ok("server: a", "fine"), ok("store: b", "fine"), hint("tips: 3", "off", "main.cf: x")]
UNKNOWN = not_checked("clocks: vm", "no timedatectl")
BAD = replace(error("postfix: place", "never reached", "main.cf: move it"), commands=(LIST,))
ALSO = replace(warning("order: own users", "rejects them", "main.cf: x"), commands=(LIST,))


@pytest.mark.parametrize(
    ("findings", "sentence"),
    [
        (FINE, "All is well."),
        ([*FINE, UNKNOWN], "No problems found, but 1 check could not be run."),
        ([*FINE, UNKNOWN, UNKNOWN], "No problems found, but 2 checks could not be run."),
        ([ALSO, *FINE, UNKNOWN], "Working, with 1 warning."),
        ([ALSO, ALSO, BAD, *FINE], "Problems found: 1 error and 2 warnings."),
        ([BAD, BAD], "Problems found: 2 errors."),
    ],
)
def test_the_verdict_counts_what_is_wrong(findings: list[Finding], sentence: str) -> None:
    assert verdict(findings) == sentence


def shown(
    capsys: pytest.CaptureFixture[str],
    findings: list[Finding],
    plan: FixPlan | None = None,
    *,
    verbose: bool = False,
) -> list[str]:
    print_findings(CommandContext(Settings()), findings, plan, verbose=verbose)
    return capsys.readouterr().out.splitlines()


def test_the_problems_come_worst_first_each_with_its_line_and_the_rest_is_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown(capsys, [*FINE, ALSO, UNKNOWN, BAD]) == [
        "Problems found: 1 error and 1 warning.",
        "",
        "error: postfix: place",
        "  never reached",
        f"    {LIST}",
        "",
        "warning: order: own users",
        "  rejects them",
        "  The lines above fix this, too.",
        "",
        "2 ok, 1 hint (-v shows them).",
        "1 not checked: clocks: vm.",
    ]


def test_verbose_adds_what_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, [*FINE, UNKNOWN], verbose=True)
    assert lines[:6] == ["No problems found, but 1 check could not be run.", "", "Server",
                         "  ok           a: fine", "", "Store"]  # fmt: skip
    assert "               → main.cf: x" in lines
    assert "2 ok, 1 hint." in lines


def test_a_tip_s_number_does_not_read_as_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    tip = hint("tips: 3 clients whose name and address do not match", "off", "main.cf: x")
    text = " ".join(" ".join(shown(capsys, [tip], verbose=True)).split())
    assert "hint tip 3, clients whose name and address do not match: off" in text


def test_the_fix_is_offered_with_the_number_of_problems_that_it_fixes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    consequence = error("postfix: restrictions", "'own' is no restriction")
    by_hand = warning("postfix: relaying", "it relays", "main.cf: decide")
    change = FileChange(Path("/etc/postfix/main.cf"), "a = 1\n", "a = 2\n")
    plan = FixPlan(
        Path("/etc/postfix"), [change], {BAD: (LIST,), consequence: ()}, {by_hand: "not there"}
    )
    lines = shown(capsys, [BAD, consequence, by_hand], plan)
    assert "  A consequence of another problem; fixing that fixes this." in lines
    assert "  Change this by hand: not there." in lines
    assert lines[-1] == (
        "greyd doctor --fix shows the changes to main.cf that fix 2 of these problems, and"
        " applies them once you confirm."
    )


@pytest.mark.parametrize(
    ("remedy", "lines"),
    [
        ("systemctl reload greyd", ["systemctl reload greyd"]),
        ("systemctl status greyd (shows why it is down); ss -lntp (shows what listens)",
         ["systemctl status greyd  # shows why it is down", "ss -lntp  # shows what listens"]),
        ("kill 12; systemctl start greyd", ["kill 12", "systemctl start greyd"]),
        ("postmap hash:/etc/postfix/clients", ["postmap hash:/etc/postfix/clients"]),
        ("redis.conf: appendonly yes, appendfsync everysec", []),
        ("redis.conf: raise maxmemory", []),
        ("correct these lines, then systemctl reload greyd", []),
        ("redis-cli --cluster check HOST:PORT", []),
        ("greyd doctor --main-cf=FOLDER for each", []),
        ("main.cf: write permit_mynetworks", []),
        ("stop it (ps -fp 1 shows it), then systemctl restart greyd", []),
        ("", []),
    ],
)  # fmt: skip
def test_a_remedy_is_a_line_to_paste_only_if_all_of_it_is_a_command(
    remedy: str, lines: list[str]
) -> None:
    assert lines_to_paste(error("a: b", "wrong", remedy)) == lines
