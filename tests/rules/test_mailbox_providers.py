"""The mailbox providers: the bundled list, and the administrator's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from greyd.rules.correspondence.mailbox_providers import (
    BUNDLED_PATH,
    MAX_FAULTS,
    mailbox_providers,
    read_mailbox_providers,
)
from greyd.rules.hostnames import organisation_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "domain",
    [
        b"gmail.com", b"googlemail.com", b"outlook.com", b"outlook.de", b"hotmail.co.uk",
        b"yahoo.com", b"yahoo.co.jp", b"yahoo.com.br", b"gmx.de", b"gmx.net", b"gmx.at", b"web.de",
        b"icloud.com", b"me.com", b"qq.com", b"vip.qq.com", b"163.com", b"mail.ru", b"yandex.ru",
        b"t-online.de", b"orange.fr", b"proton.me", b"posteo.de", b"mailbox.org", b"fastmail.fm",
    ],
)  # fmt: skip
def test_who_gives_mailboxes_to_everybody_is_in_the_list(domain: bytes) -> None:
    assert domain in mailbox_providers()


@pytest.mark.parametrize(
    "domain",
    [
        b"", b"com", b"example.com", b"google.com", b"microsoft.com", b"notgmail.com",
        b"gmail.com.example.com", b"yahoo-inc.com", b"my-yahoo.com", b"yahoo.example.com", b"gmx",
        b"spiegel.de", b"uni-bonn.de", b"allianz.com",
    ],
)  # fmt: skip
def test_a_company_is_not(domain: bytes) -> None:
    assert domain not in mailbox_providers()


def test_the_bundled_list_has_no_fault_and_no_line_twice() -> None:
    bundled = read_mailbox_providers([BUNDLED_PATH])
    assert bundled.faults == []
    lines = [line for line in BUNDLED_PATH.read_text().splitlines() if line and line[0] != "#"]
    assert len(lines) == len(set(lines)) == len(bundled.domains) + len(bundled.names) > 400
    assert [each for each in bundled.domains if not organisation_of(each)] == []


def test_an_administrator_adds_domains_and_the_faults_are_told(tmp_path: Path) -> None:
    ours = tmp_path / "mailbox_providers"
    ours.write_text("# ours\nCampus.Example.edu  # students\nprovider.*\nno domain\n*.com\nx\n")
    found = read_mailbox_providers([BUNDLED_PATH, ours, tmp_path / "missing"])
    for domain in (b"campus.example.edu", b"mail.campus.example.edu", b"provider.co.uk"):
        assert domain in found
    assert b"example.edu" not in found
    assert b"gmail.com" in found
    assert [fault.partition(f"{ours}:")[2][:1] for fault in found.faults] == ["4", "5", "6"]
    ours.write_text("x\n" * 100)
    assert len(read_mailbox_providers([ours]).faults) == MAX_FAULTS


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        (fault,) = read_mailbox_providers([path]).faults
        assert "not a regular file; continuing without this file" in fault
