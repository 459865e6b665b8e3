"""Recognises the keys of rspamd's greylisting module in a Redis database.

The module stores a time under ``rgm`` and 20 characters of a hash of sender, recipients and
network, and under ``rgb`` and 20 characters of a hash of the message's text. A hash does not
reveal its input, and greyd's keys have other hashes, so no entry can be imported.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.cli.store_access import open_store_for_command
from greyd.store.contract import scan

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record

KEY_PREFIX = "rg"
"""The default of the module's ``key_prefix``."""

_KEY = re.compile(rb"(rg)?[bm][a-z0-9]{20}")
_TIME = re.compile(rb"[0-9]{9,12}(\.[0-9]+)?")

HASHES_ONLY = (
    "keys of rspamd's greylisting: only times under hashes, which reveal no sender, recipient"
    " or client"
)


def is_greylisting_entry(record: Record) -> bool:
    """Whether an entry of a store is one of rspamd's greylisting module."""
    return _KEY.fullmatch(record.key) is not None and _TIME.fullmatch(record.value) is not None


async def has_greylisting_entries(url: str, settings: Settings) -> bool:
    """Whether a Redis database has entries of rspamd's greylisting module.

    Raises:
        StoreError: the database can't be read.
    """
    settings = replace(settings, key_prefix=KEY_PREFIX)
    async with open_store_for_command(url, settings) as store:
        async for records in scan(store):
            if any(map(is_greylisting_entry, records)):
                return True
    return False
