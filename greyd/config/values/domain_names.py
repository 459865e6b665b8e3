"""Parses domains and host names that people write, in UTF-8 or ASCII."""

from __future__ import annotations

import re

from greyd.config.values.composite_values import CompositeValueError
from greyd.redaction import excerpt

MAX_NAME_CHARACTERS = 253

_LABEL = re.compile(r"[^\W_](?:[\w-]{0,251}[^\W_])?")
"""A label of a domain; it may have letters of any script."""


def parse_domain(text: str, *, for_names_below: str, for_addresses: str) -> str:
    """Return a domain or host name of at least two labels, in lower case.

    Args:
        text: what somebody has written.
        for_names_below: what to write, after the name, instead of a wildcard for all names below.
        for_addresses: what to do about a mail address.

    Raises:
        CompositeValueError: the text is not a domain; the error has a remedy for usual mistakes.
    """
    domain = text.strip().lower().removesuffix(".")
    shown = excerpt(text) or "(empty)"
    if domain.startswith(("*.", ".")):
        name = excerpt(domain.lstrip("*."))
        raise CompositeValueError(f"{shown}: no wildcards; write {name}{for_names_below}")
    if "*" in domain:
        raise CompositeValueError(f"{shown}: no wildcards; name the domains one by one")
    if "@" in domain:
        raise CompositeValueError(f"{shown}: a mail address; {for_addresses}")
    labels = domain.split(".")
    is_valid = len(domain) <= MAX_NAME_CHARACTERS and all(map(_LABEL.fullmatch, labels))
    if not is_valid or len(labels) < 2 or labels[-1].isdigit():
        raise CompositeValueError(f"{shown}: expected a domain, such as example.com")
    return domain
