"""The numbers in the pages are the code's: limits, defaults, times and sizes.

Each claim is written with the code's constant, and has to be on its page in these words.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from greyd.cli.app import COMMANDS
from greyd.cli.entries.list import DEFAULT_LIMIT
from greyd.cli.replay.sender_model import GIVEN_UP_SECONDS
from greyd.cli.sketches import MAX_FREQUENT_NAMES
from greyd.config import sender_groups, vocabulary
from greyd.config.options import BY_NAME
from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.dns import answer_cache, fair_share, resolver, responses
from greyd.dns.sources import monitor, source
from greyd.dns.spf import limits
from greyd.monitoring import log_observer, store_size
from greyd.monitoring.activity import counter_history
from greyd.monitoring.store import summary
from greyd.monitoring.web import http
from greyd.policy import policy, protocol
from greyd.policy.shadow import store as shadow_store
from greyd.rules import control, records, triplets
from greyd.rules.correspondence import keys as correspondence_keys
from greyd.rules.retention import COUNT_EVERY
from greyd.runtime import clock, supervision
from greyd.server import connection, connection_registry
from greyd.store import circuit_breaker
from greyd.store.redis import node, pipelined_connection
from greyd.store.redis import store as redis_store
from greyd.store.sqlite import file_identity, lock, sweep_clock
from greyd.whitelist import hits
from greyd.whitelist.perl_regex import parser
from tests.pages.blocks import CHECKOUT, DOCS, OTHERS, PAGES, README, Page
from tests.test_claims import rows_of, section_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KIB = 1024


def number(value: float) -> str:
    """Write a whole number as the pages do: 10,000; words up to three."""
    return f"{value:,.0f}"


CLAIMS = (
    ("how-it-works.md", f"{Settings().delay_seconds} s |"),
    ("how-it-works.md", "counts at most one retry an hour" if COUNT_EVERY == HOUR else "?"),
    ("how-it-works.md", f"{Settings().store_timeout_seconds} s (`--store-timeout`)"),
    ("identity.md", f"{limits.MAX_TOTAL_BYTES // KIB} KiB, {number(limits.MAX_TERMS)} terms,"
     f" {limits.MAX_MACROS} macros or {number(limits.MAX_ADDRESSES)} addresses"),
    ("security.md", f"{limits.MAX_TOTAL_BYTES // KIB} KiB of records, {number(limits.MAX_TERMS)}"
     f" terms, {limits.MAX_MACROS} macros and {number(limits.MAX_ADDRESSES)} addresses"),
    ("security.md", f"{responses.MAX_ANSWER_BYTES // KIB} KiB and {responses.MAX_RECORDS} records"
     f" per answer, {number(answer_cache.MAX_CACHED_ANSWERS)} cached answers,"
     f" {resolver.MAX_LOOKUPS} lookups in flight, {limits.MAX_QUERIES} queries for the worst SPF"
     f" record, {Settings().dns_timeout_seconds} s per request"),
    ("security.md", f"up to {number(fair_share.MAX_QUEUED)} of them"),
    ("security.md", f"up to {protocol.MAX_VALUE_BYTES} of them"),
    ("security.md", f"holds {protocol.MAX_HELD_BYTES // KIB} KiB of an incomplete request (beyond"
     f" that only the first {protocol.MAX_VALUE_BYTES} bytes"),
    ("security.md", f"two unread blocks of {connection.READ_BYTES // KIB} KiB"),
    ("security.md", f"after {protocol.MAX_LINE_BYTES // KIB**2} MiB of a line without an end, after"
     f" {connection.MAX_UNANSWERED} consecutive requests that get no answer, and after"
     f" {connection_registry.MAX_IDLE_SECONDS} s without a request"),
    ("security.md", f"After {connection.MAX_REQUESTS_PER_TURN} requests of one connection"),
    ("security.md", f"within {http.REQUEST_SECONDS} s, and there may be {http.MAX_CONNECTIONS}"
     " connections (a sixteenth of" if http.DESCRIPTORS_SHARE == 16 else "?"),
    ("security.md", f"the last {number(redis_store.MAX_CACHED_VALUES)} entries"),
    ("security.md", f"a limit of {pipelined_connection.MAX_REPLY_BYTES // KIB**2} MiB for a reply"),
    ("security.md", f"follow a jump only after {clock.HOLD_SECONDS / 60:.0f} minutes, deletion only"
     f" after {sweep_clock.HOLD_SECONDS / HOUR:.0f} hours"),
    ("security.md", f"a warning and an alert at {store_size.NEARLY_FULL:.0%}".replace("%", " %")),
    ("differences.md", f"remembers {number(policy.MAX_RECENT_INSTANCES)}"),
    ("differences.md", f"by up to {triplets.CLOCK_SKEW} s"),
    ("differences.md", f"believed after it has lasted {clock.HOLD_SECONDS / 60:.0f} minutes"),
    ("troubleshooting.md", f"has lasted {clock.HOLD_SECONDS / 60:.0f} minutes"),
    ("troubleshooting.md", f"stay ahead for {sweep_clock.HOLD_SECONDS / HOUR:.0f} hours"),
    ("troubleshooting.md", f"difference of up to {triplets.CLOCK_SKEW} s has no effect"),
    ("troubleshooting.md", "for at least two seconds, so short"
     if circuit_breaker.MIN_OPEN_SECONDS == 2 else "?"),
    ("stores.md", f"({BY_NAME['max-store-size'].default}) limits the SQLite file. At"
     f" {store_size.NEARLY_FULL * 100:.0f} % greyd logs a warning"),
    ("stores.md", f"`grey` (0x{file_identity.APPLICATION_ID:x}) and, as `user_version`, the version"
     f" of their schema, {file_identity.SCHEMA_VERSION}."),
    ("stores.md", f"Others wait at most {lock.MAX_WAIT_SECONDS:.0f} s"),
    ("stores.md", "up to three times" if redis_store.MAX_CONNECTION_LOSSES == 3 else "?"),
    ("stores.md", "longer than three round trips" if node.MAX_ROUND_TRIPS == 3 else "?"),
    ("stores.md", f"up to {circuit_breaker.MAX_STARTUP_WAIT_SECONDS:.0f} s for the connection"),
    ("stores.md", f"`--store-connect-timeout` ({Settings().store_connect_timeout_seconds:g} s)"),
    ("whitelists.md", "adds the counts to the store every minute"
     if hits.STORE_INTERVAL_SECONDS == 60 else "?"),
    ("whitelists.md", "counts for a year" if hits.KEPT_SECONDS == 365 * DAY else "?"),
    ("whitelists.md", f"more than {parser.MAX_REPETITIONS} repetitions"),
    ("particular-mail.md", f"Up to {sender_groups.MAX_SENDER_GROUPS} groups may have up to"
     f" {number(sender_groups.MAX_GROUP_MEMBERS)} members each. A network wider than"
     f" /{sender_groups.MIN_PREFIX[4]} (IPv6: /{sender_groups.MIN_PREFIX[6]})"),
    ("dns-lists.md", "after three failures in a row" if source.MIN_FAILURES == 3 else "?"),
    ("dns-lists.md", f"more than {source.PROOF_SECONDS:.0f} seconds old"),
    ("dns-lists.md", f"after {monitor.FIRST_RETRY_SECONDS:.0f} seconds, and then at intervals that"
     " double up to one minute" if monitor.MAX_RETRY_SECONDS == 60 else "?"),
    ("identity.md", "seven days if all came from one network"
     if records.SINGLE_NETWORK_AGE_FACTOR == 7 else "?"),
    ("identity.md", "at least every five seconds"
     if monitor.MAX_RESOLVER_RETRY_SECONDS == 5 else "?"),
    ("correspondents.md", "within the last five days"
     if correspondence_keys.MAX_BOUNCE_SECONDS == 5 * DAY else "?"),
    ("intervening.md", "after a day at most" if control.MAX_WINDOW_SECONDS == DAY else "?"),
    ("looking-in.md", "shows a thousand entries" if DEFAULT_LIMIT == 1000 else "?"),
    ("looking-in.md", f"more than {number(MAX_FREQUENT_NAMES)}"),
    ("looking-in.md", "at a fifth of its speed" if summary.SHARE == 0.2 else "?"),
    ("looking-in.md", "in the six hours after their" if GIVEN_UP_SECONDS == 6 * HOUR else "?"),
    ("glossary.md", f"more than {GIVEN_UP_SECONDS // HOUR} hours have gone by since its delay"),
    ("shadow.md", f"reached {shadow_store.MAX_SHARE_IN_USE * 100:.0f} % of `--max-store-size`"),
    ("metrics.md", "The minute is accurate to ten seconds"
     if counter_history.NOTE_SECONDS == 10 else "?"),
    ("metrics.md", "at most one such name a minute" if http.REFUSAL_LOG_SECONDS == 60 else "?"),
    ("metrics.md", "more than a hundred connections" if http.MAX_CONNECTIONS == 100 else "?"),
    ("correspondents.md", "once an hour, a warning"
     if log_observer.NOT_LEARNT_SECONDS == HOUR else "?"),
    ("operations.md", f"after {supervision.MIN_BACKOFF_SECONDS:.0f} s, then 2, 4 and so on up to"
     f" {supervision.MAX_BACKOFF_SECONDS:.0f} s"),
    ("doctor.md", "less than a second"),
    ("security.md", f"| loopback, {vocabulary.METRICS_ENDPOINT.port} |"),
)  # fmt: skip
"""Pages and what they claim; ``?`` if a number that the page writes as a word has changed."""


@pytest.mark.parametrize(
    ("page", "claim"), CLAIMS, ids=[f"{page} {claim}" for page, claim in CLAIMS]
)
def test_a_page_has_the_numbers_of_the_code(page: str, claim: str) -> None:
    assert claim != "?", f"{page}: a number in words has changed"
    assert claim in " ".join((DOCS / page).read_text().split())


# Defaults -----------------------------------------------------------------------------------------


def defaults_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the options in a page's tables whose second column is the default."""
    text = path.read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head = table.partition("\n")[0]
        if not re.match(r"\| option \| default \|", head):
            continue
        for row in rows_of(table):
            option = re.match(r"`--([a-z-]+)", row[0])
            assert option, row
            yield option[1], row[1]


