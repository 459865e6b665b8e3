"""The mailbox providers: domains at which anybody can get a mailbox (gmail.com, web.de).

Their users are not one organisation, so a proof for one user does not count for the others. greyd
includes a list; an administrator can extend it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.regular_files import FileError, read_regular_file
from greyd.rules.hostnames import organisation_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


BUNDLED_PATH = Path(__file__).with_suffix(".txt")
ADMIN_PATH = Path("/etc/greyd/mailbox_providers")
"""The administrator's own domains, in addition to the bundled ones."""

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Maximum size of a file: some 200,000 domains."""

MAX_FAULTS = 10
"""Maximum number of faults to report."""

_ENTRY = re.compile(rb"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.(?:\*|[a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class MailboxProviders:
    """Domains of mailbox providers, and a message for each problem in their files."""

    domains: frozenset[bytes]
    names: frozenset[bytes] = frozenset()
    """The labels that are providers below every public suffix: ``yahoo`` for ``yahoo.*``."""
    faults: Sequence[str] = ()

    def __contains__(self, domain: bytes) -> bool:
        """Whether a domain, in lower case, is a provider's or below a provider's."""
        start = 0
        while domain[start:] not in self.domains:
            start = domain.find(b".", start) + 1
            if not start:
                return organisation_of(domain).partition(b".")[0] in self.names
        return True


@cache
def mailbox_providers() -> MailboxProviders:
    """Return the bundled providers and the administrator's. The result is cached."""
    return read_mailbox_providers((BUNDLED_PATH, ADMIN_PATH))


def read_mailbox_providers(paths: Sequence[Path]) -> MailboxProviders:
    """Return the providers in ``paths``; a missing file is ignored, other problems are faults."""
    domains: set[bytes] = set()
    names: set[bytes] = set()
    faults: list[str] = []
    for path in paths:
        try:
            content = read_regular_file(path, MAX_FILE_BYTES)
        except FileError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                faults.append(f"mailbox providers {path}: {error}; continuing without this file")
            continue
        for number, entry in _entries(content):
            if not _ENTRY.fullmatch(entry):
                faults.append(
                    f"mailbox providers {path}:{number}: no domain, skipped; write example.com"
                )
            elif entry.endswith(b".*"):
                names.add(entry[:-2])
            else:
                domains.add(entry)
    return MailboxProviders(frozenset(domains), frozenset(names), faults[:MAX_FAULTS])


def _entries(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the text of each line that is not blank or a comment."""
    for number, line in enumerate(content.splitlines(), 1):
        if entry := line.partition(b"#")[0].strip().lower():
            yield number, entry
