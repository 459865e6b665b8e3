"""The units of the weekly letter, under a real systemd on a disposable machine that boots."""

from __future__ import annotations

import email
import email.policy
import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.booted import machine_with_greyd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from tests.integration.booted import Machine

pytestmark = pytest.mark.integration

INSTALL = """
mkdir -p /etc/sysusers.d
cp packaging/sysusers.d/greyd.conf /etc/sysusers.d/
systemd-sysusers greyd.conf
cp packaging/systemd/greyd-report.service packaging/systemd/greyd-report.timer /etc/systemd/system/
rm -rf /etc/greyd /var/lib/greyd /etc/default/greyd /etc/default/postgrey
rm -f /var/log/mail.log* /var/log/maillog* /var/log/syslog*
mv /usr/sbin/sendmail /usr/sbin/sendmail.postfix
cat >/usr/sbin/sendmail <<'END'
#!/bin/sh
{ id -un; id -Gn; echo "$*"; cat; } >/run/letters/letter
END
chmod 755 /usr/sbin/sendmail
mkdir -p -m 1777 /run/letters
systemctl daemon-reload
"""

DECISION = (
    "action=greylist, reason=new, client_name=mx.school.ch, client_address=192.0.2.7,"
    " sender=office@school.ch, recipient=bob@example.org"
)


@pytest.fixture(scope="module")
def booted() -> Iterator[Machine]:
    with machine_with_greyd() as made:
        made.boot()
        made.run(INSTALL)
        yield made


def write_log(booted: Machine, mode: str, owner: str) -> None:
    """Write a mail log of yesterday."""
    booted.run(
        f'echo "$(date -d "-1 day" +%Y-%m-%dT%H:%M:%S.000000%:z) mx greyd[7]: {DECISION}"'
        f" >/var/log/mail.log; chmod {mode} /var/log/mail.log; chown {owner} /var/log/mail.log"
    )


def sent(booted: Machine) -> tuple[str, list[str], str, EmailMessage]:
    """Run the service; return its user, groups, sendmail's arguments, and the letter."""
    booted.run("rm -f /run/letters/*; systemctl start greyd-report.service")
    user, groups, arguments, text = booted.run("cat /run/letters/letter").split("\n", 3)
    return user, groups.split(), arguments, email.message_from_string(
        text, policy=email.policy.default
    )  # fmt: skip


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def test_the_timer_starts_the_service_next_monday(booted: Machine) -> None:
    booted.run("systemctl enable --now -q greyd-report.timer")
    triggers = "systemctl show --property=Triggers --value greyd-report.timer"
    assert booted.run(triggers).strip() == "greyd-report.service"
    next_time = "systemctl show --property=NextElapseUSecRealtime --value greyd-report.timer"
    assert re.match(r"Mon \S+ 06:\d\d:\d\d ", booted.run(next_time))


def test_a_log_that_only_adm_may_read_gives_a_letter(booted: Machine) -> None:
    write_log(booted, "0640", "root:adm")
    user, groups, arguments, letter = sent(booted)
    assert (user, groups, arguments) == ("greyd", ["greyd", "adm"], "-i postmaster")
    assert letter["To"] == "postmaster"
    assert letter["Subject"].startswith("Greylisting on ")
    assert "1 request" in text_of(letter)


def test_the_journal_alone_gives_a_letter(booted: Machine) -> None:
    booted.run(
        f"rm -f /var/log/mail.log; echo '{DECISION}' | systemd-cat -t greyd; journalctl --sync"
    )
    user, groups, _, letter = sent(booted)
    assert (user, groups) == ("greyd", ["greyd", "adm"])
    assert "1 request" in text_of(letter)
    said = booted.run("journalctl --unit=greyd-report --output=cat --lines=20")
    assert "greyd: reading the journal" in said


def test_a_log_that_it_may_not_read_is_named_and_the_journal_read(booted: Machine) -> None:
    write_log(booted, "0600", "root:root")
    booted.run(f"echo '{DECISION}' | systemd-cat -t greyd; journalctl --sync")
    assert re.search(r"\d requests?;", text_of(sent(booted)[3]))
    said = booted.run("journalctl --unit=greyd-report --output=cat --lines=6")
    assert "greyd: /var/log/mail.log: permission denied, so it is not read" in said
    assert "greyd: reading the journal" in said


def test_postfixs_sendmail_takes_the_letter_under_all_that_the_unit_forbids(
    booted: Machine,
) -> None:
    write_log(booted, "0640", "root:adm")
    booted.run(
        "cp -a /usr/sbin/sendmail.postfix /usr/sbin/sendmail; rm -f /var/mail/root\n"
        "mkdir -p /etc/systemd/system/greyd-report.service.d\n"
        "printf '[Service]\\nEnvironment=MAIL_TO=root\\n'"
        " >/etc/systemd/system/greyd-report.service.d/to.conf\n"
        "systemctl daemon-reload; systemctl start postfix; systemctl start greyd-report.service\n"
        "timeout 60 sh -c 'until test -s /var/mail/root; do sleep 0.1; done'"
    )
    (delivered,) = [line for line in booted.run("cat /var/mail/root").splitlines()
                    if line.startswith("Subject: ")]  # fmt: skip
    assert "Greylisting on " in delivered
