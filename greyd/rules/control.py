"""What an administrator tells all servers on a store while they run.

It is one record in the store, which every server reads once a second: the mode, the windows in
which a mail is awaited, and the last things that were done by commands, for the log. It is JSON, of
bounded size, and read with patience: what a newer version adds is left out, and what can't be read
is as if it were not there.

    {"mode": {"is": "learn", "until": 1795000000, "by": "alice@mx1", "at": 1794990000},
     "expected": [{"recipient": "bob@example.org", "from": "example.com", "until": 1794990600}],
     "acts": [{"number": 7, "at": 1794990000, "by": "alice@mx1", "what": "released 2 triplets"}],
     "last_number": 7}

Everything here is pure; ``ControlPoller`` in ``greyd.policy.control_poller`` reads the record and
obeys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from greyd.config.vocabulary import DAY, HOUR, MODES
from greyd.rules.hostnames import is_or_is_below
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Remembered, Rule


MAX_WINDOWS = 100
"""Open at a time."""

MAX_WINDOW_SECONDS = DAY

MAX_ACTIONS = 50
"""That are remembered for the log, for a day at most."""

MAX_RECORD_BYTES = 64 * 1024
"""Of the record; a larger one is nobody's that greyd knows of."""

_MAX_TEXT = 200
_FOR_GOOD_SECONDS = 3650 * DAY
_MAX_SECONDS = 10**11


class ControlError(Exception):
    """What is told can't be done; the text says why, and what to do."""


class ModeOverride(NamedTuple):
    """The mode of all servers, instead of the one that each is set to."""

    mode: str
    until: int
    """0: until it is taken back."""
    by: str
    at: int

    def holds(self, now: int) -> bool:
        """Whether it is in force."""
        return not self.until or now < self.until


class ExpectWindow(NamedTuple):
    """Mail to a recipient passes at once for a while."""

    recipient: str
    """An address, or ``@`` and a domain; with ``--privacy`` its hash."""
    sender_domain: str
    """The sender's domain or one above it; empty for any sender."""
    until: int

    def takes(self, sender_domain: bytes, now: int) -> bool:
        """Whether mail from a domain is awaited now."""
        wanted = self.sender_domain.encode(errors="surrogateescape")
        return now < self.until and (not wanted or is_or_is_below(sender_domain, wanted))


class AdminAction(NamedTuple):
    """Something that a command has done."""

    number: int
    """Counts up."""
    at: int
    by: str
    what: str


class Control(NamedTuple):
    """All that the record holds."""

    mode: ModeOverride | None = None
    windows: tuple[ExpectWindow, ...] = ()
    acts: tuple[AdminAction, ...] = ()
    last_number: int = 0
    """Of an act, which may be forgotten: the servers know how far they have read."""

    @classmethod
    def load(cls, text: bytes | None) -> Control:
        """Read the record; what can't be read is left out."""
        if text is None or len(text) > MAX_RECORD_BYTES:
            return cls()
        try:
            table = json.loads(text)
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(table, dict):
            return cls()
        modes = _read_all(_mode, [table.get("mode")])
        return cls(
            modes[0] if modes else None,
            tuple(_read_all(_window, _list(table, "expected"))[-MAX_WINDOWS:]),
            tuple(_read_all(_act, _list(table, "acts"))[-MAX_ACTIONS:]),
            *_read_all(_whole, [table.get("last_number", 0)]),
        )

    def dump(self) -> bytes:
        """Return the record's text."""
        table: dict[str, Any] = {}
        if self.mode:
            mode, until, by, at = self.mode
            table["mode"] = {"is": mode, "until": until, "by": by, "at": at}
        if self.windows:
            names = ("recipient", "from", "until")
            table["expected"] = [dict(zip(names, each, strict=True)) for each in self.windows]
        if self.acts:
            table["acts"] = [each._asdict() for each in self.acts]
        if self.last_number:
            table["last_number"] = self.last_number
        return json.dumps(table).encode()

    def mode_at(self, now: int, otherwise: str) -> str:
        """Return the mode in force; ``otherwise`` where none is told."""
        return self.mode.mode if self.mode and self.mode.holds(now) else otherwise

    def without_old(self, now: int) -> Control:
        """Return it without what is over."""
        return self._replace(
            mode=self.mode if self.mode and self.mode.holds(now) else None,
            windows=tuple(each for each in self.windows if now < each.until),
            acts=tuple(each for each in self.acts if abs(now - each.at) < DAY),
        )

    def with_action(self, by: str, what: str, now: int) -> Control:
        """Return it with something more for the log."""
        # The clock: should the whole record be gone, the numbers go on upwards all the same.
        number = max(self.last_number + 1, now)
        act = AdminAction(number, now, by[:_MAX_TEXT], what[:_MAX_TEXT])
        return self._replace(acts=(*self.acts, act)[-MAX_ACTIONS:], last_number=number)

    def with_window(self, window: ExpectWindow) -> Control:
        """Return it with one window more, in the place of one for the same mail.

        Raises:
            ControlError: there are too many.
        """
        others = [each for each in self.windows if each[:2] != window[:2]]
        if len(others) >= MAX_WINDOWS:
            raise ControlError(
                f"{MAX_WINDOWS} expectations are open; close some (greyd expect --close RECIPIENT)"
            )
        return self._replace(windows=(*others, window))

    def without_window(self, recipient: str) -> Control:
        """Return it without the windows of a recipient."""
        return self._replace(windows=tuple(e for e in self.windows if e.recipient != recipient))

    def ttl_seconds(self, now: int) -> int:
        """Return for how long it is to be remembered."""
        until = [each.until - now for each in self.windows]
        if self.mode:
            until.append(self.mode.until - now if self.mode.until else _FOR_GOOD_SECONDS)
        return max(DAY, *until, 0) + HOUR


