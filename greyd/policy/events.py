"""What the policy tells its observers about each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.policy.reply import DUNNO
from greyd.rules.reasons import Reason
from greyd.whitelist.hits import CLIENTS, RECIPIENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.errors import StoreError
    from greyd.whitelist.entries import WhitelistEntry

WHITELIST_OF_REASON = {Reason.CLIENT_WHITELIST: CLIENTS, Reason.RECIPIENT_WHITELIST: RECIPIENTS}
"""Which whitelist the entry of an exempted request belongs to."""


class Transaction(NamedTuple):
    """What a request's rule has read in the store, decided, and stored.

    A tuple like ``DecisionEvent``, for the same reason.
    """

    keys: Sequence[bytes]
    remembered: Remembered
    """The records under ``keys``, in their order."""
    decision: Decision | None
    """None for outbound mail, of which only the correspondence is stored."""
    changes: Sequence[Change]


class DecisionEvent(NamedTuple):
    """One answered request: what was decided, why, and how long it took.

    A tuple, because every request creates one: a frozen dataclass of these fields takes four times
    as long to create.
    """

    request: Request
    reason: Reason
    """Why, and with it the action: ``reason.action``."""
    seconds: float
    """From the request to its reply."""
    reply: bytes = DUNNO
    """The action of access(5) and its text, as sent to Postfix."""
    detail: str = ""
    """What the log adds to the reason."""
    delay_seconds: int | None = None
    """How long the mail has waited, if the reply adds the header."""
    waited_seconds: int | None = None
    """How long the mail has waited, if it passes for the first time."""
    whitelist_entry: WhitelistEntry | None = None
    """The entry that exempts the client or the recipient."""
    evidence: Evidence | None = None
    """What was collected about the client; None if nothing was."""
    transaction: Transaction | None = None
    """What was read and stored; None if the store was not needed, or has failed."""
    store_seconds: float | None = None
    """How long the store took; None if it was not needed."""
    store_error: StoreError | None = None
    """Why the store has failed."""
