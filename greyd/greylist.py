"""The rules of greylisting: whose mail is remembered under which key, and what is decided of it.

Everything here is pure: octets, times and settings go in, a decision comes out. Times are whole
seconds since 1970 and are handed in.

Keys, the same on every store (``TAG`` is the client's network in braces, so that Redis Cluster
keeps what belongs to one request on one node)::

    triplet = TAG "/" sender "/" recipient
    client  = TAG ":" address

Where it is known for whom the client sends, there are keys of that identity too, whose tag is the
domain in braces, and one of the sender's correspondence, whose tag is the sender's domain::

    identity's triplet = TAG "/" sender "/" recipient
    identity           = TAG ":" domain
    correspondence     = TAG "~" hash

In the sender ``/`` is written ``%2f`` and ``%`` is written ``%25``, so the first ``/`` after it
ends it. With ``--privacy`` the key is ``/`` or ``:`` and a hash, and has no tag.

Records are text that a person can read. Fields at the end are left out where they say nothing
new, and older, longer and postgrey's own forms are read too::

    triplet        = first-seen ["," last-seen ["," passed-at]]
    client         = count "," last-counted
    identity       = count "," last-counted "," first-counted
    correspondence = last-written
"""

from __future__ import annotations

import hashlib
import hmac
import re
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton  # arithmetic on addresses, no I/O
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from greyd.clock import EARLIEST_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.settings import Settings

HOUR = 3600
DAY = 86400

COUNT_EVERY = HOUR
"""Seconds in which a client's success counts once (postgrey's behaviour)."""

CLOCK_SKEW = 5
"""Seconds that the clocks of servers on one store may be apart without deciding differently."""

_MAPPED = 0xFFFF
"""``::ffff:0:0/96``: IPv4-mapped addresses (RFC 4291, 2.5.5.2)."""
_NAT64 = 0x64FF9B << 64
"""``64:ff9b::/96``: IPv4 hosts behind a translator (RFC 6052, 2.1)."""
_LOCAL_NAT64 = 0x64FF9B0001
"""``64:ff9b:1::/48``: the same; where in an address the IPv4 address is, only its site knows
(RFC 8215, 3; RFC 6052, 2.2).
"""
_TEREDO = 0x20010000
"""``2001::/32``: hosts behind a NAT, after the address of their server (RFC 4380, 4)."""

_NOT_TRANSLATED = (
    (0x00000000, 8), (0x0A000000, 8), (0x64400000, 10), (0x7F000000, 8), (0xA9FE0000, 16),
    (0xAC100000, 12), (0xC0A80000, 16), (0xE0000000, 3),
)  # fmt: skip
"""IPv4 networks of which no translator may speak (RFC 6052, 3.1), as numbers and prefixes: this
host, private, shared, loopback, link-local, multicast and reserved ones. So nobody becomes a client
of a private network by the form of an address.
"""

_COLON = ord(":")


