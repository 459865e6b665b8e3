"""What the store leaves out of a search matches nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.entries.search import key_texts
from greyd.rules.records import Client
from tests.commands import fill, run_here

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_000_000
SEEN = b"%d" % NOW
TRIPLETS = [
    b"{192.0.2.0}/alice@example.com/bob@example.org",
    b"{192.0.2.0}/alice@example.com/bob+shop@example.org",
    b"{192.0.2.0}//bob@example.org",
    b"{198.51.100.0}/a%2fb%25c@example.net/carol@sub.example.org",
    b"{198.51.100.0}/list-bob=example.org@lists.example/dave@example.org",
    b"{198.51.100.7}/news#@example.com/bob@example.org.",
    b'{2001:db8:1:2::}/alice@example.com/"bob"@example.org',
    b"{2001:db8::}/alice@example.com/bob@example.org",
    b"{::}/alice@example.com/bobby@example.org",
    "{203.0.113.0}/info@bücher.example/bob@example.org".encode(),
    b"{example.com}/@example.com/bob@example.org",
    b"{example.com}/alice@example.com/bob@example.org",
    b"{192.0.20.0}/x@other.example/y@other.example",
]
CLIENTS = [b"{192.0.2.0}:192.0.2.7", b"{198.51.96.0}:198.51.100.9", b"{example.com}:example.com"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a store that has every form of key."""
    folder = tmp_path_factory.mktemp("store")
    records = dict.fromkeys(TRIPLETS, SEEN)
    records |= dict.fromkeys(CLIENTS, Client(6, NOW).dump())
    records |= {b"{many.example}/s%d@many.example/r@r.example" % n: SEEN for n in range(50)}
    records[b"{example.com}~0123456789abcdef0123456789abcdef01234567"] = SEEN
    records[b"{192.0.2.0}/odd@example.com/bob@example.org"] = b"damaged"
    fill(f"sqlite:{folder / 'greyd.db'}", records, 10**9)
    return folder


LIST = [
    "--recipient=bob@example.org", "--recipient=example.org", "--recipient=@example.org",
    "--recipient=carol@sub.example.org", "--recipient=bob+shop@example.org",
    "--sender=alice@example.com", "--sender=<>", "--sender=example.com",
    "--sender=a/b%c@example.net",
    "--sender=news42@example.com", "--sender=info@bücher.example", "--sender=xn--bcher-kva.example",
    "--client=192.0.2.7", "--client=192.0.2.0/24", "--client=192.0.0.0/16", "--client=192.0.0.0/7",
    "--client=198.51.100.9", "--client=2001:db8:1:2::5", "--client=2001:db8::/32", "--client=::1",
    "--client=2001:db8::5", "--client=example.com", "--client=0.0.0.0/0",
    "--unreadable --sender=odd@example.com",
    "--client=192.0.2.7 --sender=alice@example.com --recipient=bob@example.org",
]  # fmt: skip
SHOW = [
    "bob@example.org", "alice@example.com", "example.org", "example.com", "192.0.2.7",
    "192.0.2.0/24", "2001:db8:1:2::5", "carol@sub.example.org", "news42@example.com",
    "bücher.example", "a/b%c@example.net",
]  # fmt: skip


CHANGED = [
    "--recipient=bob@example.org", "--sender=<>", "--sender=example.com", "--client=192.0.2.7",
    "--client=2001:db8:1:2::5", "--client=example.com", "--client=0.0.0.0/0",
]  # fmt: skip
LINES = [
    *(f"list {each}" for each in LIST),
    *(f"show {each}" for each in SHOW),
    *(f"{name} {each} --dry-run" for name in ("forget", "release") for each in CHANGED),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("options", ["", "--ipv4cidr=20 --ipv6cidr=48", "--lookup-by-host"])
def test_a_search_finds_what_a_full_scan_finds(
    store: Path, line: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*line.split(), f"--dbdir={store}", "--json"]
    monkeypatch.setattr("time.time", lambda: NOW)
    # A smaller store is scanned as a whole.
    monkeypatch.setattr("greyd.cli.entries.list.MIN_FILTERED_ENTRIES", 1)
    found = run_here(*words, GREYD_OPTS=options)
    for name in ("texts_of_selection", "texts_of_query"):
        for module in ("list", "related", "forgetting.finding", "releasing.command"):
            place = f"greyd.cli.entries.{module}.{name}"
            monkeypatch.setattr(place, lambda *_: (), raising=False)
    full = run_here(*words, GREYD_OPTS=options)
    assert (found.returncode, found.stderr) == (full.returncode, full.stderr)
    assert without_lifetimes(found.stdout) == without_lifetimes(full.stdout)


CHANGING = {"ttl_seconds", "forgotten_at"}


def without_lifetimes(document: str) -> Any:
    """Parse a document, and leave out what changes with every second."""

    def hook(pairs: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in pairs.items() if name not in CHANGING}

    return json.loads(document, object_hook=hook)


def test_most_searches_have_a_text() -> None:
    from greyd.cli.entries.selection import parse_selection
    from greyd.config.settings import Settings

    for line in LIST:
        given = dict(each.removeprefix("--").partition("=")[::2] for each in line.split())
        selection = parse_selection(
            given.get("client"), given.get("sender"), given.get("recipient")
        )
        texts = key_texts.texts_of_selection(selection, Settings())
        is_wide = given.get("client") in {"192.0.0.0/7", "0.0.0.0/0", "::1"}
        assert bool(texts) != is_wide, line
