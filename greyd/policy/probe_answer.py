"""Answers requests with the attribute ``greyd_probe``, which are not mail.

``greyd doctor`` sends ``greyd_probe=doctor``, and gets greyd's version. ``greyd switch-from`` sends
``greyd_probe=decision``, and gets the decision on mail with the request's client, sender and
recipient, too. Nothing is stored, counted or logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.policy.completion import Completion
from greyd.policy.reply import PROBE_ANSWER
from greyd.rules.greylist import Decision, decide
from greyd.rules.keys import keys_to_read, request_keys
from greyd.rules.records import RememberedRecords
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.rules.address import Address
    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import TransactionalStore

WOULD_PASS = b"would pass"
WOULD_GREYLIST = b"would greylist"
NO_STORE_ANSWER = b"no answer from the store"


async def answer_probe(
    request: Request,
    address: Address | None,
    mode: str,
    settings: Settings,
    store: TransactionalStore,
    now: int,
) -> bytes:
    """Return the action for a probe: DUNNO, greyd's version, and the decision if it is asked for.

    The decision is that of the stored entries, without whitelists and DNS.

    Args:
        request: the request.
        address: the client's address; None if it is invalid.
        mode: the mode in force.
        settings: the settings that apply to the request.
        store: has the records of triplets and clients.
        now: the time, in seconds since 1970.
    """
    if request.greyd_probe != b"decision" or address is None:
        return PROBE_ANSWER
    if mode != "on":
        return b"%b %b (mode %b)" % (PROBE_ANSWER, WOULD_PASS, mode.encode())
    keys = request_keys(address, request.sender or b"", request.recipient or b"", settings)
    wanted = keys_to_read(keys, settings)

    def rule(remembered: Remembered) -> tuple[Decision, Sequence[Change]]:
        decision, _ = decide(keys, RememberedRecords.under(wanted, remembered), now, settings)
        return decision, ()

    decided: Completion[Decision] = Completion()
    store.begin(wanted, rule, decided.complete)
    try:
        decision = await decided
    except StoreError:
        return b"%b %b" % (PROBE_ANSWER, NO_STORE_ANSWER)
    outcome = WOULD_PASS if decision.passes else WOULD_GREYLIST
    return b"%b %b (%b)" % (PROBE_ANSWER, outcome, decision.reason.text.encode())
