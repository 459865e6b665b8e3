"""Page, statistics, metrics, ``stats``, ``top``, ``list`` and ``report`` agree about one store."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY
from greyd.rules.keys import Keys, request_keys
from greyd.rules.records import Triplet
from tests.commands import fill, run_here
from tests.evidence import evidence_for
from tests.fake_dns import address_of
from tests.integration.lives import get, ready
from tests.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Entry:
    """A triplet, by the seconds since it was first seen, last seen, and passed."""

    first: int
    last: int
    passed: int | None = None
    released: int | None = None

    def record(self, now: int) -> bytes:
        passed_at, released_at = (
            None if each is None else now - each for each in (self.passed, self.released)
        )
        return Triplet(now - self.first, now - self.last, passed_at, released_at).dump()


ENTRIES = {
    "in its delay": Entry(60, 60),
    "may pass now": Entry(1000, 1000),
    "nearly given up": Entry(300 + 6 * 3600 - 120, 21_780),
    "given up, by a delay of 5 min": Entry(300 + 6 * 3600 + 120, 22_020),
    "given up, by a delay of 2 h": Entry(8 * 3600 + 120, 28_920),
    "seen for 1000 s": Entry(5000, 4000),
    "passed after 40 s": Entry(5000, 4960, 4960),
    "soon forgotten": Entry(2 * DAY - 600, 2 * DAY - 600),
    "after the retry window": Entry(2 * DAY + 600, 2 * DAY + 600),
    "after max-age": Entry(50 * DAY, 40 * DAY),
    "passed long ago": Entry(50 * DAY, 20 * DAY),
    "released a while ago": Entry(DAY, DAY, released=3600),
    "released and given up": Entry(40_000, 40_000, released=9 * 3600),
}
"""More than a minute from each border, since the time goes on during the test."""


@dataclass(frozen=True)
class Scenario:
    """A server's options, and the numbers of triplets that wait, passed and never returned."""

    options: tuple[str, ...]
    counts: tuple[int, int, int]
    settings: Settings = Settings()  # noqa: RUF009 - immutable
    with_identities: bool = False
    is_imported: bool = False


SCENARIOS = {
    "plain": Scenario((), (5, 2, 4)),
    # An import keeps a pass, even one after a shorter delay.
    "imported": Scenario((), (4, 3, 4), is_imported=True),
    "a delay of 2 h": Scenario(("--delay=2h",), (7, 1, 3)),
    "delays by signals": Scenario(("--delay=60,300,3600,7200",), (6, 2, 3)),
    "privacy": Scenario(("--privacy",), (5, 2, 4), Settings(privacy=True)),
    "identities": Scenario(("--identity=spf,name",), (4, 3, 4), with_identities=True),
    # Hashes do not show which triplet of a mail is that of its identity.
    "privacy and identities": Scenario(
        ("--privacy", "--identity=spf,name"), (5, 3, 5), Settings(privacy=True), True
    ),
    "a recipient domain's delay": Scenario(("--recipient-domain=example.org;delay=2h",), (7, 1, 3)),
    "another recipient domain's delay": Scenario(
        ("--recipient-domain=example.net;delay=2h",), (5, 2, 4)
    ),
    "a short retry window": Scenario(("--retry-window=7h",), (5, 2, 1)),
    "each client by its address": Scenario(
        ("--lookup-by-host",), (5, 2, 4), Settings(lookup_by_host=True, lookup_by_subnet=False)
    ),
    "the mode off": Scenario(("--mode=off",), (5, 2, 4)),
    "two workers and a delay of 20 s": Scenario(("--workers=2", "--delay=20"), (3, 3, 5)),
    "larger networks": Scenario(("--ipv4cidr=16",), (5, 2, 4), Settings(ipv4cidr=16)),
}


def records_of(scenario: Scenario) -> dict[bytes, bytes]:
    """Return the records of the entries; two of them also have a triplet of an identity."""
    settings = scenario.settings
    if scenario.with_identities:
        settings = replace(settings, identity=("spf", "name"))
    now, records = int(time.time()), {}

    def keys(number: int) -> Keys:
        return request_keys(
            address_of("198.51.100.7"), f"s{'x' * number}@example.com".encode(), b"bob@example.org",
            settings, evidence_for(b"example.com", speaks=False),
        )  # fmt: skip

    for number, (name, entry) in enumerate(ENTRIES.items()):
        records[keys(number).triplet] = entry.record(now)
        if scenario.with_identities and name in ("in its delay", "given up, by a delay of 5 min"):
            records[keys(number).identities[0].triplet] = entry.record(now)
    return records


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


