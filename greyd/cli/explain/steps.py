"""The steps of a decision, told in words: what was compared to what, up to the one that decides.

Which one decides, and the verdict, is the policy's (``greyd.policy.dry_run``); this only tells of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from greyd.config.durations import format_duration
from greyd.config.vocabulary import DELAYS
from greyd.escaping import printable
from greyd.redaction import excerpt
from greyd.rules.address import address_text, network_of, network_prefix, parse_address
from greyd.rules.evidence import delay_for
from greyd.rules.greylist import decide, has_passed
from greyd.rules.keys import keys_to_read, normalise_sender, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.records import Client, Identity, Triplet
from greyd.terminal import format_timestamp
from greyd.whitelist.near_misses.reasons import ClientNames
from greyd.whitelist.near_misses.search import near_misses_for_client, near_misses_for_recipient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.dry_run import DryRun
    from greyd.rules.address import Address
    from greyd.rules.keys import Keys
    from greyd.rules.request import Request
    from greyd.whitelist.entries import WhitelistEntry, WhitelistFile
    from greyd.whitelist.files import WhitelistFiles
    from greyd.whitelist.matcher import Whitelists
    from greyd.whitelist.near_misses.reasons import NearMiss


class Name(NamedTuple):
    """What DNS says of an address's name."""

    confirmed: bytes
    """The one that leads back to the address; empty where none does."""
    names: tuple[bytes, ...]
    """All that it has."""


@dataclass(frozen=True)
class Case:
    """A request, and all that is known of it."""

    request: Request
    settings: Settings
    lists: WhitelistFiles
    whitelists: Whitelists
    inquiry: DryRun
    name: Name | None
    """What DNS says now, where Postfix knew no name."""
    asked: Sequence[str]
    """Of DNS, by the witness; with the answers."""
    is_open: bool = False
    """The store can't be opened here, and the answer depends on it."""

    @property
    def reason(self) -> Reason | None:
        """The policy's; None where it does not answer."""
        return self.inquiry.reason

    @property
    def address(self) -> Address | None:
        """The client's."""
        return parse_address(self.request.client_address or b"")

    @property
    def keys(self) -> Keys | None:
        """Those that the request is remembered under."""
        request, address = self.request, self.address
        if address is None:
            return None
        return request_keys(
            address,
            request.sender or b"",
            request.recipient or b"",
            self.settings,
            self.inquiry.evidence,
        )

    def value(self, key: bytes) -> bytes | None:
        """Return what is stored under a key."""
        record = self.inquiry.records.get(key)
        return record.value if record else None


@dataclass
class Step:
    """One step."""

    name: str
    text: str
    details: Sequence[str] = ()
    match: WhitelistEntry | None = None
    """The entry of a whitelist that matches."""
    near: Sequence[NearMiss] = ()
    """Those that nearly do."""
    decides: bool = False

    def lines(self) -> Iterator[str]:
        """Yield what is to be shown beneath the text."""
        yield from self.details
        for file, line, text, why in self.near:
            yield f'near: {file}:{line}: "{_entry(text)}" {why}'

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        match = self.match and {
            "file": self.match.file, "line": self.match.line, "entry": _entry(self.match.text)
        }  # fmt: skip
        near = [
            {"file": file, "line": line, "entry": _entry(text), "why": why}
            for file, line, text, why in self.near
        ]
        return {
            "step": self.name,
            "decides": self.decides,
            "text": self.text,
            "details": list(self.details),
            "match": match,
            "near": near,
        }


def steps(case: Case) -> list[Step]:
    """Return the steps up to the one that decides, in the order in which the policy takes them."""
    deciding = "request" if case.reason is None else DECIDING_STEPS[case.reason]
    told = []
    for kind in _STEPS:
        if (step := kind.describe(case)) is not None:
            told.append(step)
            if case.is_open and kind.name == "memory":
                break
            if kind.name == deciding:
                step.decides = True
                break
    return told


