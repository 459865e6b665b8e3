"""``greyd doctor --fix`` on copies of a real Postfix's configuration."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pexpect
import pytest

from greyd.config.settings import Settings
from greyd.doctor.findings import FAILED_STATES
from greyd.doctor.postfix.fix.plan import FixError, plan_fix
from greyd.doctor.postfix.fix.writing import write_plan
from greyd.doctor.postfix.main_cf import check_postfix
from tests.commands import CHECKOUT, environment_without_settings, run
from tests.doctor.postfix.configs import LINE, LISTENERS
from tests.processes import program, unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.doctor.findings import Finding
    from greyd.doctor.postfix.fix.plan import FixPlan
    from greyd.doctor.postfix.fix.writing import WrittenFile

pytestmark = pytest.mark.integration

RECIPIENTS = "smtpd_recipient_restrictions"
END = "# the end\n"


@dataclass
class Copy:
    """A copy of this machine's configuration of Postfix, with a main.cf of its own."""

    folder: Path

    @property
    def main_cf(self) -> Path:
        return self.folder / "main.cf"

    def write(self, lines: str) -> str:
        """Write a main.cf with some lines of its own; return its text."""
        queue = self.folder.parent / "queue"
        text = (
            "# Our mail server\ncompatibility_level = 3.6\nmyhostname = mx.example.org\n"
            f"queue_directory = {queue}\ndata_directory = {queue}/data\n"
            "mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks,"
            f" permit_sasl_authenticated, reject_unauth_destination\n{lines}{END}"
        )
        self.main_cf.write_text(text)
        self.age()
        return text

    def age(self) -> None:
        """Make the files look older: Postfix waits two seconds before it reads a new one."""
        for each in (self.main_cf, self.folder / "master.cf"):
            os.utime(each, (1_700_000_000, 1_700_000_000))

    async def check(self, folder: str) -> Sequence[Finding]:
        return await check_postfix(folder, LISTENERS, Settings())

    def problems(self) -> list[Finding]:
        """Return what the doctor finds wrong."""
        self.age()
        found = asyncio.run(self.check(str(self.folder)))
        return [each for each in found if each.state in FAILED_STATES]

    def plan(self) -> FixPlan:
        return asyncio.run(plan_fix(str(self.folder), self.problems(), self.check))

    def fix(self) -> Sequence[WrittenFile]:
        return asyncio.run(write_plan(self.plan()))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    for name in ("postconf", "postfix"):
        program(name)
    if os.geteuid() != 0:
        unavailable("only root can run postfix check")
    (tmp_path / "queue" / "data").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    shutil.copy("/etc/postfix/master.cf", tmp_path / "etc")
    return Copy(tmp_path / "etc")


def listed(*lines: str) -> str:
    return f"{RECIPIENTS} =\n" + "".join(f"    {each}\n" for each in lines)


OWN = ("permit_mynetworks,", "# no relaying", "reject_unauth_destination,")
GOOD = listed(*OWN, LINE)

