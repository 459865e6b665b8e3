"""Describes the step that reads the entries of triplet, client and sender from the store."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from greyd.cli.explain.step import ExplainedStep, entry_text
from greyd.config.durations import format_duration
from greyd.escaping import printable
from greyd.rules.address import address_text, network_of, network_prefix
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.correspondence.keys import CorrespondenceForm, answered_key
from greyd.rules.evidence import delay_for
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.triplets import has_passed
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.rules.correspondence.keys import CorrespondenceKey


def describe_memory(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the stored entries that affect the decision; None for an invalid client address."""
    keys = case.keys
    if keys is None:
        return None
    if case.dry_run.store_error:
        text = f"the store cannot be read: {case.dry_run.store_error}"
        return ExplainedStep("memory", text, list(_key_notes(case)))
    records = [
        *_triplet(case, "triplet", keys.triplet),
        *_client(case, keys.client),
        *chain.from_iterable(
            (*_triplet(case, "identity's triplet", each.triplet), *_identity(case, each.identity))
            for each in keys.identities
        ),
        *_correspondence(case, keys.correspondences),
    ]
    return ExplainedStep("memory", records[0], [*records[1:], *_key_notes(case)])


_WHOM = {
    CorrespondenceForm.ADDRESS: "the sender ({})",
    CorrespondenceForm.ORGANISATION: "somebody at {}",
    CorrespondenceForm.BOUNCE: "somebody whose mail {} handles, and this is a bounce",
}
"""Whom the recipient has written to, by the form of the key."""


def _key_notes(case: ExplainedRequest) -> Iterator[str]:
    """Yield a line for each difference between the keys and the request's attributes."""
    address, sender, settings = case.address, case.request.sender or b"", case.settings
    if address is not None and not settings.lookup_by_host:
        prefix = network_prefix(address.number, address.bits, settings)
        network = address._replace(number=network_of(address, settings))
        text = printable(address_text(network.number, network.bits))
        yield f"the client counts by its network, {text}/{prefix}"
    if case.applied and (group := case.applied.group):
        yield f"the client belongs to the sender group {group.name} ({group.where})"
    normal = normalise_sender(sender)
    if normal != sender:
        yield f"the sender counts as {printable(normal)}: {', '.join(_left_out(sender, normal))}"
    if settings.privacy:
        yield "keys are hashes (--privacy)"


def _left_out(sender: bytes, normal: bytes) -> Iterator[str]:
    local, left = sender.partition(b"@")[0], normal.partition(b"@")[0]
    if local.startswith(b"prvs=") and not left.startswith(b"prvs="):
        yield "without the BATV tag"
    if b"+" in local:
        yield "without the part after +"
    if b"#" in left and b"#" not in local:
        yield "with # for each number"


def _ago(when: int, now: int) -> str:
    return f"{format_timestamp(when)} ({format_duration(now - when)} ago)"


def _is_forgotten(last: int, case: ExplainedRequest) -> bool:
    return abs(case.dry_run.now - last) > case.settings.max_age_seconds


def _triplet(case: ExplainedRequest, name: str, key: bytes) -> Iterator[str]:
    if not key:
        return
    now, settings = case.dry_run.now, case.settings
    value = case.value(key)
    triplet = Triplet.load(value) if value is not None else None
    if triplet is None:
        yield f"{name}: never seen"
        return
    first, last = _ago(triplet.first_seen, now), _ago(triplet.last_seen, now)
    seen = f"{name}: first seen {first}, last {last}"
    delay = delay_for(case.dry_run.evidence, settings)
    if _is_forgotten(triplet.last_seen, case):
        yield f"{seen}; that is longer ago than --max-age, so it is new"
    elif has_passed(triplet, delay, settings):
        at = f" at {format_timestamp(triplet.passed_at)}" if triplet.passed_at else ""
        yield f"{seen}; it has passed{at}"
    elif now - triplet.first_seen > settings.retry_window_seconds:
        yield f"{seen}; it has not passed within --retry-window, so it is new"
    else:
        yield f"{seen}; it has not passed yet"


def _client(case: ExplainedRequest, key: bytes) -> Iterator[str]:
    needed = case.settings.auto_whitelist_clients
    if case.applied and (entry := case.applied.never_auto_entry):
        where = f'{entry.file}:{entry.line}: "{entry_text(entry.text)}"'
        yield f"client: never auto-whitelisted, because of {where}"
        return
    if not needed:
        yield "client: auto-whitelisting is off"
        return
    value = case.value(key)
    client = Client.load(value) if value is not None else None
    if client is None or _is_forgotten(client.last_counted, case):
        yield f"client: has come back 0 of {needed} times"
        return
    last = _ago(client.last_counted, case.dry_run.now)
    is_known = "; auto-whitelisted" if client.successes >= needed else ""
    yield f"client: has come back {client.successes} of {needed} times, last {last}{is_known}"


def _identity(case: ExplainedRequest, key: bytes) -> Iterator[str]:
    settings = case.settings
    needed = settings.auto_whitelist_identities
    if not key or not needed:
        return
    value = case.value(key)
    identity = Identity.load(value) if value is not None else None
    if identity is None or _is_forgotten(identity.last_counted, case):
        yield f"identity: has come back 0 of {needed} times"
        return
    age = format_duration(identity.last_counted - identity.first_counted)
    needed_age = format_duration(settings.identity_age_seconds)
    is_known = "; auto-whitelisted" if identity.is_auto_whitelisted(settings) else ""
    yield (
        f"identity: has come back {identity.successes} of {needed} times, over {age} of the"
        f" {needed_age} needed{is_known}"
    )


def _correspondence(case: ExplainedRequest, keys: Sequence[CorrespondenceKey]) -> Iterator[str]:
    if not keys:
        return
    now, records = case.dry_run.now, {each.key: case.value(each.key) for each in keys}
    if (answered := answered_key(keys, records, now)) is not None:
        written = Triplet.load(records[answered.key] or b"")
        ago = _ago(written.first_seen, now) if written else ""
        whom = _WHOM[answered.form].format(printable(answered.correspondent))
        yield f"correspondence: the recipient has written to {whom}, last {ago}"
    elif any(records.values()):
        days = format_duration(max(each.max_age_seconds for each in keys))
        yield f"correspondence: the recipient has not written there for {days}"
    else:
        names = ", ".join(
            dict.fromkeys(_WHOM[each.form].format(printable(each.correspondent)) for each in keys)
        )
        yield f"correspondence: the recipient has not written to {names}"
