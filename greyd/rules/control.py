"""The control record: an administrator's settings for all servers that share a store.

Every server polls the record once a second (``greyd.policy.control_poller``). It has the mode, the
open windows for expected mail, and the last administrative actions, which the servers log. It is
JSON of bounded size; a server ignores invalid parts and the fields of newer versions::

    {"mode": {"is": "off", "until": 0, "by": "alice@mx1", "at": 1794990000, "warned": 1795076400},
     "expected": [{"recipient": "bob@example.org", "from": "example.com", "until": 1794990600}],
     "acts": [{"number": 7, "at": 1794990000, "by": "alice@mx1", "what": "released 2 triplets"}],
     "last_number": 7}

The functions are pure: they take the time as an argument.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from greyd.config.vocabulary import DAY, HOUR, MODES
from greyd.errors import GreydError
from greyd.rules.hostnames import domain_of, is_or_is_below
from greyd.rules.names.internationalised import ascii_address
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Remembered, Rule


MAX_WINDOWS = 100
"""Maximum number of open windows."""

MAX_WINDOW_SECONDS = DAY

MAX_ACTIONS = 50
"""Maximum number of actions in the record; each is kept for a day."""

WARN_EVERY_SECONDS = DAY
"""How often one of the servers warns while a mode without end lets all mail pass."""

MAX_RECORD_BYTES = 64 * 1024
"""Maximum size of the record; greyd ignores a larger one, and never writes one."""

_MAX_TEXT = 200
_FOR_GOOD_SECONDS = 3650 * DAY
_MAX_SECONDS = 10**11


class ControlError(GreydError):
    """A command cannot change the control record; the text has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class ModeOverride:
    """A mode for all servers, which overrides ``--mode``."""

    mode: str
    until: int
    """When the override ends, in seconds since 1970; 0 for never."""
    by: str
    """The user and host of the command, e.g. ``alice@mx1``."""
    at: int
    """When the command ran, in seconds since 1970."""
    warned_at: int = 0
    """When a server last warned that the mode has no end, in seconds since 1970; 0 for never."""

    @property
    def is_forgettable(self) -> bool:
        """Whether all mail passes without greylisting, with no end set."""
        return self.mode != "on" and not self.until

    def needs_warning(self, now: int) -> bool:
        """Whether a day has passed since the command, and since the last server's warning."""
        # A time in the future is another server's clock, or one that was wrong. Each time counts by
        # itself: the later one alone, if it is in the future, would cause a warning at each poll.
        is_recent = any(
            -HOUR < now - each < WARN_EVERY_SECONDS for each in (self.at, self.warned_at)
        )
        return self.is_forgettable and not is_recent

    def holds(self, now: int) -> bool:
        """Whether the override is in force."""
        return not self.until or now < self.until


@dataclass(frozen=True, slots=True)
class ExpectWindow:
    """A period in which mail to a recipient passes at once (``greyd expect``)."""

    recipient: str
    """A mail address, or ``@`` and a domain; with ``--privacy`` the hash of that text."""
    sender_domain: str
    """The sender's domain or a parent domain; empty for any sender."""
    until: int
    """When the window closes, in seconds since 1970."""

    def takes(self, sender_domain: bytes, now: int) -> bool:
        """Whether the window is open at ``now``, and for mail from this domain."""
        wanted = self.sender_domain.encode(errors="surrogateescape")
        return now < self.until and (not wanted or is_or_is_below(sender_domain, wanted))

    def is_for_same_mail(self, other: ExpectWindow) -> bool:
        """Whether both windows have the same recipient and sender domain."""
        return (self.recipient, self.sender_domain) == (other.recipient, other.sender_domain)


@dataclass(frozen=True, slots=True)
class AdminAction:
    """A change that a command has made, for the servers' logs."""

    number: int
    """Higher than that of every earlier action."""
    at: int
    by: str
    what: str


