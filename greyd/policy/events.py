"""The events that the policy passes to its observers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.policy.reply import DUNNO
from greyd.rules.reasons import Reason
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS, SENDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.policy.applied_settings import AppliedSettings
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request
    from greyd.rules.site_rules.sender_proof import SenderProof
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.errors import StoreError
    from greyd.whitelist.entries import WhitelistEntry

WHITELIST_OF_REASON = {
    Reason.CLIENT_WHITELIST: CLIENTS,
    Reason.RECIPIENT_WHITELIST: RECIPIENTS,
    Reason.SENDER_WHITELIST: SENDERS,
}
"""The whitelist of the entry that exempts a request, by the request's reason."""


class Transaction(NamedTuple):
    """A request's transaction on the store: keys, records, decision and changes.

    A tuple, because nearly every request creates one.
    """

    keys: Sequence[bytes]
    remembered: Remembered
    """The records under ``keys``, in the same order."""
    decision: Decision | None
    """None for outbound mail, which only stores the correspondence."""
    changes: Sequence[Change]


class DecisionEvent(NamedTuple):
    """An answered request: the decision, its reason, and the time that it took.

    A tuple: every request creates one, and a frozen dataclass with 14 fields takes more than four
    times as long to create.
    """

    request: Request
    reason: Reason
    """The reason; ``reason.action`` is the decision."""
    seconds: float
    """The time from the request to the reply."""
    reply: bytes = DUNNO
    """The action of access(5) with its text, as sent to Postfix."""
    detail: str = ""
    """The text that the log adds to the reason."""
    delay_seconds: int | None = None
    """How long the mail has waited, if the reply adds the header; else None."""
    waited_seconds: int | None = None
    """How long the mail has waited, if it passes for the first time; else None."""
    whitelist_entry: WhitelistEntry | None = None
    """The entry that exempts the client, the recipient or the sender, if one does."""
    evidence: Evidence | None = None
    """The evidence about the client; None if none was collected."""
    transaction: Transaction | None = None
    """The transaction on the store; None if the request needed none, or the store failed."""
    store_seconds: float | None = None
    """The time that the store took; None if the request did not need it."""
    store_error: StoreError | None = None
    """The error, if the store failed."""
    is_sender_denied: bool = False
    """Whether the mail is expected from this sender, but SPF denies the client."""
    applied: AppliedSettings | None = None
    """The settings that apply to this request; None if they are the same for all requests."""
    sender_proof: SenderProof | None = None
    """Whether a whitelisted sender was proven; None if no entry matched, or memory was enough."""
