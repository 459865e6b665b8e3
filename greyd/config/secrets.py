"""Reads secrets from the files that the settings name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.config.errors import SecretError
from greyd.config.regular_files import FileError, read_regular_file
from greyd.redaction import redacted_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from greyd.config.settings import Settings

MAX_SECRET_BYTES = 64 * 1024
MIN_PRIVACY_KEY_BYTES = 16
MAX_LIST_KEY_CHARACTERS = 63
"""Maximum length of a DNS list's key: it is a label of a name."""

_LIST_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_LIST_KEY_CHARACTERS}}}")


def read_secrets(settings: Settings) -> Settings:
    """Return the settings, completed with the secrets from the files that they name.

    Raises:
        SecretError: a file can't be read, or its content is not a usable secret.
    """
    return replace(
        settings,
        list_keys=tuple({**dict(settings.list_keys), **dict(_read_list_keys(settings))}.items()),
        privacy_key=_read_privacy_key(settings.privacy_key_file),
        store_password=_read_password(settings.store_password_file, "--store-password-file"),
        sentinel_password=_read_password(
            settings.sentinel_password_file, "--sentinel-password-file"
        ),
    )


def _read_list_keys(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the zones of DNS lists with a file for their key, each with that key."""
    for option in ("dnsbl", "rhsbl", "dnswl"):
        for zone in getattr(settings, option):
            if zone.key_file is not None:
                key = _read_secret(zone.key_file, f"--{option}: key_file").decode(
                    "ascii", "replace"
                )
                if not _LIST_KEY.fullmatch(key):
                    raise SecretError(
                        f"--{option}: key_file={redacted_path(zone.key_file)}: should hold the"
                        " list's key alone: up to 63 letters, digits, hyphens and underscores"
                    )
                yield zone.name, key.lower()


def _read_privacy_key(file: Path | None) -> bytes | None:
    if file is None:
        return None
    secret = _read_secret(file, "--privacy-key")
    if len(secret) < MIN_PRIVACY_KEY_BYTES:
        raise SecretError(
            f"--privacy-key={redacted_path(file)}: shorter than {MIN_PRIVACY_KEY_BYTES} bytes;"
            " openssl rand -hex 32 makes one"
        )
    return secret


def _read_password(file: Path | None, option: str) -> str | None:
    if file is None:
        return None
    try:
        password = _read_secret(file, option).decode()
    except UnicodeDecodeError:
        raise SecretError(f"{option}={redacted_path(file)}: not UTF-8 text") from None
    if not password.isprintable() or not password:
        raise SecretError(
            f"{option}={redacted_path(file)}: should hold the password alone, on one line"
        )
    return password


def _read_secret(file: Path, option: str) -> bytes:
    try:
        return read_regular_file(file, MAX_SECRET_BYTES).strip()
    except FileError as error:
        raise SecretError(f"{option}={redacted_path(file)}: {error}") from None