@dataclass(frozen=True, slots=True)
class Control:
    """The content of the control record."""

    mode: ModeOverride | None = None
    windows: tuple[ExpectWindow, ...] = ()
    acts: tuple[AdminAction, ...] = ()
    last_number: int = 0
    """The number of the last action. It stays when the action expires, because servers log only
    actions with a higher number than the last one that they have read.
    """

    @classmethod
    def load(cls, text: bytes | None) -> Control:
        """Parse the record's text, ignoring invalid parts; without a text, it is empty."""
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
            mode = self.mode
            table["mode"] = {"is": mode.mode, "until": mode.until, "by": mode.by, "at": mode.at}
            if mode.warned_at:
                table["mode"]["warned"] = mode.warned_at
        if self.windows:
            table["expected"] = [
                {"recipient": each.recipient, "from": each.sender_domain, "until": each.until}
                for each in self.windows
            ]
        if self.acts:
            table["acts"] = [asdict(each) for each in self.acts]
        if self.last_number:
            table["last_number"] = self.last_number
        return json.dumps(table).encode()

    def mode_at(self, now: int, otherwise: str) -> str:
        """Return the mode in force: that of the override if it holds, else ``otherwise``."""
        return self.mode.mode if self.mode and self.mode.holds(now) else otherwise

    def without_old(self, now: int) -> Control:
        """Return a copy without expired parts: mode, windows, and actions older than a day."""
        return replace(
            self,
            mode=self.mode if self.mode and self.mode.holds(now) else None,
            windows=tuple(each for each in self.windows if now < each.until),
            acts=tuple(each for each in self.acts if abs(now - each.at) < DAY),
        )

    def with_action(self, by: str, what: str, now: int) -> Control:
        """Return a copy with one more action; the oldest beyond ``MAX_ACTIONS`` are dropped."""
        # The time as the minimum keeps numbers increasing even if the whole record is lost.
        number = max(self.last_number + 1, now)
        act = AdminAction(number, now, by[:_MAX_TEXT], what[:_MAX_TEXT])
        return replace(self, acts=(*self.acts, act)[-MAX_ACTIONS:], last_number=number)

    def with_window(self, window: ExpectWindow) -> Control:
        """Return a copy with one more window, which replaces the one for the same mail.

        Raises:
            ControlError: ``MAX_WINDOWS`` other windows are open.
        """
        others = [each for each in self.windows if not each.is_for_same_mail(window)]
        if len(others) >= MAX_WINDOWS:
            raise ControlError(
                f"{MAX_WINDOWS} expectations are open; close some (greyd expect --close RECIPIENT)"
            )
        return replace(self, windows=(*others, window))

    def without_window(self, recipient: str) -> Control:
        """Return a copy without the windows of a recipient."""
        others = tuple(each for each in self.windows if each.recipient != recipient)
        return replace(self, windows=others)

    def ttl_seconds(self, now: int) -> int:
        """Return how long the store must keep the record, in seconds."""
        until = [each.until - now for each in self.windows]
        if self.mode:
            until.append(self.mode.until - now if self.mode.until else _FOR_GOOD_SECONDS)
        return max(DAY, *until, 0) + HOUR


def change_control(change: Callable[[Control], Control], now: int) -> Rule[Control]:
    """Return a rule that applies ``change`` to the control record and returns the new content."""

    def rule(remembered: Remembered) -> tuple[Control, Sequence[Change]]:
        (text,) = remembered
        control = change(Control.load(text).without_old(now))
        return control, [Change(CONTROL_KEY, control.dump(), control.ttl_seconds(now))]

    return rule


def claim_warning(now: int) -> Rule[bool]:
    """Return a rule that notes a warning about a mode without end, if one is due.

    The rule returns whether the caller has to warn: of all servers on a store, and all workers of a
    server, one does, also across restarts.
    """

    def rule(remembered: Remembered) -> tuple[bool, Sequence[Change]]:
        (text,) = remembered
        control = Control.load(text)
        if control.mode is None or not control.mode.needs_warning(now):
            return False, ()
        control = replace(control, mode=replace(control.mode, warned_at=now)).without_old(now)
        return True, [Change(CONTROL_KEY, control.dump(), control.ttl_seconds(now))]

    return rule


# Windows ----------------------------------------------------------------------------------------


def window_key(recipient: str, settings: Settings) -> str:
    """Return the text that a window stores for a recipient: in lower case, or its hash.

    The domain is in ASCII.
    """
    data = ascii_address(recipient.lower().encode(errors="surrogateescape")).lower()
    if not settings.privacy:
        return data.decode(errors="surrogateescape")
    return hmac.new(settings.privacy_key or b"", data, hashlib.sha256).hexdigest()


class ExpectedMail:
    """The open windows, by recipient."""

    def __init__(self, windows: Iterable[ExpectWindow], settings: Settings) -> None:
        self._settings = settings
        self._windows: dict[str, list[ExpectWindow]] = {}
        for each in windows:
            self._windows.setdefault(each.recipient, []).append(each)

    def __bool__(self) -> bool:
        return bool(self._windows)

    def windows_for(self, sender: bytes, recipient: bytes, now: int) -> Sequence[ExpectWindow]:
        """Return the open windows for mail from ``sender`` to ``recipient``."""
        domain = domain_of(sender)
        return [each for each in self._of(recipient) if each.takes(domain, now)]

    def _of(self, recipient: bytes) -> Iterable[ExpectWindow]:
        text = recipient.decode(errors="surrogateescape").lower()
        local, at, domain = text.rpartition("@")
        # A window for bob@ is also for bob+shop@, the address that he gave to a shop.
        base = local.partition("+")[0] + at + domain
        for name in dict.fromkeys((text, base, "@" + domain)):
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
        value["is"],
        _whole(value["until"]),
        _text(value["by"]),
        _whole(value["at"]),
        _whole(value.get("warned", 0)),
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
    """Return a time or a number below ``_MAX_SECONDS``; later times cannot be printed as dates."""
    if type(value) is not int or not 0 <= value < _MAX_SECONDS:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    # JSON can contain lone surrogates, which can be neither logged nor compared.
    value.encode(errors="surrogateescape")
    return value[:400]
