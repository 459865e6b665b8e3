"""Describes the steps that read the store: the client's records, and those of its identities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.step import ExplainedStep
from greyd.cli.explain.stored_records import (
    describe_client,
    describe_correspondence,
    describe_identity,
    describe_triplet,
)
from greyd.escaping import printable
from greyd.rules.address import address_text, network_of, network_prefix
from greyd.rules.correspondence.address_forms import normalise_sender

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.rules.evidence import ProvenIdentity


def describe_memory(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the records of the client's triplet and of the client itself.

    Return None for an invalid client address.
    """
    keys = case.keys
    if keys is None:
        return None
    if case.dry_run.store_error:
        text = f"the store cannot be read: {case.dry_run.store_error}"
        return ExplainedStep("memory", text, list(_key_notes(case)))
    client = f"client: {describe_client(case, keys.client)}"
    text = f"triplet: {describe_triplet(case, keys.triplet)}"
    return ExplainedStep("memory", text, [client, *_key_notes(case)])


def describe_identities(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the records of the client's identities; None without an identity."""
    keys = case.keys
    if keys is None or not keys.identities or case.dry_run.store_error:
        return None
    proven = case.dry_run.evidence.identities
    lines = []
    for each, identity in zip(keys.identities, proven, strict=True):
        name = f"{printable(identity.organisation)} (by {identity.way})"
        lines.append(f"{name}: triplet {describe_triplet(case, each.triplet)}")
        if case.settings.auto_whitelist_identities:
            lines.append(f"{name}: {describe_identity(case, each.identity)}")
            lines += [f"{name}: {note}" for note in _merit_notes(case, identity)]
    if keys.correspondences:
        lines.append(f"correspondence: {describe_correspondence(case, keys.correspondences)}")
    return ExplainedStep("identities", lines[0], lines[1:])


def _merit_notes(case: ExplainedRequest, identity: ProvenIdentity) -> Iterator[str]:
    """Yield why the mail does not count for an identity, or why its successes do not count."""
    evidence = case.dry_run.evidence
    if not identity.can_earn:
        yield "the sender is of another organisation, so a name does not auto-whitelist it"
    if identity.is_listed:
        yield "a blocklist lists its domain, so it loses its successes"
    elif evidence.listed:
        yield "the client is on a blocklist, so the identity's successes do not count"
    elif evidence.voids_merit:
        signals = "a strong signal" if evidence.has_strong_signal else "two signals"
        yield f"the client shows {signals}, so the identity's successes do not count"


def _key_notes(case: ExplainedRequest) -> Iterator[str]:
    """Yield a line for each difference between the keys and the request's attributes."""
    address, sender, settings = case.address, case.request.sender or b"", case.settings
    if address is not None and not settings.lookup_by_host:
        prefix = network_prefix(address.number, address.bits, settings)
        network = address._replace(number=network_of(address, settings))
        text = printable(address_text(network.number, network.bits))
        yield f"triplets are of the network {text}/{prefix}, counts of the single address"
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