def counts_in(triplets: dict[str, int]) -> tuple[int, int, int]:
    return triplets["waiting"], triplets["passed"], triplets["never_returned"]


def counts_on_page(text: str) -> tuple[int, ...]:
    patterns = (
        r"([\d,]+) triplets? waiting,",
        r"([\d,]+) triplets? passed\.",
        r"([\d,]+) never returned: by age",
    )
    return tuple(int(re.findall(each, text)[0].replace(",", "")) for each in patterns)


def counts_in_metrics(text: str) -> tuple[int, ...]:
    found = dict(re.findall(r'^greyd_triplets\{state="(\w+)"\} ([\d.]+)$', text, re.MULTILINE))
    return tuple(int(float(found[each])) for each in ("waiting", "passed", "never_returned"))


def test_all_count_the_same_from_the_servers_settings(tmp_path: Path, scenario: Scenario) -> None:
    url, metrics = f"sqlite:{tmp_path / 'greyd.db'}", free_port()
    records = records_of(scenario)
    if scenario.is_imported:
        fill(f"sqlite:{tmp_path / 'old.db'}", records)
        assert run_here("import", str(tmp_path / "old.db"), f"--store={url}").returncode == 0
    else:
        fill(url, records)
    place = {"GREYD_RUN_DIR": str(tmp_path)}

    # No option of the server is given to the commands.
    def told(*arguments: str) -> Any:
        done = run_here(*arguments, "--json", **place)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    with ready(
        tmp_path, f"--metrics=127.0.0.1:{metrics}", f"--resolver=127.0.0.1:{free_port()}",
        *scenario.options, environment=place,
    ):  # fmt: skip
        page = get(metrics, "/")[1]
        listed = {
            state: [
                each
                for each in told("list", f"--{state}", "--limit=0")["entries"]
                if each["kind"] == "triplet"
            ]
            for state in ("waiting", "passed", "never-returned")
        }
        stats, top = told("stats"), told("top", "--count=1", "--every=20s")
        found = {
            "page": counts_on_page(re.sub(r"<[^>]+>", "", page)),
            "/stats.json": counts_in(json.loads(get(metrics, "/stats.json")[1])["triplets"]),
            "metrics": counts_in_metrics(get(metrics, "/metrics")[1]),
            "stats": counts_in(stats["store"]["entries"]["triplets"]),
            "the server in stats": counts_in(stats["servers"][0]["triplets"]),
            "top": counts_in(top["store"]["entries"]["triplets"]),
            "list": tuple(len(each) for each in listed.values()),
        }
    assert found == dict.fromkeys(found, scenario.counts)
    for state, entries in listed.items():
        assert {each["state"] for each in entries} <= {state.replace("-", " ")}


def log_of(entries: dict[str, Entry], now: int) -> str:
    """Return the log of a server whose store would have these entries."""

    def line(ago: int, sender: str, decision: str) -> tuple[int, str]:
        when = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now - ago))
        return -ago, (
            f"{when} mx greyd[1]: {decision}, client_name=unknown, client_address=198.51.100.7,"
            f" sender={sender}@example.com, recipient=bob@example.org\n"
        )

    lines = [line(0, "last", "action=greylist, reason=new")]
    for number, entry in enumerate(entries.values()):
        lines.append(line(entry.first, f"s{number}", "action=greylist, reason=new"))
        if entry.last != entry.first:
            waited = entry.first - entry.last
            passes = f"action=pass, reason=triplet found, delay={waited}"
            lines.append(line(entry.last, f"s{number}", passes))
    return "".join(text for _, text in sorted(lines))


@pytest.mark.parametrize(
    ("delay", "never_returned", "undecided"),
    [("300", 3, 3), ("2h", 2, 4), ("60,300,3600,7200", 2, 4)],
)
def test_a_report_gives_mail_up_when_the_store_does(
    tmp_path: Path, delay: str, never_returned: int, undecided: int
) -> None:
    names = [
        "in its delay", "may pass now", "given up, by a delay of 5 min",
        "given up, by a delay of 2 h", "seen for 1000 s", "soon forgotten",
    ]  # fmt: skip
    (log := tmp_path / "mail.log").write_text(
        log_of({name: ENTRIES[name] for name in names}, int(time.time()))
    )
    done = run_here("report", str(log), "--json", GREYD_DELAY=delay)
    assert done.returncode == 0, done.stderr
    contacts = json.loads(done.stdout)["first_contacts"]
    assert contacts["never_returned"] == never_returned
    # The log's last line is a first contact, too.
    assert (contacts["waited"], contacts["too_young"]) == (1, undecided)
