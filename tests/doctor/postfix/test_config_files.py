"""main.cf and master.cf that Postfix can't read are errors with file and line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.postfix.config.master_cf import MasterService, parse_services, stray_arguments
from greyd.doctor.postfix.config_files import findings_of_unreadable, logical_lines
from greyd.doctor.programs import FailedProgramError, ProgramError
from tests.doctor.postfix.configs import SMTP, judged, of

if TYPE_CHECKING:
    from pathlib import Path

CHECK = "postfix: files"

MAIN = """\
# a comment
myhostname = mx.example.org
smtpd_recipient_restrictions =
   permit_mynetworks,
# between
   ${unclosed
"""

MASTER = """\
smtp inett n - y - - smtpd
  -o a=b
"""


@pytest.mark.parametrize(
    ("output", "seen", "remedy"),
    [
        ("fatal: FOLDER/main.cf, line 4: missing '=' after attribute name: \"permit\"",
         "FOLDER/main.cf:4: missing '='", "begin the line with blanks"),
        ("fatal: file FOLDER/master.cf: line 7: bad field count", "FOLDER/master.cf:7: bad field",
         "begin the line with blanks"),
        ('warning: truncated macro reference: "permit_mynetworks,   ${unclosed"\n'
         "postconf: fatal: macro processing error",
         "FOLDER/main.cf:3: truncated macro reference", "close the brace"),
        ('fatal: invalid type field "inett" in "smtp inett n - y - - smtpd"',
         "FOLDER/master.cf:1: ", "correct it"),
        ("fatal: something else", "FOLDER: something else", "correct it"),
        ("fatal: open FOLDER/master.cf: No such file or directory", "No such file", "--main-cf="),
    ],
)  # fmt: skip
def test_a_file_that_postfix_cannot_read_is_an_error_with_its_line(
    tmp_path: Path, output: str, seen: str, remedy: str
) -> None:
    (tmp_path / "main.cf").write_text(MAIN)
    (tmp_path / "master.cf").write_text(MASTER)
    fault = FailedProgramError(
        "postconf", 1, f"postconf: {output}".replace("FOLDER", str(tmp_path))
    )
    (found,) = findings_of_unreadable(fault, str(tmp_path))
    assert found.state is State.ERROR
    assert seen.replace("FOLDER", str(tmp_path)) in found.seen
    assert remedy in found.remedy
    assert found.check == CHECK


@pytest.mark.parametrize(
    ("fault", "folder", "state"),
    [
        (ProgramError("postconf is not installed here"), None, State.NOT_CHECKED),
        (ProgramError("postconf: no answer within 10 s"), "/x", State.NOT_CHECKED),
        (FailedProgramError("postconf", 1, "postconf: fatal: open /etc/postfix/main.cf: No such"
                            " file or directory"), None, State.NOT_CHECKED),
        (FailedProgramError("postconf", 1, "postconf: fatal: open /x/main.cf: No such file or"
                            " directory"), "/x", State.ERROR),
        (FailedProgramError("postconf", 1, "postconf: fatal: open /etc/postfix/master.cf: No such"
                            " file or directory"), None, State.ERROR),
        (FailedProgramError("postconf", 1, "postconf: fatal: open /x/main.cf: Permission denied"),
         "/x", State.NOT_CHECKED),
        (FailedProgramError("postconf", 75, ""), None, State.ERROR),
    ],
)  # fmt: skip
def test_unreadable_files_are_not_checked(
    fault: ProgramError, folder: str | None, state: State
) -> None:
    (found,) = findings_of_unreadable(fault, folder)
    assert (found.state, bool(found.seen)) == (state, True)


@pytest.mark.parametrize(
    ("text", "state", "seen"),
    [
        ("warning: /x/main.cf, line 3: overriding earlier entry: myhostname=a", State.WARNING,
         "/x/main.cf:3: overriding"),
        ("warning: /x/main.cf: unused parameter: smptd_helo_required=yes", State.WARNING,
         "did you mean smtpd_helo_required?"),
        ("warning: /x/main.cf: unused parameter: zzz=yes", State.HINT, "no such parameter"),
        ("warning: /x/main.cf: undefined parameter: zzz", State.WARNING, "zzz"),
        ('warning: /x/main.cf: logical line must not start with whitespace: "  a = b"',
         State.WARNING, "ignores it"),
        ("warning: master.cf: missing '}' in \"{ a = b\"", State.ERROR, "missing '}'"),
        ("warning: something new", State.HINT, "something new"),
    ],
)  # fmt: skip
def test_warnings_of_postconf_are_judged(text: str, state: State, seen: str) -> None:
    found = of(judged(warnings=[text], parameter_names=["smtpd_helo_required"]), CHECK)
    assert (found.state, seen in found.seen) == (state, True)


def test_logical_lines_are_read_as_postfix_does(tmp_path: Path) -> None:
    file = tmp_path / "main.cf"
    file.write_text(MAIN)
    assert [number for number, _ in logical_lines(file)] == [2, 3]
    assert list(logical_lines(tmp_path / "missing")) == []


@pytest.mark.parametrize(
    ("arguments", "stray"),
    [
        ("-o a=b -v -o c=d,e", []),
        ("-o {a = b, c} -D", []),
        ("-o a=b, c", ["c"]),
        ("-o a = b", ["-o a", "=", "b"]),
        ("-o a", ["-o a"]),
        ("-o", ["-o"]),
        ("a=b", ["a=b"]),
        ("", []),
    ],
)
def test_words_that_are_not_options_are_found(arguments: str, stray: list[str]) -> None:
    (service,) = parse_services(
        f"smtp inet n - y - - smtpd {arguments}", {}, chroot_is_default=False
    )
    assert list(stray_arguments(service)) == stray
    assert (of(judged(services=[service]), CHECK).state is State.ERROR) == bool(stray)


def test_services_are_parsed_with_their_chroot_and_options() -> None:
    lines = "smtp inet n - - - - smtpd -o a=b\npolicy unix - n n - 0 spawn user=x argv=/usr/bin/p\n"
    smtp, policy = parse_services(lines, {"smtp/inet/a": "b"}, chroot_is_default=True)
    assert (smtp.chroot, smtp.overrides, smtp.arguments) == (True, {"a": "b"}, ("-o", "a=b"))
    assert (policy.program, policy.chroot) == ("spawn", False)
    assert policy.arguments == ("user=x", "argv=/usr/bin/p")


def test_duplicate_services_and_other_instances_are_findings() -> None:
    found = of(judged(services=[SMTP, MasterService("smtp")]), CHECK)
    assert (found.state, "2 times" in found.seen) == (State.WARNING, True)
    found = of(judged({"multi_instance_directories": "/etc/postfix-out"}), CHECK)
    assert (found.state, "/etc/postfix-out" in found.seen) == (State.NOT_CHECKED, True)


def test_a_program_that_postfix_lacks_is_an_error() -> None:
    found = of(
        judged(
            {"daemon_directory": "/usr/lib/postfix/sbin"},
            other_services=[MasterService("25", "inet", "smtpdd")],
            missing_programs=frozenset({"smtpdd"}),
        ),
        CHECK,
    )
    assert (found.state, "has no program smtpdd" in found.seen) == (State.ERROR, True)


@pytest.mark.parametrize(
    ("line", "is_wrong"),
    [
        ("\ufeffsmtpd_recipient_restrictions = permit", True),
        ("smtpd_helo_required\u00a0= yes", True),
        ("smtpd_helo_re\u200bquired = yes", True),
        ("smtpd_helo_required = yes", False),
        ("smtpd_banner = Grüß Gott", False),
        ("# \u00a0a comment = of a page", False),
        (" continued\u00a0= x", False),
    ],
)
def test_invisible_characters_in_names_are_errors(
    tmp_path: Path, line: str, *, is_wrong: bool
) -> None:
    (tmp_path / "main.cf").write_text(f"myhostname = mx.example.org\n{line}\n", encoding="utf-8")
    found = [
        each
        for each in judged({"config_directory": str(tmp_path)})
        if each.check == CHECK and each.state is State.ERROR
    ]
    assert [f"{tmp_path}/main.cf:2: " in each.seen for each in found] == [True] * is_wrong
