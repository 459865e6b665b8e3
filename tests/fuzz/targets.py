"""What must hold for any octets: a function for each part of greyd that reads what others wrote.

A target takes octets, does what greyd would do with them, and raises for what must never be.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from greyd.config.errors import SettingsError
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments, from_environment, from_table
from greyd.monitoring.log import Log, Severity
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.metrics_observer import MetricsObserver
from greyd.policy.observers import Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.policy.protocol import MAX_VALUE_BYTES, ProtocolError, RequestParser, encode_reply
from greyd.policy.reply import Replies
from greyd.rules.address import parse_address
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.greylist import decide
from greyd.rules.keys import Keys, request_keys
from greyd.rules.records import Client, RememberedRecords, Triplet
from greyd.rules.triplets import CLOCK_SKEW
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.matcher import (
    ClientWhitelist,
    RecipientWhitelist,
    SenderWhitelist,
    Whitelists,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Rule
    from greyd.store.contract import DoneCallback

MAX_TTL = 2**40
"""Seconds that Redis's EX and SQLite's integers both take with room to spare."""


class Impossible(Exception):
    """What greyd promises does not hold."""


def expect(true: object, what: str) -> None:
    """Raise where a promise is broken; ``assert`` would go with ``python -O``."""
    if not true:
        raise Impossible(what)


# The policy protocol, and all that is done with a request ----------------------------------------


class Dictionary:
    """A store that is never away."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def begin(self, keys: Sequence[bytes], rule: Rule[Any], done: DoneCallback) -> None:
        """Decide and store."""
        answer, changes = rule([self.values.get(key) for key in keys])
        check_changes(changes)
        self.values |= {change.key: change.value for change in changes}
        done(answer, None)


class Lines(Log):
    """A log without a thread, which looks at each line."""

    def __init__(self, *, as_json: bool) -> None:
        self.most = Severity.DEBUG
        self.as_json = as_json

    def write_all(self, severity: Severity, texts: Sequence[bytes]) -> None:
        """Take lines."""
        for text in texts:
            expect(severity > Severity.ERROR, f"an error: {text!r}")
            expect(not re.search(rb"[^\x20-\x7e]", text), f"an odd line: {text!r}")


@cache
def metrics() -> Metrics:
    """Return the metrics, which can be made once."""
    return Metrics()


@cache
def lists() -> Whitelists:
    """Return whitelists with an entry of each kind, so that all rules are tried."""
    return Whitelists(
        ClientWhitelist(
            [WhitelistFile("c", b"/^dyn/\nfriend.example\n192.0.2.0/25\n2001:db8::/33\n")]
        ),
        RecipientWhitelist([WhitelistFile("r", b"postmaster@\n/^abuse@/\nfriend.example\n")]),
    )


def policy(data: bytes) -> None:
    """Feed a connection's octets, the first of which says how they are cut into packets."""
    size, data = (data[0] + 1, data[1:]) if data else (1, b"")
    whole, given_up = requests_of([data])
    cut = requests_of([data[start : start + size] for start in range(0, len(data), size)])
    expect(cut == (whole, given_up), "the borders of packets matter")
    for as_json in (False, True):
        answer_all(whole, as_json=as_json)


def requests_of(packets: Sequence[bytes]) -> tuple[list[Request], bool]:
    """Return the requests, and whether the connection was given up after them."""
    parser = RequestParser()
    requests: list[Request] = []
    try:
        for packet in packets:
            requests.extend(parser.feed(packet))
    except ProtocolError:
        return requests, True
    return requests, False


def answer_all(requests: Sequence[Request], *, as_json: bool) -> None:
    """Answer requests as the server does."""
    settings = Settings(
        test_time=True, hostname="mx.example.org", privacy=as_json, auto_whitelist_clients=2
    )
    observers = Observers(MetricsObserver(metrics()), LogObserver(Lines(as_json=as_json)))
    answering = Policy(settings, lists(), Dictionary(), observers)  # type: ignore[arg-type]
    for request in requests:
        longest = max(len(value) for value in request if value is not None) if any(request) else 0
        expect(longest <= MAX_VALUE_BYTES, "a value is too long")
        replies: list[bytes | None] = []
        answering.answer(request, PendingReply(replies.append))
        (reply,) = replies
        if reply is None:
            expect(request.request != b"smtpd_access_policy", "no answer")
            continue
        raw_bytes = encode_reply(reply)
        expect(
            re.fullmatch(rb"action=[^\x00-\x1f\x7f]+\n\n", raw_bytes),
            f"an odd reply: {raw_bytes!r}",
        )


# Whitelists --------------------------------------------------------------------------------------


