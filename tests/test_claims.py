"""What the pages claim about the code is true: orders, names, keys and signals."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import yaml

from greyd.cli.app import COMMANDS
from greyd.cli.explain.steps import DECIDING_STEPS, STEP_NAMES
from greyd.config.settings import Settings
from greyd.policy.observers import Observer, Observers
from greyd.policy.policy import Policy
from greyd.rules import reserved_keys
from greyd.rules.address import parse_address
from greyd.rules.control import ExpectedMail, ExpectWindow
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.evidence import Evidence, ProvenIdentity
from greyd.rules.keys import request_keys
from greyd.rules.reasons import OUTCOMES, Reason
from greyd.rules.request import Request
from greyd.server import os_signals
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.hits import SINCE_KEY, hit_key
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.pages.blocks import CHECKOUT, DOCS, OTHERS, PAGES, Page
from tests.pages.systems import SYSTEMS
from tests.stores import answer_of
from tools import render_man

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from greyd.policy.events import DecisionEvent


def section_of(page: str, heading: str) -> str:
    """Return the text of a page from a heading to the next one of the same level or above."""
    text = (DOCS / page).read_text()
    level = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert level, f"{page} has no heading {heading!r}"
    rest = text[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of a text's table rows, without the head of each table."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"[-|: ]+", line)]
    heads = {number - 1 for number in rules}
    return [row for number, row in enumerate(rows) if number not in {*rules, *heads}]


def code_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


# The menu -----------------------------------------------------------------------------------------


def menu() -> Iterator[tuple[str, str, str]]:
    """Yield the section, the title and the file of each page in the site's menu."""
    text = (CHECKOUT / "mkdocs.yml").read_text()
    for entry in yaml.safe_load(text)["nav"]:
        for section, pages in entry.items():
            if isinstance(pages, list):
                for page in pages:
                    for title, file in page.items():
                        yield section, title, file


def test_the_first_page_lists_the_pages_of_the_menu_in_its_order() -> None:
    listed = []
    section = ""
    for line in (DOCS / "index.md").read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif link := re.match(r"- \[(.+?)\]\((.+?)\): ", line):
            listed.append((section, link[1], link[2]))
    assert listed == list(menu())


def test_the_menu_has_each_page() -> None:
    files = [file for _, _, file in menu()]
    assert Counter(["index.md", *files]) == Counter(
        str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")
    )


# Reasons ------------------------------------------------------------------------------------------


def test_only_one_page_has_the_table_of_reasons() -> None:
    actions = {action for action, _ in OUTCOMES}
    pages = [
        page.name
        for page in PAGES
        if sum(row[0].strip("`") in actions for row in rows_of(page.read_text())) > 3
    ]
    assert pages == ["troubleshooting.md"]


def test_the_page_on_explain_lists_the_steps_in_the_command_s_order() -> None:
    rows = [row for row in rows_of((DOCS / "explain.md").read_text()) if len(row) == 3]
    steps = [name for row in rows for name in code_in(row[0])]
    assert steps == list(STEP_NAMES)
    *others, last = rows
    documented = {}
    for row in others:
        names, reasons = code_in(row[0]), code_in(row[2])
        several = len(names) > 1
        documented |= {
            reason: name
            for number, name in enumerate(names)
            for reason in (reasons[number : number + 1] if several else reasons)
        }
    assert last[2] == "the other reasons"
    deciding = {reason.text: step for reason, step in DECIDING_STEPS.items()}
    assert documented == {text: step for text, step in deciding.items() if step != STEP_NAMES[-1]}


@dataclass
class Reasons(Observer):
    """Keeps the reasons of all decisions."""

    reasons: list[str] = field(default_factory=list)

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        self.reasons += [event.reason.text for event in events]


T = 1_700_000_000