# Before the store is asked ------------------------------------------------------------------------


def _request(case: Case) -> Step:
    request = case.request
    if request.request != b"smtpd_access_policy":
        kind = printable(request.request or b"(none)")
        return Step("request", f"request={kind} is none that is answered (smtpd_access_policy is)")
    if case.reason is Reason.OUTBOUND:
        return Step("request", "mail of one of our users, from which is learned; it passes")
    missing = [name for name in _NEEDED if getattr(request, name) is None]
    if missing:
        return Step("request", f"without {', '.join(missing)} nothing can be decided")
    client = f"{printable(request.client_name or b'')}[{printable(request.client_address or b'')}]"
    sender, recipient = printable(request.sender or b""), printable(request.recipient or b"")
    return Step("request", f"from {client}, <{sender}> to <{recipient}>", _about_name(case))


_NEEDED = ("client_address", "client_name", "sender", "recipient")


def _about_name(case: Case) -> list[str]:
    """Return what is to be known of a client's name."""
    name, given = case.name, (case.request.client_name or b"").lower()
    address = printable(case.request.client_address or b"")
    if name is None:
        unknown = "Postfix could not confirm a name (unknown): only its address can match"
        return [unknown] if given == b"unknown" else []
    names = ", ".join(printable(each) for each in name.names)
    if name.confirmed and given == b"unknown":
        return [
            f"unknown when the mail came, so only its address can match; DNS confirms it now as"
            f" {printable(name.confirmed)}"
        ]
    if name.confirmed:
        return ["the name is DNS's, looked up as Postfix does; its log has what Postfix found"]
    if not names:
        return [f"unknown: {address} has no name in DNS (PTR), so only the address can match"]
    return [
        f"unknown: {address} is called {names} in DNS, and that name does not lead back to it, so"
        " only the address can match"
    ]


def _authenticated(case: Case) -> Step:
    user = case.request.sasl_username
    return Step(
        "authenticated", f"has logged in as {printable(user)}" if user else "no (no sasl_username)"
    )


def _client_whitelist(case: Case) -> Step:
    request, address = case.request, case.address
    name = request.client_name or b""
    if entry := case.whitelists.match_client(name, address):
        return Step("client whitelist", _matched(entry), match=entry)
    what = printable(name) + (f" and {printable(address.text)}" if address else "")
    names = case.name.names if case.name else ()
    reverse = (request.reverse_client_name or b"").lower()
    others = tuple({*names, reverse} - {b"", b"unknown", name.lower()})
    seen = ClientNames(name, address, others, request.helo_name or b"", request.sender or b"")
    return Step(
        "client whitelist",
        _unmatched(case.lists.clients, len(case.whitelists.clients), what),
        near=near_misses_for_client(case.lists.clients, case.lists.recipients, seen),
    )


def _recipient_whitelist(case: Case) -> Step:
    recipient, sender = case.request.recipient or b"", case.request.sender or b""
    if entry := case.whitelists.match_recipient(recipient):
        return Step("recipient whitelist", _matched(entry), match=entry)
    return Step(
        "recipient whitelist",
        _unmatched(case.lists.recipients, len(case.whitelists.recipients), printable(recipient)),
        near=near_misses_for_recipient(
            case.lists.recipients, case.lists.clients, recipient, sender
        ),
    )


def _entry(text: bytes) -> str:
    return excerpt(text[:200].decode(errors="backslashreplace"))


def _matched(entry: WhitelistEntry) -> str:
    return f'{entry.file}:{entry.line}: "{_entry(entry.text)}" matches'


def _unmatched(sources: Sequence[WhitelistFile], number: int, what: str) -> str:
    files = ", ".join(source.file for source in sources) or "no file"
    return f"none of {number} entries in {files} matches {what}"