def whitelist(data: bytes) -> None:
    """Read a file, and match its last line's words: a client's name, address, and a recipient."""
    content, _, asked = data.rpartition(b"\n")
    name, _, rest = asked.partition(b" ")
    address_text, _, recipient = rest.partition(b" ")
    address = parse_address(address_text)
    lines = content.split(b"\n")
    clients, recipients = (
        ClientWhitelist([WhitelistFile("c", content)]),
        RecipientWhitelist([WhitelistFile("r", content)]),
    )
    sender = SenderWhitelist([WhitelistFile("s", content)]).match(recipient)
    same = recipients.match(recipient)
    expect(sender is None or (same is not None and sender.text == same.text), "a sender alone")
    expect(sender is None or bool(recipient.strip(b"<> ")), "an entry for a bounce")
    for diagnostic in clients.diagnostics + recipients.diagnostics:
        expect(str(diagnostic).isprintable(), f"a remark that steers a terminal: {diagnostic}")
        expect(1 <= diagnostic.line <= len(lines), "a remark about no line")
    found = clients.match(name, address), recipients.match(recipient)
    for entry in found:
        expect(entry is None or entry.text in lines[entry.line - 1], "a match in no line")
    if len(lines) <= MAX_LINES_ONE_BY_ONE:
        alone = (
            any(ClientWhitelist([WhitelistFile("c", line)]).match(name, address) for line in lines),
            any(RecipientWhitelist([WhitelistFile("r", line)]).match(recipient) for line in lines),
        )
        expect(alone == tuple(map(bool, found)), "a line means something else among others")


MAX_LINES_ONE_BY_ONE = 30


# Settings ----------------------------------------------------------------------------------------


def settings(data: bytes) -> None:
    """Read a command line (words end with NUL), an environment, and a TOML file, after an octet.

    The octet says which of them ``data`` is.
    """
    text = data[1:].decode(errors="surrogateescape")
    words = text.split("\0")
    try:
        if data[:1] == b"t":
            given = from_table(toml(text), "greyd.toml")
        elif data[:1] == b"e":
            given, _ = from_environment({"GREYD_" + name: value for name, value in pairwise(words)})
        else:
            given, _ = from_arguments(words)
        settled = merge_settings(given)
    except SettingsError as error:
        expect(str(error).isprintable(), f"an error of several lines: {error}")
        expect(len(str(error)) < 1000, "a long error")
        return
    use(settled)


def toml(text: str) -> dict[str, Any]:
    """Read TOML; what is none is an empty table, because the standard library tells of it."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def use(settled: Settings) -> None:
    """Do with settings what the first request does."""
    for path in (settled.dbdir, settled.pidfile, *settled.unix, *settled.whitelist_clients):
        expect(path is None or "\0" not in str(path), "a path that can't be")
    settled = replace(settled, hostname=settled.hostname or "mx.example.org")
    replies = Replies.from_settings(settled, "1")
    expect(b"\n" not in replies.prepend_header(300, 1_700_000_000.0), "a header of two lines")
    for text in (b"192.0.2.1", b"2001:db8::1"):
        address = parse_address(text)
        expect(address, "no address")
        keys = request_keys(address, b"a@example.com", b"b@example.org", settled)  # type: ignore[arg-type]
        decide_often(keys, [None, None], 1_700_000_000, settled)


# Records -----------------------------------------------------------------------------------------


def records(data: bytes) -> None:
    """Decide on what is remembered: triplet, client, time, sender, recipient, a line each."""
    lines = [*data.split(b"\n"), b"", b"", b"", b"", b""][:5]
    remembered, digits, sender, recipient = lines[:2], lines[2], lines[3], lines[4]
    for load in (Triplet.load, Client.load):
        record = load(remembered[0])
        expect(record is None or load(record.dump()) == record, "a record changes when stored")
    now = int(digits[:12]) if digits.isdigit() and digits[:12].isascii() else 1_700_000_000
    address = parse_address(b"192.0.2.1")
    for setting in (
        Settings(),
        Settings(delay_seconds=0, auto_whitelist_clients=0),
        Settings(delay_seconds=-1, retry_window_seconds=0, max_age_seconds=0, privacy=True),
        Settings(delay_seconds=10**12, lookup_by_host=True, auto_whitelist_clients=1),
    ):
        keys = request_keys(address, sender, recipient, setting)  # type: ignore[arg-type]
        again = request_keys(address, normalise_sender(sender), recipient, setting)  # type: ignore[arg-type]
        expect(keys.client == again.client, "a client's key depends on the sender")
        decide_often(keys, [value or None for value in remembered], now, setting)


def decide_often(keys: Keys, remembered: list[bytes | None], now: int, settings_: Settings) -> None:
    """Ask as often as a patient client does; nobody waits for ever."""
    rule = partial(decide, keys, settings=settings_)
    decision, changes = rule(RememberedRecords(*remembered), now)
    check_changes(changes)
    if decision.passes:
        return
    expect(0 < decision.missing_seconds <= max(settings_.delay_seconds, 0), "an odd wait")
    values = {change.key: change.value for change in changes}
    both = (keys.triplet, keys.client)
    later = [values.get(key, old) for key, old in zip(both, remembered, strict=True)]
    # Where the record came from a server whose clock is ahead, the wait was told by that.
    decision, changes = rule(RememberedRecords(*later), now + decision.missing_seconds + CLOCK_SKEW)
    check_changes(changes)
    within = settings_.delay_seconds + CLOCK_SKEW <= min(
        settings_.retry_window_seconds, settings_.max_age_seconds
    )
    expect(decision.passes or not within, "who waits as told has to wait again")


def check_changes(changes: Sequence[Change]) -> None:
    """Look at what is to be stored."""
    for change in changes:
        expect(0 < change.ttl_seconds < MAX_TTL, f"an odd life: {change}")
        expect(change.key and change.value, "nothing to store")
        expect(len(change.key) < 10 * MAX_VALUE_BYTES, "a long key")
        expect(re.fullmatch(rb"[-0-9,]+", change.value), f"an odd record: {change}")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "policy": policy,
    "whitelist": whitelist,
    "settings": settings,
    "records": records,
}
