"""Commands and the shadow's entries: none is shown or imported as an entry of the server."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.reserved_keys import SHADOW_PREFIX
from tests.commands import answer_of, fill, run_here

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
SETTINGS = Settings()


def records_of(client: str, network: str, sender: str) -> dict[bytes, bytes]:
    """Return one entry of each kind."""
    domain = sender.partition("@")[2]
    texts = {
        f"{{{network}}}/{sender}/bob@example.org": f"{NOW - 60}",
        f"{{{network}}}:{client}": f"7,{NOW}",
        f"{{{domain}}}/{sender}/bob@example.org": f"{NOW - 60}",
        f"{{{domain}}}:{domain}": f"7,{NOW},{NOW}",
    }
    correspondence = correspondence_key(b"dave@" + domain.encode(), b"bob@example.org", SETTINGS)
    return {key.encode(): text.encode() for key, text in texts.items()} | {
        correspondence: b"%d" % NOW
    }


OWN = records_of("192.0.2.7", "192.0.2.0", "alice@example.com")
OTHER = records_of("198.51.100.7", "198.51.100.0", "eve@example.net")


def store_with_shadow(folder: Path) -> str:
    """Return the option for a store with the same and other entries of a shadow."""
    shadow = {SHADOW_PREFIX + key: value for key, value in (OWN | OTHER).items()}
    broken = {SHADOW_PREFIX + b"{198.51.100.0}/eve@example.net/broken@example.org": b"broken"}
    url = f"sqlite:{folder / 'greyd.db'}"
    fill(url, OWN | shadow | broken)
    return f"--store={url}"


def listed_keys(store: str) -> set[str]:
    return {each["key"] for each in answer_of("list", store)["entries"]}


def test_no_command_shows_an_entry_of_the_shadow(tmp_path: Path) -> None:
    store = store_with_shadow(tmp_path)
    assert listed_keys(store) == {key.decode() for key in OWN}
    for words in (
        ["list", "--unreadable"],
        ["list", "--client=198.51.100.7"],
        ["show", "198.51.100.7"],
    ):
        done = run_here(*words, store)
        assert (done.returncode, done.stdout) == (1, ""), words
    stats = run_here("stats", store, "--server=127.0.0.1:9", "--json")
    counts = json.loads(stats.stdout)["store"]["entries"]
    assert counts["triplets"] == {"waiting": 1, "passed": 0, "never_returned": 0}
    assert (counts["clients"], counts["identities"], counts["correspondences"]) == (1, 1, 1)
    assert counts["unreadable"] == 0
    done = run_here("release", "--sender=example.net", store)
    assert done.returncode == 1


def test_an_import_leaves_them_out(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    store_with_shadow(source)
    into = f"--store=sqlite:{target / 'greyd.db'}"
    done = run_here("import", str(source / "greyd.db"), into)
    assert done.returncode == 0, done.stderr
    assert listed_keys(into) == {key.decode() for key in OWN}
    assert stored_count(into) == len(OWN) + 1  # and the import's own action


def stored_count(store: str) -> Any:
    return answer_of("list", store)["looked_at"]


@pytest.mark.parametrize(
    "words", [["--client=198.51.100.7"], ["--sender=example.net"], ["--address=eve@example.net"]]
)
def test_forget_removes_them_too(tmp_path: Path, words: list[str]) -> None:
    store = store_with_shadow(tmp_path)
    before = stored_count(store)
    answer = answer_of("forget", store, *words)
    assert answer["entries"] == answer["other"] > 0
    # The record of the command's own action is new.
    assert stored_count(store) == before - answer["entries"] + 1
    assert listed_keys(store) == {key.decode() for key in OWN}