async def reasons_when_each_cause_is_removed(folder: Path) -> list[str]:
    """Return the reasons for a request with every cause to pass, then without the first, …."""
    settings = Settings(
        test_time=True, hostname="mx1.example.org", delay_seconds=1, auto_whitelist_clients=1
    )
    observer = Reasons()
    lists = Whitelists(
        ClientWhitelist([WhitelistFile("clients", b"white.example\n")]),
        RecipientWhitelist([WhitelistFile("recipients", b"postmaster@\n")]),
    )
    store = open_store(settings, folder)
    policy = Policy(settings, lists, store, Observers(observer))
    attributes = {
        "request": b"smtpd_access_policy",
        "client_name": b"white.example",
        "client_address": b"none",
        "sasl_username": b"bob",
        "recipient": b"postmaster@example.org",
        "policy_test_time": b"%d" % T,
    }

    async def ask(**changes: bytes) -> None:
        attributes.update(changes)
        await answer_of(policy, Request(**attributes))

    policy.mode = "off"
    policy.expected = ExpectedMail([ExpectWindow("@example.org", "", 10**10)], settings)
    await ask()
    await ask(sender=b"alice@example.com")
    await ask(sasl_username=b"")
    await ask(client_name=b"unknown")
    await ask(recipient=b"bob@example.org")
    policy.mode = "on"
    await ask()
    policy.expected = ExpectedMail([], settings)
    await ask()
    learnt = {**attributes, "client_address": b"192.0.2.7", "sender": b"carol@example.com"}
    for seconds in (0, 60):
        await answer_of(policy, Request(**{**learnt, "policy_test_time": b"%d" % (T + seconds)}))
    del observer.reasons[-2:]
    await ask(client_address=b"192.0.2.7", policy_test_time=b"%d" % (T + 120))
    await ask(client_address=b"198.51.100.7")
    await ask(policy_test_time=b"%d" % (T + 120))
    await ask(policy_test_time=b"%d" % (T + 180))
    await store.close()
    return observer.reasons


def test_the_rules_apply_in_the_order_of_how_it_works(tmp_path: Path) -> None:
    rules = section_of("how-it-works.md", "The path of a request").partition("\n### ")[0]
    numbered = " ".join(re.findall(r"^(?:\d\. |    ?-|   )(.*)$", rules, re.MULTILINE))
    named = [name for name in code_in(numbered) if any(name == each.text for each in Reason)]
    documented = list(dict.fromkeys(named))
    applied = asyncio.run(reasons_when_each_cause_is_removed(tmp_path))
    triplet = documented.index("new")
    assert list(dict.fromkeys(applied))[:triplet] == documented[:triplet]
    assert set(applied[triplet:]) <= set(documented[triplet:])


# Keys ---------------------------------------------------------------------------------------------


def documented_keys() -> list[re.Pattern[bytes]]:
    """Return the patterns of the keys in the table on the page about stores."""
    keys = [code_in(row[0])[0] for row in rows_of(section_of("stores.md", "What is stored"))]
    patterns = []
    for key in keys:
        text = re.escape(key.removeprefix("greyd:"))
        for example, pattern in {
            "SENDER": "[^/]*", "RECIPIENT": ".*", "LIST": r"\w+", "HASH": r"[\w+/-]+",
            re.escape("192.0.2.0"): r"[\d.:a-f]+", re.escape("192.0.2.7"): r"[\d.:a-f]+",
            re.escape("example.com"): r"[a-z-]+\.[a-z.]+",
        }.items():  # fmt: skip
            text = text.replace(example, pattern)
        patterns.append(re.compile(text.encode()))
    return patterns


def written_keys() -> list[bytes]:
    """Return one key of each kind that greyd writes."""
    settings = Settings(identity=("spf",), learn_outbound=True)
    address = parse_address(b"192.0.2.7")
    assert address
    evidence = Evidence(identities=(ProvenIdentity(b"example.com", "spf", True),))
    sender, recipient = b"alice@example.com", b"bob@example.org"
    keys = request_keys(address, sender, recipient, settings, evidence)
    lists = [hit_key(name, b"example.com") for name in ("clients", "recipients", "senders")]
    return [
        keys.triplet, keys.client, *keys.identities[0], *lists, SINCE_KEY,
        correspondence_key(sender, recipient, settings), reserved_keys.CONTROL_KEY,
        reserved_keys.PROBE_KEY, reserved_keys.SWEPT_KEY,
    ]  # fmt: skip