SHOWN_DEFAULTS = [
    (path.name, *each) for path in (README, DOCS / "how-it-works.md") for each in defaults_in(path)
]


@pytest.mark.parametrize(("page", "option", "shown"), SHOWN_DEFAULTS)
def test_a_table_shows_the_default_of_an_option(page: str, option: str, shown: str) -> None:
    known = BY_NAME[option]
    text = shown.replace("`", "").replace(" days", "d")
    if known.default:
        assert known.read(text) == known.read(known.default)
    else:
        assert text == known.default_note


def test_some_tables_show_defaults() -> None:
    assert len(SHOWN_DEFAULTS) > 8


# Dependencies -------------------------------------------------------------------------------------

WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def compiled_dependencies() -> set[str]:
    """Return the packages in requirements/run.txt that are installed here and need compiled code.

    A package counts if greyd needs its compiled part: pure packages with an optional one do not
    occur among them.
    """
    locked = re.findall(
        r"^([\w-]+)==", (CHECKOUT / "requirements/run.txt").read_text(), re.MULTILINE
    )
    # Later Pythons have it themselves.
    compiled = set() if sys.version_info < (3, 14) else {"backports-zstd"}
    for name in locked:
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            continue
        if any(file.suffix == ".so" for file in files):
            compiled.add(name)
    return compiled


