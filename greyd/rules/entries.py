"""Interprets stored entries: their kind, names and current state.

Everything that shows or counts entries uses this module: the status page, ``/stats.json``, the
metrics, and ``greyd stats``, ``top``, ``list`` and ``show``. ``docs/glossary.md`` defines the
states. ``greyd report`` reads attempts from a log instead of records from a store; it gives up mail
after the same time (``gives_up_at``).

The functions are pure: a state depends on the record, the settings and the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.rules.keys import TripletNames, is_of_identity, is_triplet, names_in
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.reserved_keys import (
    CONTROL_KEY,
    HISTORY_PREFIX,
    HITS_PREFIX,
    PROBE_KEY,
    SHADOW_PREFIX,
    SWEPT_KEY,
)
from greyd.rules.site_rules.recipient_settings import settings_of_key
from greyd.rules.triplets import awaited_since, has_passed

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record


GIVEN_UP_SECONDS = 6 * 3600
"""The latest time after the delay to expect a retry: mail servers retry within a few hours."""


class EntryKind(Enum):
    """The kind of an entry."""

    TRIPLET = "triplet"
    IDENTITY_TRIPLET = "identity triplet"
    CLIENT = "client"
    IDENTITY = "identity"
    CORRESPONDENCE = "correspondence"
    OTHER = "other"
    """A key of greyd's own records, or of another program's."""

    @property
    def is_triplet(self) -> bool:
        """Whether the entry is a triplet, either of a network or of an identity."""
        return self in (EntryKind.TRIPLET, EntryKind.IDENTITY_TRIPLET)


class EntryState(Enum):
    """The state of an entry."""

    WAITING = "waiting"
    """A triplet that has not passed, and whose retry may still come."""
    PASSED = "passed"
    """A triplet that has passed."""
    NEVER_RETURNED = "never returned"
    """A triplet that has not passed, after the time of ``gives_up_at``."""
    COUNTED = "counted"
    """A client or an identity with too few successful retries to be auto-whitelisted."""
    AUTO_WHITELISTED = "auto-whitelisted"
    """A client or an identity with enough successful retries to pass at once."""
    KNOWN = "known"
    """The only state of a correspondence."""
    UNREADABLE = "unreadable"
    """Not written by greyd, or by a newer version: the rules ignore it."""


@dataclass(frozen=True, slots=True)
class Correspondence:
    """The record of a correspondence: when a local user last wrote to the correspondent."""

    last_written: int

    @classmethod
    def load(cls, text: bytes) -> Correspondence | None:
        """Parse a record; return None if it is invalid."""
        written = Triplet.load(text)
        return None if written is None else cls(written.first_seen)


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """Takes the place of a record that the rules cannot read."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry of the store with its interpretation."""

    key: bytes
    kind: EntryKind
    state: EntryState
    names: TripletNames
    """The names in the key. A client or an identity has only ``network``, which is its address or
    domain. A correspondence has only ``sender``: ``@`` and the correspondent's domain. With
    ``--privacy`` all names are empty.
    """
    record: Triplet | Client | Identity | Correspondence | UnreadableRecord
    ttl_seconds: int | None
    """Seconds until the store drops the entry; None for never."""
    passes_at: int = 0
    """When a triplet's shortest delay ends, in seconds since 1970; 0 for other kinds.

    For a released triplet it is the time of its release.
    """
    is_expired: bool = False
    """Whether the rules ignore the entry because of its age. It counts in none of the states."""

    @property
    def is_hidden(self) -> bool:
        """Whether the key is a hash, so that its names are unknown (``--privacy``)."""
        return self.names == _NO_NAMES

    @property
    def first_seen(self) -> int:
        """When it was first seen, in seconds since 1970; 0 if the record does not contain it."""
        match self.record:
            case Triplet(first_seen=seen) | Identity(first_counted=seen):
                return seen
        return 0

    @property
    def last_seen(self) -> int:
        """When it was last seen or counted, in seconds since 1970; 0 if unreadable."""
        match self.record:
            case Triplet(last_seen=seen) | Correspondence(last_written=seen):
                return seen
            case Client(last_counted=seen) | Identity(last_counted=seen):
                return seen
        return 0


TRIPLET_STATES = (EntryState.WAITING, EntryState.PASSED, EntryState.NEVER_RETURNED)
"""The states of a triplet, in the order in which greyd shows their counts."""


def gives_up_at(first_seen: float, settings: Settings) -> float:
    """Return when a triplet that has not passed counts as never returned, as a Unix time.

    If the delay depends on signals, the record does not show which one applies. The longest counts,
    so mail that still has to wait is never given up.

    Args:
        first_seen: the time of the first attempt.
        settings: the settings of the triplet's recipient.
    """
    return first_seen + settings.longest_delay_seconds + GIVEN_UP_SECONDS


_NO_NAMES = TripletNames(b"", b"", b"")
_INTERNAL_KEYS = frozenset({CONTROL_KEY, PROBE_KEY, SWEPT_KEY})