def _mode(case: Case) -> Step:
    told = case.inquiry.control.mode
    mode = case.inquiry.mode
    if told is None or not told.holds(case.inquiry.now):
        return Step("mode", f"{mode}, as it is set (--mode)")
    until = f" until {format_timestamp(told.until)}" if told.until else ""
    return Step("mode", f"{mode}{until}, by {told.by} at {format_timestamp(told.at)} (greyd mode)")


def _expected(case: Case) -> Step:
    now = case.inquiry.now
    windows = [each for each in case.inquiry.control.windows if now < each.until]
    details = [
        f"{each.recipient} from {each.sender_domain or 'anybody'}"
        f" until {format_timestamp(each.until)}"
        for each in windows
    ]
    if case.reason is Reason.EXPECTED:
        return Step("expected", "the mail is awaited (greyd expect)", details)
    open_now = f"none of {len(windows)} windows is for this mail" if windows else "no window open"
    return Step("expected", f"no: {open_now} (greyd expect)", details)


def _client_address(case: Case) -> Step | None:
    if case.address is not None:
        return None
    return Step("client address", "no IP address, by which greylisting remembers; it passes")


# Who asks -----------------------------------------------------------------------------------------


def _evidence(case: Case) -> Step | None:
    inquiry = case.inquiry
    if not inquiry.evidence_collected:
        return None
    evidence = inquiry.evidence
    said = []
    if evidence.identity:
        own = ", which is the sender's domain" if evidence.speaks_for_sender else ""
        said.append(f"sends for {printable(evidence.identity)}{own} (by {evidence.way})")
    elif case.settings.identity:
        said.append("nobody whom it verifiably sends for")
    if evidence.signals:
        said.append(f"signals: {', '.join(evidence.signals)}")
    if evidence.listed:
        said.append("listed")
    if evidence.exemption:
        said.append(f"passes: {evidence.exemption}")
    if evidence.unsure:
        said.append("unsure: not all could be found out in time")
    elif case.reason is Reason.NOT_SUSPICIOUS:
        said.append("nothing speaks against it, and only the suspicious are greylisted")
    return Step("evidence", "; ".join(said) or "nothing is known of it", list(case.asked))


# What is remembered -------------------------------------------------------------------------------


def _memory(case: Case) -> Step | None:
    keys = case.keys
    if keys is None:
        return None
    if case.inquiry.store_error:
        return Step(
            "memory", f"the store can't be asked: {case.inquiry.store_error}", _about_keys(case)
        )
    records = [
        *_about_triplet(case, "triplet", keys.triplet),
        *_about_client(case, keys.client),
        *_about_triplet(case, "identity's triplet", keys.identity_triplet),
        *_about_identity(case, keys.identity),
        *_about_correspondence(case, keys.correspondence),
    ]
    return Step("memory", records[0], [*records[1:], *_about_keys(case)])


def _about_keys(case: Case) -> list[str]:
    """Return what the triplet is remembered under, and what was left out of it."""
    address, sender, settings = case.address, case.request.sender or b"", case.settings
    said = []
    if address is not None and not settings.lookup_by_host:
        prefix = network_prefix(address.number, address.bits, settings)
        network = address._replace(number=network_of(address, settings))
        text = printable(address_text(network.number, network.bits))
        said.append(f"the client counts by its network, {text}/{prefix}")
    normal = normalise_sender(sender)
    if normal != sender:
        said.append(
            f"the sender counts as {printable(normal)}: {', '.join(_left_out(sender, normal))}"
        )
    if settings.privacy:
        said.append("keys are hashes (--privacy)")
    return said


def _left_out(sender: bytes, normal: bytes) -> Iterator[str]:
    local, left = sender.partition(b"@")[0], normal.partition(b"@")[0]
    if local.startswith(b"prvs=") and not left.startswith(b"prvs="):
        yield "without the tag of BATV"
    if b"+" in local:
        yield "without what stands after +"
    if b"#" in left and b"#" not in local:
        yield "with # for each number"


def _ago(when: int, now: int) -> str:
    return f"{format_timestamp(when)} ({format_duration(now - when)} ago)"


