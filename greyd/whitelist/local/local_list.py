"""Finds the ``.local`` file of a whitelist, and guesses the list that an entry belongs to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.redaction import redacted_path
from greyd.whitelist.entries import WhitelistFile, is_pattern, parse_entries, read_whitelist_file
from greyd.whitelist.errors import WhitelistError
from greyd.whitelist.files import files_in_force, is_absent_local
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS
from greyd.whitelist.local.errors import LocalListError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.config.settings import Settings
    from greyd.whitelist.entries import WhitelistEntry

LOCAL_LISTS = (CLIENTS, RECIPIENTS)
"""The lists that have a ``.local`` file."""

_SUFFIX = ".local"
_DOMAIN = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalList:
    """A whitelist of the settings: its ``.local`` file, and all its files."""

    which: str
    """The list's name, ``clients`` or ``recipients``."""
    path: Path
    """The ``.local`` file, which may not exist yet."""
    files: tuple[Path, ...]
    """All files of the list, in the server's order."""

    def sources(self) -> list[WhitelistFile]:
        """Return the contents of all files of the list; a missing ``.local`` file has none.

        Raises:
            LocalListError: a file can't be read.
        """
        try:
            return [
                read_whitelist_file(str(path)) for path in self.files if not is_absent_local(path)
            ]
        except WhitelistError as error:
            raise LocalListError(str(error)) from None

    def entries(self) -> list[WhitelistEntry]:
        """Return the entries of all files, in the server's order."""
        return [entry for source in self.sources() for entry in parse_entries(source, [])]

    def own_entries(self) -> list[WhitelistEntry]:
        """Return the entries of the ``.local`` file."""
        return [entry for entry in self.entries() if entry.file == str(self.path)]


def local_list(settings: Settings, which: str) -> LocalList:
    """Return the list with its ``.local`` file.

    Raises:
        LocalListError: the server reads no ``.local`` file for this list.
    """
    option, given = _option(settings, which)
    files = files_in_force(given, option.replace("-", "_"))
    if local := [path for path in files if path.suffix == _SUFFIX]:
        return LocalList(which, local[-1], tuple(files))
    shown = ", ".join(map(redacted_path, files))
    missing = redacted_path(f"{files[0]}{_SUFFIX}")
    raise LocalListError(
        f"the server reads only {shown} (--{option}), and no file {missing}; add"
        f" --{option}={missing} beside it, restart the server, and repeat this command"
    )


def local_paths(settings: Settings) -> list[Path]:
    """Return the ``.local`` files that a server with these settings reads."""
    paths = []
    for which in LOCAL_LISTS:
        option, given = _option(settings, which)
        found = files_in_force(given, option.replace("-", "_"))
        paths += [path for path in found if path.suffix == _SUFFIX]
    return paths


def _option(settings: Settings, which: str) -> tuple[str, Sequence[Path]]:
    if which == CLIENTS:
        return "whitelist-clients", settings.whitelist_clients
    return "whitelist-recipients", settings.whitelist_recipients


def guess_list(text: str) -> str:
    """Return the list that an entry belongs to, by its form.

    Text with ``@`` is for recipients. Addresses, networks, names and other patterns are for
    clients.
    """
    return RECIPIENTS if "@" in text else CLIENTS


def describe_guess(text: str, which: str) -> str:
    """Return how the form of an entry was understood."""
    if which == RECIPIENTS:
        return "listed as a recipient, because of the @"
    if is_pattern(text.encode(errors="surrogateescape")):
        return "listed as a pattern for clients' names; --recipient lists one for recipients"
    if not is_domain(text):
        return "listed as a client"
    return "listed as a client; --recipient lists it as a recipient's domain"


def describe_coverage(text: str, which: str) -> str:
    """Return an entry, and what else it covers.

    A domain covers the names below it, and in the list of recipients their addresses.
    """
    if not is_domain(text):
        return text
    return f"{text} and all names below it" if which == CLIENTS else f"{text} and its subdomains"


def is_domain(text: str) -> bool:
    """Whether an entry is a name, not an address, network, mail address or pattern."""
    return _DOMAIN.fullmatch(text) is not None