BROKEN = {
    "no list": ("", f"{END}{RECIPIENTS} =\n    permit_mynetworks,\n    {LINE}\n"),
    "several faults": (
        listed("permit_mynetwork,   # ours", "permit,", "reject_unauth_destination,",
               "reject_rbl_client zen.spamhaus.org,", "check_policy_service inet:127.0.0.1:60000"),
        listed("# ours", "permit_mynetworks,", "reject_unauth_destination,",
               "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11],", f"{LINE},", "permit") + END,
    ),
    "unreadable": (listed(*OWN) + f"reject_unlisted_recipient,\n    {LINE}\n",
                   listed(*OWN, "reject_unlisted_recipient,", LINE) + END),
    "misspelt and set twice": (
        "smtpd_delay_reject = no\nsmtpd_delay_reject = yes\n"
        + GOOD.replace(RECIPIENTS, "smtpd_recipent_restrictions"),
        "smtpd_delay_reject = yes\n" + GOOD + END,
    ),
    "in the wrong list": (
        f"smtpd_data_restrictions = {LINE}\n" + listed(*OWN),
        "smtpd_data_restrictions =\n" + GOOD + END,
    ),
    "own machines": (listed(*OWN[1:], LINE),
                     listed("permit_mynetworks,", *OWN[1:], LINE) + END),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_main_cf_is_well_afterwards_and_all_other_lines_are_untouched(
    copy: Copy, case: str
) -> None:
    lines, wanted = BROKEN[case]
    before = copy.write(lines)
    copy.main_cf.chmod(0o640)
    assert copy.problems()
    (written,) = copy.fix()
    assert written.backup.read_text() == before
    assert [each.stat().st_mode & 0o777 for each in (written.backup, copy.main_cf)] == [0o640] * 2
    head = before[: before.index(lines + END)]
    after = copy.main_cf.read_text()
    assert after.startswith(head)
    # White space at the end of a line that lost its words does not count.
    assert [each.rstrip() for each in after[len(head) :].splitlines()] == wanted.splitlines()
    assert copy.problems() == []
    assert not copy.plan().changes


def test_the_lines_to_paste_do_the_same(copy: Copy) -> None:
    copy.write(BROKEN["several faults"][0])
    commands = {line for lines in copy.plan().commands.values() for line in lines}
    assert len(commands) == 1
    for line in commands:
        assert shlex.split(line)[:3] == ["postconf", "-c", str(copy.folder)]
        subprocess.run(["sh", "-c", line], check=True, timeout=60)
    assert copy.problems() == []


def test_a_service_of_master_cf_is_changed_where_it_overrides_the_list(copy: Copy) -> None:
    copy.write(GOOD)
    master = copy.folder / "master.cf"
    text = master.read_text()
    service = next(line for line in text.splitlines() if line.startswith("smtp      inet"))
    option = f"  -o {RECIPIENTS}=permit_mynetworks,reject_unauth_destination"
    master.write_text(text.replace(service, f"{service}\n{option}"))
    (commands,) = copy.plan().commands.values()
    assert commands[0].startswith(f"postconf -c {copy.folder} -P 'smtp/inet/{RECIPIENTS} = ")
    (written,) = copy.fix()
    assert written.path == master
    new = f"  -o {{ {RECIPIENTS} = permit_mynetworks reject_unauth_destination {LINE} }}"
    assert master.read_text() == text.replace(service, f"{service}\n{new}")
    assert copy.problems() == []


def test_a_link_stays_and_its_file_is_changed(copy: Copy) -> None:
    copy.write(listed(*OWN))
    real = copy.folder.parent / "managed.cf"
    copy.main_cf.rename(real)
    copy.main_cf.symlink_to(real)
    (written,) = copy.fix()
    assert copy.main_cf.is_symlink()
    assert written.path == real
    assert LINE in real.read_text()
    assert copy.problems() == []


def test_nothing_is_changed_if_postfix_check_fails_or_the_file_has_several_names(
    copy: Copy,
) -> None:
    before = copy.write(listed(*OWN))
    os.link(copy.main_cf, copy.folder / "other.cf")
    with pytest.raises(FixError, match="several hard links"):
        copy.fix()
    (copy.folder / "other.cf").unlink()
    copy.main_cf.write_text(before := before + "daemon_directory = /nonexistent\n")
    with pytest.raises(FixError, match="postfix check rejects"):
        copy.fix()
    assert copy.main_cf.read_text() == before
    assert sorted(each.name for each in copy.folder.iterdir()) == ["main.cf", "master.cf"]


def test_a_person_is_asked_and_a_no_or_ctrl_c_changes_nothing(copy: Copy, tmp_path: Path) -> None:
    before = copy.write(listed(*OWN))
    words = ["doctor", f"--main-cf={copy.folder}", f"--dbdir={tmp_path}", "--fix"]
    environment = {**environment_without_settings(), "GREYD_DBDIR": str(tmp_path)}
    for answer, status in (("n", 2), ("\x03", 130), ("y", 0)):
        child = pexpect.spawn(
            sys.executable, ["-m", "greyd", *words], cwd=str(CHECKOUT), timeout=60,
            env=environment, encoding="utf-8", dimensions=(24, 45),
        )  # fmt: skip
        child.expect(r"\+    check_policy_service")
        child.expect(r"apply these changes\? \[y/N\]")
        child.send(answer if answer == "\x03" else f"{answer}\n")
        if answer == "y":
            child.expect("reload now")
            child.sendline("n")
            child.expect(r"\d+ hints? not applied, as")
        child.expect(pexpect.EOF)
        child.close()
        assert (copy.main_cf.read_text() != before) is (answer == "y")
        assert child.exitstatus in ((0, 1) if answer == "y" else (status,))
    refused = run(*words, "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