def kind_of(key: bytes) -> EntryKind:
    """Return the kind of a key; ``CLIENT`` for an identity's hash, which looks like a client's."""
    if key.startswith(SHADOW_PREFIX):
        return EntryKind.OTHER
    if is_triplet(key):
        return EntryKind.IDENTITY_TRIPLET if is_of_identity(key) else EntryKind.TRIPLET
    tag, brace, rest = key.partition(b"}")
    mark = (rest if brace else key)[:1]
    if (tag[:1] != b"{") != (not brace):
        return EntryKind.OTHER
    if mark == b"~":
        return EntryKind.CORRESPONDENCE
    if mark != b":":
        return EntryKind.OTHER
    return EntryKind.IDENTITY if is_of_identity(key) else EntryKind.CLIENT


def interpret(
    record: Record,
    now: int,
    settings: Settings,
    *,
    expired: bool = False,
    unreadable: bool = False,
) -> StoredEntry | None:
    """Interpret a record; return None for greyd's own records and those not asked for.

    Args:
        record: the record.
        now: the time in seconds since 1970.
        settings: the server's settings; the state depends on them.
        expired: whether to return entries that are in the store but too old for the rules.
        unreadable: whether to return records that the rules cannot read.
    """
    kind = kind_of(record.key)
    loaded = None if record.foreign_type else _load(record.value, kind)
    if loaded is None:
        is_shown = unreadable and not is_internal_key(record.key)
        return _unreadable(record, kind) if is_shown else None
    own = settings_of_key(record.key, settings) if kind.is_triplet else settings
    state = _state(loaded, now, own, settings)
    is_expired = _is_too_old(loaded, state, now, settings)
    if is_expired and not expired:
        # A scan of a large store meets more of these than of all others.
        return None
    if isinstance(loaded, Identity):
        # With --privacy only the record distinguishes an identity from a client.
        kind = EntryKind.IDENTITY
    passes_at = 0
    if isinstance(loaded, Triplet):
        passes_at = loaded.released_at or loaded.first_seen + own.delay_seconds
    names = _names(record.key, kind)
    return StoredEntry(
        record.key, kind, state, names, loaded, record.ttl_seconds, passes_at, is_expired
    )


def is_internal_key(key: bytes) -> bool:
    """Whether a key belongs to greyd's own records: control, history, hits, probe, …."""
    return key in _INTERNAL_KEYS or key.startswith((HISTORY_PREFIX, HITS_PREFIX, SHADOW_PREFIX))


def _unreadable(record: Record, kind: EntryKind) -> StoredEntry:
    has_names = kind not in (EntryKind.CORRESPONDENCE, EntryKind.OTHER)
    names = _names(record.key, kind) if has_names else _NO_NAMES
    return StoredEntry(
        record.key, kind, EntryState.UNREADABLE, names, UnreadableRecord(), record.ttl_seconds
    )


def _load(text: bytes, kind: EntryKind) -> Triplet | Client | Identity | Correspondence | None:
    """Return the record of an entry of this kind; None if it is unreadable, or of another kind."""
    if kind.is_triplet:
        return Triplet.load(text)
    if kind in (EntryKind.CLIENT, EntryKind.IDENTITY):
        return Identity.load(text) or Client.load(text)
    return Correspondence.load(text) if kind is EntryKind.CORRESPONDENCE else None


def _names(key: bytes, kind: EntryKind) -> TripletNames:
    if kind.is_triplet:
        return names_in(key) or _NO_NAMES
    if kind is EntryKind.CORRESPONDENCE:
        tag = key.partition(b"}")[0].removeprefix(b"{") if key.startswith(b"{") else b""
        return TripletNames(b"", tag and b"@" + tag, b"")
    return TripletNames(key.partition(b"}:")[2], b"", b"")


def _state(
    loaded: Triplet | Client | Identity | Correspondence,
    now: int,
    own: Settings,
    settings: Settings,
) -> EntryState:
    """Return the state that a record gives an entry.

    Args:
        loaded: the record.
        now: the time in seconds since 1970.
        own: the settings of a triplet's recipient.
        settings: the server's settings.
    """
    if isinstance(loaded, Triplet):
        if has_passed(loaded, own.delay_seconds, own):
            return EntryState.PASSED
        gone = now > gives_up_at(awaited_since(loaded), own)
        return EntryState.NEVER_RETURNED if gone else EntryState.WAITING
    if isinstance(loaded, Correspondence):
        return EntryState.KNOWN
    if isinstance(loaded, Identity):
        earned = loaded.is_auto_whitelisted(settings)
    else:
        earned = 0 < settings.auto_whitelist_clients <= loaded.successes
    return EntryState.AUTO_WHITELISTED if earned else EntryState.COUNTED


def _is_too_old(
    loaded: Triplet | Client | Identity | Correspondence,
    state: EntryState,
    now: int,
    settings: Settings,
) -> bool:
    """Whether an entry is older than max-age; before it passes, than the retry window."""
    if isinstance(loaded, Correspondence):
        return False
    if isinstance(loaded, Triplet):
        if abs(now - loaded.last_seen) > settings.max_age_seconds:
            return True
        is_past_window = now - awaited_since(loaded) > settings.retry_window_seconds
        return is_past_window and state is not EntryState.PASSED
    return abs(now - loaded.last_counted) > settings.max_age_seconds