def _is_old(seen: int, case: Case) -> bool:
    return abs(case.inquiry.now - seen) > case.settings.max_age_seconds


def _about_triplet(case: Case, what: str, key: bytes) -> Iterator[str]:
    if not key:
        return
    now, settings = case.inquiry.now, case.settings
    value = case.value(key)
    triplet = Triplet.load(value) if value is not None else None
    if triplet is None:
        yield f"{what}: never seen"
        return
    seen = (
        f"{what}: first seen {_ago(triplet.first_seen, now)}, last {_ago(triplet.last_seen, now)}"
    )
    delay = delay_for(case.inquiry.evidence, settings)
    if _is_old(triplet.last_seen, case):
        yield f"{seen}: too long ago (--max-age), so it is new"
    elif has_passed(triplet, delay, settings):
        passed = f" at {format_timestamp(triplet.passed_at)}" if triplet.passed_at else ""
        yield f"{seen}; it has passed{passed}"
    elif now - triplet.first_seen > settings.retry_window_seconds:
        yield f"{seen}; it has not passed, and that is too long ago (--retry-window): it is new"
    else:
        yield f"{seen}; it has not passed yet"


def _about_client(case: Case, key: bytes) -> Iterator[str]:
    most = case.settings.auto_whitelist_clients
    if not most:
        yield "client: auto-whitelisting is off"
        return
    value = case.value(key)
    client = Client.load(value) if value is not None else None
    if client is None or _is_old(client.last_counted, case):
        yield f"client: has come back 0 of {most} times"
        return
    last = _ago(client.last_counted, case.inquiry.now)
    is_known = "; auto-whitelisted" if client.successes >= most else ""
    yield f"client: has come back {client.successes} of {most} times, last {last}{is_known}"


def _about_identity(case: Case, key: bytes) -> Iterator[str]:
    settings = case.settings
    most = settings.auto_whitelist_identities
    if not key or not most:
        return
    value = case.value(key)
    identity = Identity.load(value) if value is not None else None
    if identity is None or _is_old(identity.last_counted, case):
        yield f"identity: has come back 0 of {most} times"
        return
    over = format_duration(identity.last_counted - identity.first_counted)
    wanted = format_duration(settings.identity_age_seconds)
    is_known = "; auto-whitelisted" if identity.has_earned_its_pass(settings) else ""
    yield (
        f"identity: has come back {identity.successes} of {most} times over {over} of"
        f" {wanted}{is_known}"
    )


def _about_correspondence(case: Case, key: bytes) -> Iterator[str]:
    if key:
        known = "has been written to" if case.value(key) else "has not been written to"
        yield f"correspondence: the sender {known} by the recipient"


# The rule -----------------------------------------------------------------------------------------


def _rule(case: Case) -> Step:
    inquiry = case.inquiry
    details = [f"the delay is {_delay(case)}"]
    if inquiry.evidence.listed:
        details.append("it is listed, so what it has earned before does not count")
    reason = _reason_of_rule(case)
    if reason in _AT_ONCE:
        details = []
    describe = _RULES.get(reason) if reason else None
    text = describe(case) if describe else reason.text if reason else ""
    if case.reason is Reason.LEARNING:
        details.append("learning: it passes all the same")
    return Step("rule", text, details)


def _reason_of_rule(case: Case) -> Reason | None:
    """Return the rules' reason, which mode ``learn`` overrides."""
    if (decision := case.inquiry.decision) is None:
        return case.reason
    return decision.reason


def _waited(case: Case) -> str:
    decision = case.inquiry.decision
    return format_duration(decision.waited_seconds if decision else 0)


def _missing(case: Case) -> str:
    decision = case.inquiry.decision
    return format_duration(decision.missing_seconds if decision else 0)


_AT_ONCE = frozenset(
    {
        Reason.CLIENT_AWL,
        Reason.IDENTITY_AWL,
        Reason.CORRESPONDENT,
        Reason.PASSED_WITHOUT_STORE,
        Reason.DEFERRED_WITHOUT_STORE,
    }
)
"""Reasons for which the delay does not count."""

