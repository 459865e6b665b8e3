"""The ``.local`` whitelists: what is added, what is removed, and what stays as it was."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.whitelist.entries import WhitelistFile, parse_entries
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS
from greyd.whitelist.local import file_edit
from greyd.whitelist.local.addition import add_entries, is_safe_entry, plan_entry
from greyd.whitelist.local.covering import covering_entry
from greyd.whitelist.local.errors import LocalListError, UselessEntryError
from greyd.whitelist.local.local_list import guess_list, local_list
from greyd.whitelist.local.notes import EntryNote, note_line, note_of
from greyd.whitelist.local.removal import find_entries, remove_entries

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_795_780_800.0


def settings_for(folder: Path, main: str = "", recipients: str = "") -> Settings:
    (folder / "clients").write_text(main)
    (folder / "recipients").write_text(recipients)
    return Settings(
        whitelist_clients=(folder / "clients", folder / "clients.local"),
        whitelist_recipients=(folder / "recipients", folder / "recipients.local"),
    )


def add(settings: Settings, *texts: str, which: str = CLIENTS, reason: str = "") -> None:
    add_entries([plan_entry(settings, text, which) for text in texts], NOON, "al@mx1", reason)


def remove(settings: Settings, text: str, which: str = CLIENTS) -> list[bytes]:
    target = local_list(settings, which)
    return remove_entries(target, find_entries(target, text).exact)


# Adding -------------------------------------------------------------------------------------------


def test_an_entry_has_its_date_its_author_and_its_reason_above_it(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    add(settings, "mx.example.com", "192.0.2.0/24", reason="they never\nretry \x1b[31m #2")
    lines = (tmp_path / "clients.local").read_text().splitlines()
    note = "al@mx1: they never retry [31m #2"
    assert [line[13:] if line.startswith("# 2026") else line for line in lines[3:]] == [
        note, "mx.example.com", note, "192.0.2.0/24",
    ]  # fmt: skip
    assert [each.text for each in local_list(settings, CLIENTS).own_entries()] == [
        b"mx.example.com", b"192.0.2.0/24",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a.example\n", "a.example\nNOTE\nnew.example\n"),
        ("a.example", "a.example\nNOTE\nnew.example\n"),
        (
            "# my list\r\na.example # why\r\n",
            "# my list\r\na.example # why\r\nNOTE\r\nnew.example\r\n",
        ),
        ("# caf\xe9 in Latin-1\n", "# caf\xe9 in Latin-1\nNOTE\nnew.example\n"),
    ],
    ids=["plain", "no newline at the end", "Windows line ends", "another encoding"],
)
def test_what_the_file_has_stays_as_it_is(tmp_path: Path, before: str, after: str) -> None:
    settings = settings_for(tmp_path)
    file = tmp_path / "clients.local"
    file.write_bytes(before.encode("latin-1"))
    add(settings, "new.example")
    note = note_line(NOON, "al@mx1", "")
    assert file.read_bytes() == after.replace("NOTE", note).encode("latin-1")
    assert (tmp_path / "clients.local~").read_bytes() == before.encode("latin-1")


def test_owner_and_permissions_stay_and_a_link_stays_a_link(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    real = tmp_path / "elsewhere" / "list"
    real.parent.mkdir()
    real.write_text("a.example\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 12345, 23456)
    (tmp_path / "clients.local").symlink_to(real)
    add(settings, "new.example")
    found = real.stat()
    assert (tmp_path / "clients.local").is_symlink()
    assert b"new.example" in real.read_bytes()
    assert stat.S_IMODE(found.st_mode) == 0o640
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid) == (12345, 23456)


def test_a_new_file_can_be_read_by_the_server(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        settings = settings_for(tmp_path)
        add(settings, "new.example")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "clients.local").stat().st_mode) == 0o644
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "clients", "clients.local", "recipients",
    ]  # fmt: skip


def test_another_editor_is_waited_for_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    monkeypatch.setattr(file_edit, "LOCK_TIMEOUT_SECONDS", 0.1)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(LocalListError, match="another command has been editing it"):
            add(settings, "new.example")
    finally:
        os.close(descriptor)
    add(settings, "new.example")


def test_an_entry_added_by_somebody_else_meanwhile_is_not_added_twice(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    planned = [plan_entry(settings, "new.example", CLIENTS)]
    for _ in range(2):
        add_entries(planned, NOON, "al@mx1", "")
    assert (tmp_path / "clients.local").read_text().count("new.example") == 1


def test_a_file_that_cannot_be_replaced_stays_and_the_reason_is_given(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    (tmp_path / "clients.local").write_bytes("x.example\n".encode("utf-16"))
    with pytest.raises(LocalListError, match=r"clients\.local: the file is in UTF-16"):
        add(settings, "new.example")
    (tmp_path / "recipients.local").mkdir()
    with pytest.raises(LocalListError, match=r"recipients\.local: .*irectory"):
        add(settings, "bob@example.org", which=RECIPIENTS)


# Checks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("192.0.2.7", CLIENTS), ("2001:db8::/32", CLIENTS), ("mx.example.com", CLIENTS),
        ("/^mx\\.example\\.com$/", CLIENTS), ("bob@example.org", RECIPIENTS),
        ("postmaster@", RECIPIENTS), ("@example.org", RECIPIENTS),
        ("/^alarm-.*@example\\.org$/", RECIPIENTS),
    ],
)  # fmt: skip
def test_the_form_of_an_entry_decides_its_list(text: str, which: str) -> None:
    assert guess_list(text) == which


@pytest.mark.parametrize(
    ("text", "which", "listed"),
    [
        ("<bob@example.org>", RECIPIENTS, "bob@example.org"),
        ("@example.org", RECIPIENTS, "example.org"),
        ("[192.0.2.7]", CLIENTS, "192.0.2.7"),
        (" mx.example.com ", CLIENTS, "mx.example.com"),
    ],
)
def test_what_people_paste_is_cleaned(tmp_path: Path, text: str, which: str, listed: str) -> None:
    planned = plan_entry(settings_for(tmp_path), text, which)
    assert (planned.text, planned.findings) == (listed, ())


@pytest.mark.parametrize(
    ("text", "which", "message"),
    [
        ("*.example.com", CLIENTS, "write example.com"),
        ("bob@example.org", CLIENTS, "move a recipient to the recipients list"),
        ("192.0.2.7", RECIPIENTS, "move it to the clients list"),
        ("mx.example.com[192.0.2.7]", CLIENTS, "write mx.example.com or 192.0.2.7"),
        ("a.example b.example", CLIENTS, "write one entry per line"),
        ("", CLIENTS, "not an entry"),
        ("a\nb.example", CLIENTS, "not an entry"),
        ("#a.example", CLIENTS, "# starts a comment"),
        ("192.0.2.7 # their gateway", CLIENTS, "give the comment as --reason=TEXT"),
        ("bob#x@example.org", RECIPIENTS, "# starts a comment"),
        ("/^a#b$/", CLIENTS, "even inside a pattern"),
        ("x" * 2000, CLIENTS, "not an entry"),
    ],
)
def test_an_entry_without_effect_is_refused(
    tmp_path: Path, text: str, which: str, message: str
) -> None:
    with pytest.raises(LocalListError, match=message):
        plan_entry(settings_for(tmp_path), text, which)
    assert not (tmp_path / "clients.local").exists()


@pytest.mark.parametrize(
    ("text", "which", "alternatives"),
    [
        ("*.example.com", CLIENTS, [("example.com", CLIENTS)]),
        ("192.0.2.0-192.0.2.127", CLIENTS, [("192.0.2.0/25", CLIENTS)]),
        ("bob@example.org", CLIENTS, [("bob@example.org", RECIPIENTS)]),
        ("192.0.2.7", RECIPIENTS, [("192.0.2.7", CLIENTS)]),
        (
            "mx.example.com[192.0.2.7]", CLIENTS,
            [("mx.example.com", CLIENTS), ("192.0.2.7", CLIENTS)],
        ),
        ("*.com", CLIENTS, []), ("mail.*", CLIENTS, []), ("/^mail", CLIENTS, []),
        ("a b", CLIENTS, []), ("postmaster", RECIPIENTS, []),
    ],
)  # fmt: skip
def test_a_refused_entry_comes_with_the_ones_to_add_instead(
    tmp_path: Path, text: str, which: str, alternatives: list[tuple[str, str]]
) -> None:
    with pytest.raises(UselessEntryError) as raised:
        plan_entry(settings_for(tmp_path), text, which)
    assert raised.value.alternatives == alternatives


@pytest.mark.parametrize(
    ("text", "which", "needs_confirmation"),
    [
        ("com", CLIENTS, True), ("unknown", CLIENTS, True), ("0.0.0.0/0", CLIENTS, True),
        ("/^mail\\./", CLIENTS, True), ("/mail.example.com$/", CLIENTS, True),
        ("amazonaws.com", CLIENTS, True), ("192.0.2.7/24", CLIENTS, True),
        ("11.0.0.0/8", CLIENTS, True), ("co.uk", RECIPIENTS, True),
        ("mx.example.com", CLIENTS, False), ("192.0.2.0/24", CLIENTS, False),
        ("/^mx[0-9]\\.example\\.com$/", CLIENTS, False), ("example.org", RECIPIENTS, False),
        ("postmaster@", RECIPIENTS, False),
    ],
)  # fmt: skip
def test_an_entry_for_strangers_needs_a_confirmation(
    tmp_path: Path, text: str, which: str, needs_confirmation: bool
) -> None:
    planned = plan_entry(settings_for(tmp_path), text, which)
    assert planned.needs_confirmation == needs_confirmation
    assert is_safe_entry(text, which) != needs_confirmation


@pytest.mark.parametrize(
    ("listed", "text", "which", "is_covered"),
    [
        ("example.com", "mx.example.com", CLIENTS, True),
        ("example.com", "EXAMPLE.com", CLIENTS, True),
        ("192.0.2.0/24", "192.0.2.7", CLIENTS, True),
        ("192.0.2", "192.0.2.128/25", CLIENTS, True),
        ("/\\.example\\.com$/", "mx.example.com", CLIENTS, True),
        ("/^mx\\.example\\.com$/", "mx.example.com", CLIENTS, False),
        ("mx.example.com", "example.com", CLIENTS, False),
        ("192.0.2.7", "192.0.2.0/24", CLIENTS, False),
        ("192.0.2.0/25\n192.0.2.128/25", "192.0.2.0/24", CLIENTS, False),
        ("notexample.com", "example.com", CLIENTS, False),
        ("unknown", "192.0.2.7", CLIENTS, False),
        ("/.*/", "192.0.2.7", CLIENTS, True),
        ("bob@", "bob@example.org", RECIPIENTS, True),
        ("example.org", "bob@sub.example.org", RECIPIENTS, True),
        ("bob@example.org", "bob+news@example.org", RECIPIENTS, True),
        ("/@example\\.org$/", "bob@example.org", RECIPIENTS, True),
        ("bob@example.org", "bob@", RECIPIENTS, False),
        ("bob@example.org", "example.org", RECIPIENTS, False),
    ],
)
def test_an_entry_is_covered_if_another_matches_all_that_it_matches(
    listed: str, text: str, which: str, is_covered: bool
) -> None:
    entries = list(parse_entries(WhitelistFile("list", listed.encode()), []))
    assert (covering_entry(text.encode(), entries, which) is not None) == is_covered


def test_a_server_that_reads_no_local_file_is_told_what_to_add(tmp_path: Path) -> None:
    main = tmp_path / "clients"
    with pytest.raises(LocalListError, match=rf"add --whitelist-clients={main}\.local beside it"):
        local_list(Settings(whitelist_clients=(main,)), CLIENTS)


# Removing -----------------------------------------------------------------------------------------


def test_an_entry_goes_with_its_note_and_nothing_else_does(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    file = tmp_path / "clients.local"
    file.write_text("# by hand\na.example\nb.example # 2020-01-01 x@y: old\n")
    add(settings, "c.example", "d.example", reason="because")
    before = file.read_text()
    assert [line for line in remove(settings, "C.example") if b"#" not in line] == [b"c.example"]
    assert "c.example" not in file.read_text()
    assert file.read_text().count("because") == 1
    remove(settings, "a.example")
    remove(settings, "b.example")
    remove(settings, "d.example")
    assert file.read_text() == "# by hand\n"
    assert before.startswith("# by hand")


def test_an_entry_is_found_by_what_it_matches(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, main="example.net\n", recipients="x@\n")
    add(settings, "example.com", "192.0.2.0/24", "/^mx\\.example\\.com$/")
    target = local_list(settings, CLIENTS)
    texts = {
        text: [each.text.decode() for each in find_entries(target, text).matching]
        for text in ("192.0.2.9", "a.example.com", "mx.example.com", "example.net", "b.example")
    }
    assert texts == {
        "192.0.2.9": ["192.0.2.0/24"],
        "a.example.com": ["example.com"],
        "mx.example.com": ["example.com", "/^mx\\.example\\.com$/"],
        "example.net": [],
        "b.example": [],
    }
    (elsewhere,) = find_entries(target, "mx.example.net").elsewhere
    assert (elsewhere.file, elsewhere.line) == (str(tmp_path / "clients"), 1)


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (b"# 2026-11-27 al@mx1: slow\na.example", EntryNote("2026-11-27", "al@mx1", "slow")),
        (b"# 2026-11-27 al@mx1\na.example", EntryNote("2026-11-27", "al@mx1", "")),
        (b"# Partners\na.example", EntryNote(reason="Partners")),
        (b"x.example\na.example # ours", EntryNote(reason="ours")),
        (b"# 2026-11-27 al@mx1\na.example # ours", EntryNote(reason="ours")),
        (b"x.example\na.example", EntryNote()),
        (b"# Partners\n\na.example", EntryNote()),
    ],
)
def test_a_note_is_read_back(lines: bytes, note: EntryNote) -> None:
    split = lines.split(b"\n")
    assert note_of(split, len(split)) == note