def change_control(change: Callable[[Control], Control], now: int) -> Rule[Control]:
    """Return a rule that changes the record; it answers with what is in force then."""

    def rule(remembered: Remembered) -> tuple[Control, Sequence[Change]]:
        control = change(Control.load(remembered[0]).without_old(now))
        return control, [Change(CONTROL_KEY, control.dump(), control.ttl_seconds(now))]

    return rule


# Windows ----------------------------------------------------------------------------------------


def window_key(recipient: str, settings: Settings) -> str:
    """Return what a window's recipient is remembered as: itself, or with ``--privacy`` a hash."""
    text = recipient.lower()
    if not settings.privacy:
        return text
    data = text.encode(errors="surrogateescape")
    return hmac.new(settings.privacy_key or b"", data, hashlib.sha256).hexdigest()


class ExpectedMail:
    """The mail that is awaited, as the decision asks for it."""

    def __init__(self, windows: Iterable[ExpectWindow], settings: Settings) -> None:
        self._settings = settings
        self._windows: dict[str, list[ExpectWindow]] = {}
        for each in windows:
            self._windows.setdefault(each.recipient, []).append(each)

    def __bool__(self) -> bool:
        return bool(self._windows)

    def matches(self, sender: bytes, recipient: bytes, now: int) -> bool:
        """Whether a mail is awaited now."""
        domain = sender.rpartition(b"@")[2].lower()
        return any(each.takes(domain, now) for each in self._of(recipient))

    def _of(self, recipient: bytes) -> Iterable[ExpectWindow]:
        text = recipient.decode(errors="surrogateescape").lower()
        for name in (text, "@" + text.rpartition("@")[2]):
            yield from self._windows.get(window_key(name, self._settings), ())


# Reading ----------------------------------------------------------------------------------------


def _list(table: dict[str, Any], name: str) -> list[Any]:
    value = table.get(name)
    return value if isinstance(value, list) else []


def _read_all(read: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    found = []
    for value in values:
        try:
            found.append(read(value))
        except (KeyError, TypeError, ValueError):
            continue
    return found


def _mode(value: Any) -> ModeOverride:
    mode = ModeOverride(
        value["is"], _whole(value["until"]), _text(value["by"]), _whole(value["at"])
    )
    if mode.mode not in MODES:
        raise ValueError(mode.mode)
    return mode


def _window(value: Any) -> ExpectWindow:
    return ExpectWindow(_text(value["recipient"]), _text(value["from"]), _whole(value["until"]))


def _act(value: Any) -> AdminAction:
    numbers = _whole(value["number"]), _whole(value["at"])
    return AdminAction(*numbers, _text(value["by"]), _text(value["what"]))


def _whole(value: Any) -> int:
    """Return a time or a number; beyond some thousand years no clock can show it."""
    if type(value) is not int or not 0 <= value < _MAX_SECONDS:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    # JSON can hold halves of characters (lone surrogates), which can't be logged or compared.
    value.encode(errors="surrogateescape")
    return value[:400]