@pytest.mark.parametrize("page", ["install.md", "security.md"])
def test_the_number_of_compiled_dependencies_is_right(page: str) -> None:
    text = (DOCS / page).read_text()
    claim = re.search(r"(\w+) of (?:greyd's dependencies|them) are compiled", text)
    assert claim
    assert claim[1].lower() == WORDS[len(compiled_dependencies())], compiled_dependencies()


def test_the_page_for_packagers_lists_the_dependencies_with_their_versions() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = {}
    for text in project["dependencies"]:
        parts = re.fullmatch(
            r"([\w.-]+)>=([\d.]+)(?:,<([\d.]+))?(?:; python_version < '3\.(\d+)')?", text
        )
        assert parts, text
        name, least, below, python = parts.groups()
        wanted[name] = least
        if below:
            wanted[name] += f", below {below}"
        if python:
            wanted[name] += f", up to Python 3.{int(python) - 1}"
    rows = rows_of(section_of("install.md", "For packagers"))
    assert {row[0]: row[1] for row in rows} == wanted


def test_the_pages_name_the_supported_pythons() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    versions = [
        each.rpartition(" ")[2] for each in project["classifiers"]
        if re.search(r"Python :: 3\.\d+$", each)
    ]  # fmt: skip
    first, last = versions[0], versions[-1]
    assert project["requires-python"].startswith(f">={first}")
    assert f"Python {first} to {last}" in README.read_text()
    assert f"CPython {first} to {last}" in (DOCS / "operations.md").read_text()
    assert f"Python {', '.join(versions[:-1])} and {last}" in (DOCS / "install.md").read_text()


# Commands -----------------------------------------------------------------------------------------


every_page = pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=lambda path: path.name)


@every_page
def test_the_targets_of_make_that_a_page_names_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for code in Page(path).code_spans
        for name in re.findall(r"^g?make ([a-z][a-z-]*)", code)
    }
    assert named <= targets


@every_page
def test_the_commands_that_a_page_names_exist(path: Path) -> None:
    named = {
        name
        for code in Page(path).code_spans
        for name in re.findall(r"(?:^|\| )greyd ([a-z][a-z-]+)(?= |$)", code)
    }
    assert named <= {*COMMANDS, "serve"}


# Tables -------------------------------------------------------------------------------------------


@every_page
def test_each_row_has_as_many_columns_as_its_table(path: Path) -> None:
    """A row without a head or with another number of cells is shown as text."""
    text = re.sub(r"^ *```.*?^ *```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for table in re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE):
        lines = [line.strip().replace(r"\|", "") for line in table.strip().splitlines()]
        assert len(lines) > 2, table
        assert re.fullmatch(r"\|(-+\|)+", lines[1]), table
        assert {line.count("|") for line in lines} == {lines[0].count("|")}, table