_RULES: Mapping[Reason, Callable[[Case], str]] = {
    Reason.CLIENT_AWL: lambda _: "the client is auto-whitelisted, and passes",
    Reason.IDENTITY_AWL: lambda _: "the identity is auto-whitelisted, and passes",
    Reason.CORRESPONDENT: lambda _: "it answers one of our users, and passes",
    Reason.TRIPLET_FOUND: lambda case: f"first seen {_waited(case)} ago, it has waited, and passes",
    Reason.EARLY_RETRY: lambda case: f"first seen {_waited(case)} ago: {_missing(case)} too early",
    Reason.NEW: lambda case: f"seen for the first time, it has to wait {_missing(case)}",
    Reason.PASSED_WITHOUT_STORE: lambda _: "without the store, mail passes",
    Reason.DEFERRED_WITHOUT_STORE: (
        lambda _: "without the store, mail is deferred (--on-store-failure)"
    ),
}


def _delay(case: Case) -> str:
    evidence, settings = case.inquiry.evidence, case.settings
    seconds = f"{delay_for(evidence, settings)} s"
    if evidence.delay_seconds is not None:
        return f"{seconds}, that of the list on which it stands"
    if not settings.delays:
        return f"{seconds} (--delay)"
    levels = (not evidence.is_clean, evidence.unsure, bool(evidence.signals), evidence.listed)
    level = 3 if levels[3] else 2 if levels[2] else 1 if levels[1] else 0
    return f"{seconds}, that of {DELAYS[level]} (--delay)"


def outlook(case: Case) -> tuple[int, int]:
    """Return from when until when a retry would pass, if this attempt was made now; 0 for now."""
    inquiry, settings, keys = case.inquiry, case.settings, case.keys
    decision = inquiry.decision
    if decision is None or decision.passes or case.reason is Reason.LEARNING or keys is None:
        return 0, 0
    after = {change.key: change.value for change in inquiry.changes}
    values = [after.get(key) or case.value(key) for key in keys_to_read(keys, settings)]
    passes_at = inquiry.now + decision.missing_seconds
    then, _ = decide(keys, values, passes_at, settings, inquiry.evidence)
    if not then.passes:
        return 0, 0
    return passes_at, inquiry.now - decision.waited_seconds + settings.retry_window_seconds


class _Kind(NamedTuple):
    """One of the steps that every request takes until one decides."""

    name: str
    describe: Callable[[Case], Step | None]
    """Returns what was found; None where the request does not take the step."""
    decides: frozenset[Reason] = frozenset()
    """The reasons that the policy gives at this step."""


_STEPS = (
    _Kind("request", _request, frozenset({Reason.MISSING_ATTRIBUTE, Reason.OUTBOUND})),
    _Kind("authenticated", _authenticated, frozenset({Reason.AUTHENTICATED})),
    _Kind("client whitelist", _client_whitelist, frozenset({Reason.CLIENT_WHITELIST})),
    _Kind("recipient whitelist", _recipient_whitelist, frozenset({Reason.RECIPIENT_WHITELIST})),
    _Kind("mode", _mode, frozenset({Reason.MODE_OFF})),
    _Kind("expected", _expected, frozenset({Reason.EXPECTED})),
    _Kind("client address", _client_address, frozenset({Reason.CLIENT_ADDRESS})),
    _Kind("evidence", _evidence, frozenset({Reason.DNS_WHITELIST, Reason.NOT_SUSPICIOUS})),
    _Kind("memory", _memory),
    _Kind("rule", _rule, frozenset({*_RULES, Reason.LEARNING, Reason.INTERNAL_ERROR})),
)
"""In the order of ``greyd.policy.policy``."""

DECIDING_STEPS = {reason: step.name for step in _STEPS for reason in step.decides}
"""The name of the step that decides, by the reason that the policy gives."""
