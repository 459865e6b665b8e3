"""The whitelists are checked as the server reads them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greyd.config.settings import Settings
from greyd.doctor.findings import FindingState as State
from greyd.doctor.whitelists import check_whitelists, is_readable
from tests.doctor.metrics import healthy_metrics
from tests.processes import open_to_other_users

if TYPE_CHECKING:
    from pathlib import Path


def listed(tmp_path: Path, text: str, **entries: float) -> dict[str, State]:
    """Return the state of each check of a file of clients; the server has ``entries``."""
    clients_file, recipients_file = tmp_path / "clients", tmp_path / "recipients"
    clients_file.write_text(text)
    recipients_file.write_text("postmaster@\n")
    settings = Settings(whitelist_clients=(clients_file,), whitelist_recipients=(recipients_file,))
    values = {("greyd_whitelist_last_read_successful", ""): 1.0}
    values |= {("greyd_whitelist_entries", name): value for name, value in entries.items()}
    found = check_whitelists(settings, healthy_metrics(values), None)
    return {each.check: each.state for each in found}


def test_whitelists_are_compared_with_the_entries_of_the_server(tmp_path: Path) -> None:
    same = listed(tmp_path, "example.com\n", clients=1, recipients=1)
    assert (same["whitelists: lines"], same["whitelists: in use"]) == (
        State.OK,
        State.OK,
    )
    newer = listed(tmp_path, "example.com\nexample.net\n", clients=1, recipients=1)
    assert newer["whitelists: in use"] is State.HINT
    odd = listed(tmp_path, "two words\n", clients=0, recipients=1)
    assert odd["whitelists: lines"] is State.WARNING


def test_the_lists_of_senders_and_clients_never_to_auto_whitelist_are_compared_too(
    tmp_path: Path,
) -> None:
    senders, never = tmp_path / "senders", tmp_path / "never"
    senders.write_text("a.example\nb.example\n")
    never.write_text("192.0.2.0/24\n")
    none = (tmp_path / "none.local",)
    settings = Settings(
        whitelist_clients=none, whitelist_recipients=none,
        whitelist_senders=(senders,), never_auto_whitelist=(never,),
    )  # fmt: skip
    lists = {"clients": 0.0, "recipients": 0.0, "senders": 1.0, "never_auto_whitelist": 1.0}
    values = {("greyd_whitelist_last_read_successful", ""): 1.0}
    values |= {("greyd_whitelist_entries", name): value for name, value in lists.items()}
    found = {each.check: each for each in check_whitelists(settings, healthy_metrics(values), None)}
    assert "2 senders, 1 clients never to auto-whitelist from" in found["whitelists: lines"].seen
    assert found["whitelists: in use"].state is State.HINT
    assert "1 senders in the server, 2 in the files" in found["whitelists: in use"].seen


def test_a_whitelist_that_is_missing_is_an_error(tmp_path: Path) -> None:
    settings = Settings(whitelist_clients=(tmp_path / "nothing",))
    found = check_whitelists(settings, None, None)
    assert State.ERROR in {each.state for each in found if "nothing" in each.seen}


def test_a_file_is_readable_only_if_all_folders_above_it_are_open(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "file"
    file.touch()
    open_to_other_users(folder)
    stranger, none = os.getuid() + 4711, frozenset[int]()
    file.chmod(0o644)
    assert is_readable(file, stranger, none)
    file.chmod(0o640)
    assert not is_readable(file, stranger, none)
    group = frozenset({file.stat().st_gid})
    assert is_readable(file, stranger, group)
    file.chmod(0o604)
    assert not is_readable(file, stranger, group)
    file.chmod(0o644)
    folder.chmod(0o700)
    assert not is_readable(file, stranger, none)
    assert is_readable(file, 0, none)
