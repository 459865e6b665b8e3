"""Learns correspondence from local users' outbound mail (``--learn-outbound``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.policy.completion import Completion
from greyd.policy.events import Transaction
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.greylist import note_correspondence
from greyd.whitelist.sender_logins import may_use_sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.policy.evidence_sources import ExchangerFinder
    from greyd.policy.observers import Observers
    from greyd.rules.request import Request
    from greyd.rules.transaction import Change, Remembered
    from greyd.whitelist.sender_logins import SenderLogins

NOT_LEARNT = " (sender not of this login)"
"""The detail of outbound mail from which greyd does not learn."""


@dataclass(frozen=True, slots=True)
class OutboundLesson:
    """What greyd learns from outbound mail: the changes to store under ``keys``."""

    keys: Sequence[bytes] = ()
    """Empty if there is nothing to learn."""
    changes: Sequence[Change] = ()
    detail: str = ""
    """The text that the log adds to the reason."""

    def store(self, remembered: Remembered) -> tuple[Transaction, Sequence[Change]]:
        """Store the changes, whatever the records are; a rule, see ``TransactionalStore``."""
        return Transaction(self.keys, remembered, None, self.changes), self.changes


class OutboundMail:
    """Decides what to learn from outbound mail."""

    def __init__(self, settings: Settings, observers: Observers) -> None:
        self._settings = settings
        self._observers = observers
        self.exchangers: ExchangerFinder | None = None
        """Finds mail exchangers, whose bounces pass like the correspondent's; may be set later."""

    async def lesson(self, request: Request, logins: SenderLogins, now: int) -> OutboundLesson:
        """Return what greyd learns from a request: nothing if the login may not use the sender.

        Without this check, one stolen login would let replies pass to every user.
        """
        login, sender, recipient = request.sasl_username, request.sender, request.recipient
        if not (login and sender and recipient):
            return OutboundLesson()
        if not may_use_sender(login, sender, self._settings.outbound_senders, logins):
            self._observers.outbound_not_learnt(request)
            return OutboundLesson(detail=NOT_LEARNT)
        exchangers = await self._find_exchangers(recipient)
        learnt = keys_to_learn(sender, recipient, self._settings, exchangers)
        changes = [note_correspondence(each, now) for each in learnt]
        return OutboundLesson([each.key for each in learnt], changes)

    async def _find_exchangers(self, recipient: bytes) -> Sequence[bytes]:
        if self.exchangers is None:
            return ()
        found: Completion[Sequence[bytes]] = Completion()
        self.exchangers.find(recipient, found.complete)
        return await found
