"""Reads the files of ``--own-domains``.

A value of the option is a domain, or the path of a file with one domain on each line. Text after
the domain is ignored, so that tables of Postfix (``example.com OK``) can be used; ``#`` starts a
comment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.values.parsers import parse_own_domain
from greyd.redaction import excerpt, redacted_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings

MAX_OWN_DOMAINS_BYTES = 8 * 1024 * 1024
"""Maximum size of a file: some 300,000 domains."""


def read_own_domains(settings: Settings) -> Settings:
    """Return the settings with each file of ``--own-domains`` replaced by its domains.

    Raises:
        SettingsError: a file cannot be read, or a line does not begin with a domain.
    """
    if not any(map(_is_file, settings.own_domains)):
        return settings
    domains: dict[str, None] = {}
    for value in settings.own_domains:
        domains |= dict.fromkeys(_domains_in(value) if _is_file(value) else [value])
    return replace(settings, own_domains=tuple(domains))


def _is_file(value: str) -> bool:
    return value.startswith("/")


def _domains_in(file: str) -> Iterator[str]:
    where = redacted_path(file)
    try:
        content = read_regular_file(file, MAX_OWN_DOMAINS_BYTES)
    except FileError as error:
        raise SettingsError(f"--own-domains={where}: {error}") from None
    for number, line in enumerate(content.split(b"\n"), 1):
        words = line.partition(b"#")[0].decode(errors="backslashreplace").split()
        if not words:
            continue
        try:
            if _is_file(words[0]):
                raise ValueError
            yield parse_own_domain(words[0])
        except ValueError:
            raise SettingsError(
                f'--own-domains: {where}:{number}: "{excerpt(words[0])}": write a domain, such as'
                " example.com, at the beginning of the line"
            ) from None
