"""Finds which attempts of a log have a whitelisted sender that is proven.

A proof is the reason ``sender whitelist`` in greyd's own log, the client's name, or with ``--dns``
an SPF record.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from greyd.cli.replay.requests import request_for_attempt
from greyd.lru import LruCache
from greyd.rules.address import parse_address
from greyd.rules.hostnames import domain_of
from greyd.rules.reasons import Reason
from greyd.rules.site_rules.sender_proof import prove_sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.dns.lookup import Lookup
    from greyd.dns.sender_check import SpfSenderCheck
    from greyd.maillog.attempts import Attempt
    from greyd.whitelist.matcher import Whitelists

MAX_CACHED = 50_000

MAX_CONCURRENT = 100
"""The number of senders that are looked up concurrently."""


class SenderProofs:
    """The proofs for the whitelisted senders of one simulated server."""

    def __init__(self, settings: Settings, whitelists: Whitelists, lookup: Lookup | None) -> None:
        """Query DNS with ``lookup``; use only the log and the clients' names if it is None."""
        self._is_used = bool(settings.whitelist_senders)
        self._whitelists = whitelists
        self._proven: LruCache[bool] = LruCache(MAX_CACHED)
        self._check: SpfSenderCheck | None = None
        if self._is_used and lookup is not None:
            from greyd.dns.sender_check import SpfSenderCheck

            self._check = SpfSenderCheck(lookup, settings.dns_timeout_seconds, _raise)

    def is_proven(self, attempt: Attempt) -> bool:
        """Whether an entry matches the sender of an attempt, and the sender is proven."""
        if not self._is_used or self._whitelists.match_sender(attempt.sender) is None:
            return False
        if attempt.reason == Reason.SENDER_WHITELIST.text:
            return True
        key = _key(attempt)
        proven = self._proven.get(key)
        if proven is None:
            proven = _is_proven_by_name(attempt)
            self._proven.put(key, proven)
        return proven

    async def look_up(self, attempts: Sequence[Attempt]) -> None:
        """Look up the SPF records for attempts whose sender is whitelisted."""
        if self._check is None:
            return
        unknown = {
            key: each
            for each in attempts
            if self._whitelists.match_sender(each.sender) is not None
            and self._proven.get(key := _key(each)) is None
        }
        questions = list(unknown.items())
        for start in range(0, len(questions), MAX_CONCURRENT):
            batch = questions[start : start + MAX_CONCURRENT]
            await asyncio.gather(*(self._look_up(self._check, *each) for each in batch))

    async def _look_up(self, check: SpfSenderCheck, key: bytes, attempt: Attempt) -> None:
        address = parse_address(attempt.client_address)
        if address is not None:
            proof = await check.proof(request_for_attempt(attempt, attempt.when), address)
            self._proven.put(key, bool(proof.way))


def _is_proven_by_name(attempt: Attempt) -> bool:
    address = parse_address(attempt.client_address)
    if address is None:
        return False
    request = request_for_attempt(attempt, attempt.when)
    return bool(prove_sender(request, address, "", is_specific=False).way)


def _key(attempt: Attempt) -> bytes:
    """Return a cache key; it omits the sender's local part, since few SPF macros contain it."""
    return b"\0".join((attempt.client_address, attempt.client_name, domain_of(attempt.sender)))


def _raise(fault: BaseException) -> None:
    raise fault