@pytest.mark.parametrize("key", written_keys(), ids=bytes.decode)
def test_the_page_on_stores_lists_each_kind_of_key_once(key: bytes) -> None:
    assert [each.pattern for each in documented_keys() if each.fullmatch(key)] != []
    assert len([each for each in documented_keys() if each.fullmatch(key)]) == 1


@pytest.mark.parametrize("name", [name for name in vars(reserved_keys) if name.isupper()])
def test_the_page_on_stores_lists_each_reserved_key(name: str) -> None:
    key = getattr(reserved_keys, name).decode()
    cells = [row[0] for row in rows_of(section_of("stores.md", "What is stored"))]
    assert [cell for cell in cells if cell.removeprefix("`").removeprefix("greyd:").startswith(key)]


# Commands -----------------------------------------------------------------------------------------


def test_the_manual_page_of_the_server_names_each_signal_that_it_handles() -> None:
    page = render_man.render()["greyd-serve.8"].partition(".Sh SIGNALS")[2].partition(".Sh ")[0]
    handled = {*os_signals.STOP_SIGNALS, os_signals.RELOAD_SIGNAL}
    assert set(re.findall(r"SIG[A-Z]+", page)) == {each.name for each in handled}


def test_each_command_has_a_module_of_its_own() -> None:
    modules = Counter(target.partition(":")[0] for target in COMMANDS.values())
    assert [module for module, count in modules.items() if count > 1] == []


def can_answer_no(command: str) -> bool:
    """Whether a command can end with the status of a negative answer."""
    module = CHECKOUT / (COMMANDS[command].partition(":")[0].replace(".", "/") + ".py")
    text = module.read_text()
    siblings = [] if module.parent.name == "cli" else module.parent.glob("*.py")
    near = [each for each in siblings if re.search(rf"\b{each.stem} import", text)]
    return any("EXIT_NO" in each.read_text() for each in (module, *near))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_page_of_a_command_has_its_exit_statuses(command: str) -> None:
    page = render_man.render()[f"greyd-{command}.8"].partition(".Sh EXIT STATUS")[2]
    statuses = re.findall(r"^\.It Li (\d+)$", page.partition("\n.Sh ")[0], re.MULTILINE)
    assert {"0", "2"} <= set(statuses)
    assert ("1" in statuses) == can_answer_no(command)


# Paths --------------------------------------------------------------------------------------------

_PATH = re.compile(
    r"(?<![\w/.-])(?:docker|docs|grafana|packaging|prometheus|requirements|tests|tools|whitelists)"
    r"/[\w./*-]*"
)
"""A path in the checkout."""


@pytest.mark.parametrize(
    "path", [*PAGES, *OTHERS, CHECKOUT / "CHANGELOG.md"], ids=lambda path: path.name
)
def test_the_paths_in_the_checkout_that_a_page_names_exist(path: Path) -> None:
    in_code = [found for code in Page(path).code_spans for found in _PATH.findall(code)]
    missing = [each for each in in_code if not list(CHECKOUT.glob(each.rstrip("/.")))]
    assert missing == []


# Other systems ------------------------------------------------------------------------------------

SYSTEM_PAGES = sorted((DOCS / "systems").glob("*.md"))


@pytest.mark.parametrize("page", SYSTEM_PAGES, ids=lambda page: page.stem)
def test_a_page_about_a_system_has_the_way_back_and_what_was_tried(page: Path) -> None:
    text = page.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert "Go back" in headings
    assert headings[-1] == "What was tried"
    tried = text.partition("## What was tried\n")[2]
    assert re.findall(r"^- (Tried|Not tried): ", tried, re.MULTILINE) == ["Tried", "Not tried"]
    assert page.stem in SYSTEMS


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/install.md"])
def test_a_page_links_to_all_pages_about_systems(page: str) -> None:
    links = {link.rpartition("/")[2] for link in Page(CHECKOUT / page).links}
    assert {each.name for each in SYSTEM_PAGES} <= links
