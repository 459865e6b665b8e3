"""Conversations recorded from Debian's postgrey, played to greyd: every reply and log line agrees.

No server is started: a request goes through the parser and the policy, as one from the network
does. ``tests/conversations/record.py`` tells what the files hold and records them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import merge_settings
from greyd.config.sources import from_arguments
from greyd.monitoring.log import Log, Severity
from greyd.monitoring.log_observer import LogObserver
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.policy.protocol import RequestParser, encode_reply
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.integration.side_by_side import assert_same_lines, decisions
from tests.processes import encode
from tests.stores import answer_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.log import Line
    from greyd.store.contract import Store

CONVERSATIONS = sorted((Path(__file__).parents[1] / "conversations").glob("*.jsonl"))

STORES = ["memory://", "sqlite"]


class Kept:
    """Takes the lines of a log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.lines += [line.text.decode("ascii") for line in lines]


class Server:
    """greyd without its sockets, on a store that outlives it."""

    def __init__(self, options: Sequence[str], whitelists: Whitelists, store: Store) -> None:
        settings = settings_of(options)
        self._kept = Kept()
        most = Severity.NOTICE if settings.quiet else Severity.INFO
        self._log = Log(self._kept, most)
        guard = CircuitBreaker(
            store, 20.0, lambda reason: pytest.fail(f"the store is away: {reason}")
        )
        self._policy = Policy(settings, whitelists, guard, Observers(LogObserver(self._log)))
        self._parser = RequestParser()

    async def ask(self, data: bytes) -> str | None:
        """Return the reply as it would go to the network, without its empty line."""
        (request,) = self._parser.feed(data)
        action = await answer_of(self._policy, request)
        if action is None:
            return None
        return encode_reply(action).removesuffix(b"\n\n").decode("latin-1")

    def close(self) -> list[str]:
        """End, and return the log's lines of decisions."""
        self._log.close(seconds=10)
        return decisions("\n".join(self._kept.lines))


def settings_of(options: Sequence[str]) -> Settings:
    given, ignored = from_arguments([*options, "--test-time"])
    assert not ignored
    return merge_settings(given)


def whitelists_of(first: dict[str, Any]) -> Whitelists:
    clients, recipients = (
        WhitelistFile(kind, "\n".join(first[kind]).encode("latin-1"))
        for kind in ("whitelist_clients", "whitelist_recipients")
    )
    return Whitelists(ClientWhitelist([clients]), RecipientWhitelist([recipients]))


async def play(first: dict[str, Any], lines: Iterator[dict[str, Any]], store: Store) -> None:
    """Ask all that was asked, and fail with the first reply or log line that is another."""
    expected: list[str] = []
    logged: list[str] = []
    server = Server(first["options"], whitelists_of(first), store)
    for number, line in enumerate(lines, 2):
        if "options" in line:
            logged += server.close()
            server = Server(line["options"], whitelists_of(first), store)
            continue
        data = encode({name: value.encode("latin-1") for name, value in line["ask"].items()})
        reply = await server.ask(data)
        assert reply == line["reply"], f"line {number}: {line['ask']}"
        expected += line["log"]
    logged += server.close()
    await store.close()
    assert_same_lines(decisions("\n".join(expected)), logged, "greyd")


@pytest.mark.parametrize("url", STORES, ids=["memory", "sqlite"])
@pytest.mark.parametrize("file", CONVERSATIONS, ids=lambda file: file.stem)
def test_a_recorded_conversation_goes_as_it_went_with_postgrey(
    file: Path, url: str, tmp_path: Path
) -> None:
    first, *lines = (json.loads(line) for line in file.read_text().splitlines())
    options = [f"--store={url}"] if url != "sqlite" else []

    async def playing() -> None:
        await play(first, iter(lines), open_store(settings_of(options), tmp_path))

    asyncio.run(playing())


def test_the_recorded_conversations_are_there() -> None:
    assert len(CONVERSATIONS) >= 15
