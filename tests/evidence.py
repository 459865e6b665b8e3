"""Evidence for tests."""

from __future__ import annotations

from typing import Any

from greyd.rules.evidence import Evidence, ProvenIdentity


def evidence_for(
    organisation: bytes | str, way: str = "spf", *, speaks: bool = True,
    is_listed: bool = False, **others: Any,
) -> Evidence:  # fmt: skip
    """Return the evidence that a client sends for an organisation."""
    if isinstance(organisation, str):
        organisation = organisation.encode()
    return Evidence(identities=(ProvenIdentity(organisation, way, speaks, is_listed),), **others)