class Address(NamedTuple):
    """A client's IP address.

    An IPv6 address that only writes down an IPv4 client (see ``ipv4_within``) is IPv4.
    """

    number: int
    bits: int
    """32 or 128."""
    text: bytes
    """The canonical form (RFC 5952)."""

    @property
    def packed(self) -> bytes:
        """Its octets, as they are sent."""
        return self.number.to_bytes(self.bits // 8, "big")


def parse_address(text: bytes) -> Address | None:
    """Read an IPv4 or IPv6 address; None for anything else, a host name too."""
    try:
        if _COLON not in text:
            number = int.from_bytes(inet_pton(AF_INET, text.decode("ascii")), "big")
            return Address(number, 32, text)
        number = int.from_bytes(inet_pton(AF_INET6, text.decode("ascii")), "big")
    except (OSError, ValueError):
        return None
    ipv4 = ipv4_within(number)
    if ipv4 is not None:
        return Address(ipv4, 32, address_text(ipv4, 32))
    return Address(number, 128, address_text(number, 128))


def ipv4_within(number: int) -> int | None:
    """Return the IPv4 client that an IPv6 address writes down, as numbers; None where it does not.

    IPv4-mapped addresses, and those of NAT64's well-known prefix. Those of tunnels (6to4, Teredo)
    are of IPv6 hosts.
    """
    prefix, ipv4 = number >> 32, number & 0xFFFFFFFF
    if prefix == _MAPPED:
        return ipv4
    if prefix == _NAT64 and not any(
        ipv4 >> (32 - length) == network >> (32 - length) for network, length in _NOT_TRANSLATED
    ):
        return ipv4
    return None


def network_of(address: Address, settings: Settings) -> int:
    """Return the network that stands for the client in a triplet, as a number like an address's.

    Postgrey's ``--ipv4cidr`` and ``--ipv6cidr``; with ``--lookup-by-host`` the address itself.
    """
    if settings.lookup_by_host:
        return address.number
    free = address.bits - network_prefix(address.number, address.bits, settings)
    return address.number >> free << free


def network_prefix(number: int, bits: int, settings: Settings) -> int:
    """Return how many bits of an address are those of its client's network.

    ``--ipv4cidr`` and ``--ipv6cidr``, or more where IPv6 hosts that have nothing to do with each
    other share so many: those behind a translator are told apart by their IPv4 networks, and those
    of Teredo by everything.
    """
    if bits == 32:
        return settings.ipv4cidr
    if number >> 96 == _TEREDO:
        return bits
    if number >> 32 == _NAT64 or number >> 80 == _LOCAL_NAT64:
        return max(settings.ipv6cidr, 96 + settings.ipv4cidr)
    return settings.ipv6cidr


def address_text(number: int, bits: int) -> bytes:
    """Return the canonical form of an address or a network, given as its number."""
    packed = number.to_bytes(bits // 8, "big")
    return inet_ntop(AF_INET if bits == 32 else AF_INET6, packed).encode()


# Senders ----------------------------------------------------------------------------------------

_BATV = re.compile(rb"prvs=([^=]*)=([^=]+)")
_BATV_TAG = re.compile(rb"[0-9a-z]{10}")
_LONE_NUMBER = re.compile(rb"\b[0-9]+\b")


def normalise_sender(sender: bytes) -> bytes:
    """Return the sender without what changes from mail to mail (postgrey's behaviour).

    Only where there is an ``@``, and only in the local part: a BATV tag goes, an extension from
    the first ``+`` goes, and a run of digits between word boundaries becomes ``#``.
    """
    local, at, domain = sender.partition(b"@")
    if not at:
        return sender
    if local.startswith(b"prvs="):
        local = _without_batv_tag(local)
    local = local.partition(b"+")[0]
    return _LONE_NUMBER.sub(b"#", local) + at + domain


def _without_batv_tag(local: bytes) -> bytes:
    batv = _BATV.fullmatch(local)
    if batv is None:
        return local
    left, right = batv.groups()
    # Both orders are in use; where the tag can't be told from the name, the tag came first.
    tag_is_right = _BATV_TAG.match(right) and not _BATV_TAG.match(left)
    return left if tag_is_right else right


# Domains ----------------------------------------------------------------------------------------


def is_or_is_below(name: bytes, domain: bytes) -> bool:
    """Whether a name is a domain, or a name below it; both in lower case."""
    return name == domain or name.endswith(b"." + domain)


# Keys -------------------------------------------------------------------------------------------


class Keys(NamedTuple):
    """Where a request's triplet and its client are remembered.

    Those of the identity and of the correspondence are empty where they do not matter.
    """

    triplet: bytes
    client: bytes
    identity_triplet: bytes = b""
    identity: bytes = b""
    correspondence: bytes = b""


def keys(
    address: Address,
    sender: bytes,
    recipient: bytes,
    settings: Settings,
    evidence: Evidence | None = None,
) -> Keys:
    """Return the keys for a request's client, envelope sender and recipient."""
    normal = normalise_sender(sender)
    here = keys_of_normal(address, normal, recipient, settings)
    if evidence is None or not evidence.identity:
        return here
    correspondence = b""
    if evidence.speaks_for_sender and settings.learn_outbound:
        correspondence = correspondence_key(sender, recipient, settings)
    return Keys(
        *here[:2], *_identity_keys(evidence.identity, normal, recipient, settings), correspondence
    )


def keys_of_normal(address: Address, sender: bytes, recipient: bytes, settings: Settings) -> Keys:
    """Return the keys for a client, a sender that is normalised already, and a recipient.

    Normalising twice is not the same as once.
    """
    network = network_of(address, settings)
    if settings.privacy:
        return _private_keys(address, network, sender, recipient, settings)
    tag = address_text(network, address.bits)
    triplet = b"{%b}/%b/%b" % (tag, _unambiguous(sender), recipient)
    return Keys(triplet.lower(), b"{%b}:%b" % (tag, address.text))


def wanted(keys: Keys, settings: Settings) -> Sequence[bytes]:
    """Return the keys whose records ``decide`` wants, in their order."""
    if keys.identity:
        return keys if keys.correspondence else keys[:4]
    return keys[:2] if settings.auto_whitelist_clients else keys[:1]


def _identity_keys(
    domain: bytes, sender: bytes, recipient: bytes, settings: Settings
) -> tuple[bytes, bytes]:
    triplet = (b"{%b}/%b/%b" % (domain, _unambiguous(sender), recipient)).lower()
    domain = domain.lower()
    keys = triplet, b"{%b}:%b" % (domain, domain)
    return (hidden(keys[0], settings), hidden(keys[1], settings)) if settings.privacy else keys


def hidden(key: bytes, settings: Settings) -> bytes:
    """Return what stands for the key of an identity or of its triplet with ``--privacy``."""
    digest = _digest(settings.privacy_key)
    return b"/" + digest(key) if is_triplet(key) else b":" + digest(key.partition(b"}:")[2])


def correspondence_key(correspondent: bytes, user: bytes, settings: Settings) -> bytes:
    """Return where it is remembered that one of our users has written to somebody elsewhere."""
    both = (correspondent + b"\0" + user).lower()
    hashed = hmac.digest(settings.privacy_key or b"", both, "sha256").hex().encode()
    if settings.privacy:
        return b"~" + hashed
    return b"{%b}~%b" % (correspondent.rpartition(b"@")[2].lower(), hashed)


class Names(NamedTuple):
    """Whom a triplet is about, as its key tells."""

    network: bytes
    sender: bytes
    recipient: bytes


def is_triplet(key: bytes) -> bool:
    """Whether a key is a triplet's; else it is a client's, or something of the store's own."""
    return key.startswith(b"/") or b"}/" in key


def is_of_identity(key: bytes) -> bool:
    """Whether a key's tag is a domain, not a network; a hash does not tell."""
    tag, brace, _ = key.partition(b"}")
    return bool(brace) and parse_address(tag.removeprefix(b"{")) is None


def names_in(key: bytes) -> Names | None:
    """Return whom a triplet's key is about; None for a hash, which tells nobody."""
    network, brace, names = key.partition(b"}/")
    sender, slash, recipient = names.partition(b"/")
    if not (network.startswith(b"{") and brace and slash):
        return None
    sender = sender.replace(b"%2f", b"/").replace(b"%25", b"%")
    return Names(network[1:], sender, recipient)


def _unambiguous(sender: bytes) -> bytes:
    return sender.replace(b"%", b"%25").replace(b"/", b"%2f")


def _private_keys(
    address: Address, network: int, sender: bytes, recipient: bytes, settings: Settings
) -> Keys:
    # The hashed text is postgrey's to the letter, so that its private databases can be taken over.
    place = _postgrey_text(network, address.bits)
    if settings.lookup_by_host:
        place += b"/%d" % address.bits
    if settings.privacy_key is not None:
        sender = _unambiguous(sender)
    triplet = b"%b/%b/%b" % (place, sender, recipient)
    digest = _digest(settings.privacy_key)
    return Keys(
        b"/" + digest(triplet.lower()),
        b":" + digest(_postgrey_text(address.number, address.bits).upper()),
    )


def _digest(secret: bytes | None) -> Callable[[bytes], bytes]:
    if secret is None:
        return lambda text: hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()
    return lambda text: hmac.digest(secret, text, "sha256").hex().encode()


def _postgrey_text(number: int, bits: int) -> bytes:
    """Return an address as postgrey writes it: IPv6 as eight groups, none left out."""
    if bits == 32:
        return address_text(number, bits)
    return b":".join(b"%x" % (number >> shift & 0xFFFF) for shift in range(112, -1, -16))


# Records ----------------------------------------------------------------------------------------


class Triplet(NamedTuple):
    """What is remembered of a triplet."""

    first_seen: int
    last_seen: int
    passed_at: int | None = None

    def dump(self) -> bytes:
        """Return the record's text."""
        if self.passed_at is not None:
            return b"%d,%d,%d" % (self.first_seen, self.last_seen, self.passed_at)
        if self.last_seen != self.first_seen:
            return b"%d,%d" % self[:2]
        return b"%d" % self.first_seen

    @classmethod
    def load(cls, text: bytes) -> Triplet | None:
        """Read a record; None for one that can't be read."""
        numbers = _numbers(text)
        if not numbers:
            return None
        first = numbers[0]
        last = numbers[1] if len(numbers) > 1 else first
        return cls(first, last, numbers[2] if len(numbers) > 2 else None)


class Client(NamedTuple):
    """What is remembered of a client: how often it came back as it should."""

    successes: int
    last_counted: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d" % self

    @classmethod
    def load(cls, text: bytes) -> Client | None:
        """Read a record; None for one that can't be read."""
        numbers = _numbers(text)
        return cls(numbers[0], numbers[1]) if len(numbers) > 1 else None

    def once_more(self, now: int) -> Client:
        """Return it with one success more."""
        return Client(self.successes + 1, now)


class Identity(NamedTuple):
    """What is remembered of an identity: how often it came back, and over which time."""

    successes: int
    last_counted: int
    first_counted: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d,%d" % self

    @classmethod
    def load(cls, text: bytes) -> Identity | None:
        """Read a record; None for one that can't be read."""
        numbers = _numbers(text)
        return cls(*numbers[:3]) if len(numbers) > 2 else None

    def once_more(self, now: int) -> Identity:
        """Return it with one success more; one without any begins now."""
        return Identity(self.successes + 1, now, self.first_counted if self.successes else now)

    def has_earned_its_pass(self, settings: Settings) -> bool:
        """Whether it has kept its word often enough, and over days."""
        days = self.last_counted - self.first_counted
        return (
            0 < settings.auto_whitelist_identities <= self.successes
            and days >= settings.identity_age_seconds
        )


_Record = TypeVar("_Record", Triplet, Client, Identity)
_Counted = TypeVar("_Counted", Client, Identity)

# A number of more digits is none: cut off it would be another one.
_NUMBERS = re.compile(rb"-?[0-9]{1,15}(?:,-?[0-9]{1,15})*(?!,?-?[0-9])")


def _numbers(text: bytes) -> list[int]:
    """Return the leading numbers of a record; what a newer version has added is left out."""
    numbers = _NUMBERS.match(text)
    return [int(number) for number in numbers[0].split(b",")] if numbers else []


# Decisions --------------------------------------------------------------------------------------


class Evidence(NamedTuple):
    """What is known of who asks beside the request's triplet: by DNS, and by what Postfix knows."""

    identity: bytes = b""
    """The domain that this client verifiably sends for; empty where none is known."""
    way: str = ""
    """How that is known: ``spf`` or ``name``."""
    speaks_for_sender: bool = False
    """The identity is that of the envelope sender."""
    signals: tuple[str, ...] = ()
    """Marks of spamware that it shows."""
    listed: bool = False
    """It stands on a DNS blocklist."""
    unsure: bool = False
    """Some of it could not be found out in time."""
    delay_seconds: int | None = None
    """Of the list that it stands on, where the list has a delay of its own."""
    exemption: str = ""
    """Why it passes whatever else is known; empty where nothing says so."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing speaks against it, for sure."""
        return not (self.signals or self.listed or self.unsure)


NO_EVIDENCE = Evidence()


def delay_for(evidence: Evidence, settings: Settings) -> int:
    """Return the seconds that an unknown triplet waits: clean, unsure, suspicious, or listed."""
    if evidence.delay_seconds is not None:
        return evidence.delay_seconds
    if not settings.delays:
        return settings.delay_seconds
    clean, unsure, suspicious, listed = settings.delays
    if evidence.listed:
        return listed
    if evidence.signals:
        return suspicious
    return unsure if evidence.unsure else clean


class Change(NamedTuple):
    """One record to be stored under ``key`` for ``ttl_seconds`` from the moment of writing."""

    key: bytes
    value: bytes
    ttl_seconds: int


class Decision(NamedTuple):
    """What is to be done with a request, and why."""

    passes: bool
    reason: str
    """``triplet found``, ``client AWL``, ``new``, ``early-retry``, …; a metric's label."""
    waited_seconds: int = 0
    """Since the triplet's first sight."""
    missing_seconds: int = 0
    """Still to wait."""
    first_pass: bool = False
    """The triplet had not passed before: the mail carries the header, and the client counts."""
    whitelisted: bool = False
    """The client is auto-whitelisted from now on."""
    identity_whitelisted: bool = False
    """The identity is."""


def decide(
    keys: Keys,
    remembered: Sequence[bytes | None],
    now: int,
    settings: Settings,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Decision, tuple[Change, ...]]:
    """Decide on a request: as postgrey does, and the identity's memory can only let more pass.

    Args:
        keys: the request's keys.
        remembered: the records under them, in their order; those at the end may be missing where
            auto-whitelisting is off or no identity is known.
        now: the time.
        settings: delay, retry window, max-age and the auto-whitelists' thresholds.
        evidence: what else is known of the client; it sets the delay.

    Returns:
        The decision, and what is to be stored if nothing that it rests on has changed.
    """
    client = identity = None
    if settings.auto_whitelist_clients:
        client = _recall(Client, remembered[1], now, settings)
    if keys.identity:
        identity = _recall(Identity, remembered[3], now, settings)
    if (client or keys.identity) and not evidence.listed:
        corresponds = bool(keys.correspondence and remembered[4])
        if at_once := _pass_at_once(keys, client, identity, corresponds, now, settings):
            return at_once
    delay = delay_for(evidence, settings)
    sights: tuple[_Sight, ...] = (_see(keys.triplet, remembered[0], now, delay, settings),)
    if keys.identity:
        sights += (_see(keys.identity_triplet, remembered[2], now, delay, settings),)
    changes = [sight.change for sight in sights]
    if evidence.listed and identity is not None and identity.successes:
        # It has to earn its pass anew.
        identity = None
        changes.append(_remember(keys.identity, Identity(0, now, now), settings))
    best = max(sights, key=_by_merit) if keys.identity else sights[0]
    waited = best.waited
    if not best.passes:
        reason = "early-retry" if waited else "new"
        return Decision(False, reason, waited, delay - waited), tuple(changes)
    first_pass = True not in [sight.passed_before for sight in sights]
    decision = Decision(True, "triplet found", waited, first_pass=first_pass)
    # The client counts as if there were no identities: else those known by one would starve it.
    client_counts = settings.auto_whitelist_clients and (first_pass or sights[0].passes_first)
    if client_counts and (client := _counted(client, Client(1, now), now)):
        changes.append(_remember(keys.client, client, settings))
        whitelisted = client.successes == settings.auto_whitelist_clients
        decision = decision._replace(whitelisted=whitelisted)
    identity_counts = keys.identity and sights[1].passes_first and not evidence.listed
    if identity_counts and (identity := _counted(identity, Identity(1, now, now), now)):
        changes.append(_remember(keys.identity, identity, settings))
        decision = decision._replace(identity_whitelisted=identity.has_earned_its_pass(settings))
    return decision, tuple(changes)


def decide_with_unset_clock(
    keys: Keys,
    remembered: Sequence[bytes | None],
    now: int,
    settings: Settings,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Decision, tuple[Change, ...]]:
    """Decide as ``decide`` does while the clock tells a time before ``EARLIEST_TIME``.

    Whoever is known passes, and keeps the record that it has until the clock is set: compared with
    such a time it would be taken for one that a wrong clock has written.
    """
    if _is_known(keys, remembered, settings):
        return Decision(passes=True, reason="triplet found"), ()
    return decide(keys, remembered, now, settings, evidence)


def _is_known(keys: Keys, remembered: Sequence[bytes | None], settings: Settings) -> bool:
    """Whether a triplet has passed or a client is auto-whitelisted, by a clock that was set."""
    texts = (remembered[0], remembered[2] if keys.identity else None)
    triplets = [Triplet.load(text) for text in texts if text is not None]
    if any(
        triplet.last_seen >= EARLIEST_TIME and has_passed(triplet, settings.delay_seconds, settings)
        for triplet in triplets
        if triplet is not None
    ):
        return True
    text = remembered[1] if settings.auto_whitelist_clients else None
    client = None if text is None else Client.load(text)
    return (
        client is not None
        and client.last_counted >= EARLIEST_TIME
        and client.successes >= settings.auto_whitelist_clients
    )


def _pass_at_once(
    keys: Keys,
    client: Client | None,
    identity: Identity | None,
    corresponds: bool,
    now: int,
    settings: Settings,
) -> tuple[Decision, tuple[Change, ...]] | None:
    """Let pass who has earned it, or is awaited; None for all others."""
    if client is not None and client.successes >= settings.auto_whitelist_clients:
        decision = Decision(passes=True, reason="client AWL")
        return decision, _seen_again(keys.client, client, now, settings)
    if identity is not None and identity.has_earned_its_pass(settings):
        decision = Decision(passes=True, reason="identity AWL")
        return decision, _seen_again(keys.identity, identity, now, settings)
    if corresponds:
        return Decision(passes=True, reason="correspondent"), ()
    return None


def _seen_again(
    key: bytes, record: Client | Identity, now: int, settings: Settings
) -> tuple[Change, ...]:
    """Count who passes by what it has earned, once in ``COUNT_EVERY``: so it is not forgotten."""
    if 0 <= now - record.last_counted < COUNT_EVERY:
        return ()
    return (_remember(key, record.once_more(now), settings),)


def _counted(record: _Counted | None, first: _Counted, now: int) -> _Counted | None:
    """Return a record with a success more; None within ``COUNT_EVERY`` of the one before."""
    if record is None:
        return first
    return record.once_more(now) if now - record.last_counted >= COUNT_EVERY else None


class _Sight(NamedTuple):
    """What the history of one triplet says."""

    passes: bool
    passed_before: bool
    waited: int
    change: Change

    @property
    def passes_first(self) -> bool:
        return self.passes and not self.passed_before


def _by_merit(sight: _Sight) -> tuple[bool, int]:
    return sight.passes, sight.waited


def _see(key: bytes, text: bytes | None, now: int, delay: int, settings: Settings) -> _Sight:
    """Look at a triplet's history, and see it now."""
    before = _recall(Triplet, text, now, settings)
    if before is not None and before.passed_at is not None:
        now = _not_behind(before.last_seen, now)
    passed_before, first_seen = _history(before, now, delay, settings)
    waited = now - first_seen
    # Where the delay depends on the request, a longer one does not take back what has passed.
    passes = waited >= delay or (passed_before and settings.delay_varies)
    passed_at = None
    if passes:
        passed_at = before.passed_at if before and passed_before else now
    triplet = Triplet(first_seen, now, passed_at)
    seconds = settings.max_age_seconds if passes else settings.retry_window_seconds
    return _Sight(passes, passed_before, waited, Change(key, triplet.dump(), _ttl(seconds)))


def _history(before: Triplet | None, now: int, delay: int, settings: Settings) -> tuple[bool, int]:
    """Whether the triplet has passed before, and since when it is waiting."""
    if before is None:
        return False, now
    passed_before = has_passed(before, delay, settings)
    if not passed_before and now - before.first_seen > settings.retry_window_seconds:
        return False, now
    # Somebody has set the clock back: nobody is to wait for that.
    return passed_before, min(before.first_seen, now)


def has_passed(triplet: Triplet, delay: int, settings: Settings) -> bool:
    """Whether a triplet has passed, as far as its record tells.

    With one delay for all it has if it was seen for so long (postgrey's behaviour). Where delays
    differ, nobody knows which was meant: it says so itself, or was seen for the longest of them.
    """
    seen_for = triplet.last_seen - triplet.first_seen
    if not settings.delay_varies:
        return seen_for >= delay
    return triplet.passed_at is not None or seen_for >= settings.longest_delay_seconds


def release(key: bytes, text: bytes | None, now: int, settings: Settings) -> tuple[Change, ...]:
    """Return what lets a waiting triplet pass at its next sight, whatever delay it then has.

    It is as if it had been seen first so long ago, by any server's clock.
    """
    triplet = None if text is None else Triplet.load(text)
    if triplet is None or has_passed(triplet, settings.delay_seconds, settings):
        return ()
    first_seen = now - settings.longest_delay_seconds - CLOCK_SKEW
    if triplet.first_seen <= first_seen:
        return ()
    # It has not passed yet: that is for its sender to do.
    last_seen = min(triplet.last_seen, now - CLOCK_SKEW - 1)
    released = Triplet(first_seen, max(first_seen, last_seen), triplet.passed_at)
    return (Change(key, released.dump(), _ttl(settings.retry_window_seconds)),)


def note_correspondence(key: bytes, now: int, settings: Settings) -> Change:
    """Return what remembers that a user has written to somebody."""
    return Change(key, b"%d" % now, _ttl(settings.max_age_seconds))


def _not_behind(seen: int, now: int) -> int:
    """Return the time, or that of the last sight where another server's clock is a little ahead.

    Else a triplet that has just passed there would be too early here, and pass twice.
    """
    return seen if 0 < seen - now <= CLOCK_SKEW else now


def _recall(
    kind: type[_Record], text: bytes | None, now: int, settings: Settings
) -> _Record | None:
    """Read a record; None where its last use is longer ago than max-age.

    One as far ahead, written while a clock was wrong, is no better.
    """
    record = None if text is None else kind.load(text)
    if record is None or abs(now - record[1]) > settings.max_age_seconds:
        return None
    return record


def _remember(key: bytes, record: Client | Identity, settings: Settings) -> Change:
    return Change(key, record.dump(), _ttl(settings.max_age_seconds))


def _ttl(seconds: int) -> int:
    # The rules look at the times themselves; the hour keeps a clock's fault from deciding for them.
    return max(seconds, 0) + HOUR
