"""The reasons for passing or greylisting a request, each with its action, texts and category.

To add a reason, add a member to ``Reason``. Metrics, statistics, the status page, reports and
``greyd replay`` use its attributes. A few places have their own text for every reason (the steps of
``greyd explain``, a table in docs/); ``tests/rules/test_reasons.py`` checks them.
"""

from __future__ import annotations

from enum import Enum, StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PASS = "pass"  # noqa: S105 - an action
GREYLIST = "greylist"
ACTIONS = (PASS, GREYLIST)


class Category(StrEnum):
    """A group of reasons on pages and in reports."""

    FIRST_CONTACT = "new"
    """Greylisted: the triplet has not been seen before."""
    EARLY_RETRY = "early"
    """Greylisted: the retry came before the delay was over."""
    KNOWN = "known"
    """Passed: the triplet has waited for the delay, or has passed before."""
    AUTO_WHITELISTED = "auto-whitelisted"
    """Passed: the client or its identity is auto-whitelisted, or the sender is a correspondent."""
    EXEMPT = "whitelisted"
    """Passed: a whitelist or a login exempts the request."""
    OTHER = "other"
    """Passed: an option, the mode or a command lets the request pass."""
    FAULT = "fault"
    """Passed or deferred: a fault has kept greyd from deciding."""


@unique
class Reason(Enum):
    """The reason why a request passes or is greylisted.

    ``text`` is an interface: the log writes it after ``reason=``, and it is the label ``reason`` of
    the metric ``greyd_requests_total``.
    """

    NEW = GREYLIST, "new", "greylisted: first contact", Category.FIRST_CONTACT, True
    EARLY_RETRY = (
        GREYLIST, "early-retry", "greylisted: retried too early", Category.EARLY_RETRY, True
    )  # fmt: skip
    DEFERRED_WITHOUT_STORE = (
        GREYLIST, "store unavailable", "deferred: store unavailable", Category.FAULT
    )  # fmt: skip
    TRIPLET_FOUND = (
        PASS, "triplet found", "passed: waited, or has passed before", Category.KNOWN, True
    )  # fmt: skip
    CLIENT_AWL = (
        PASS, "client AWL", "passed: client is auto-whitelisted", Category.AUTO_WHITELISTED, True
    )  # fmt: skip
    IDENTITY_AWL = (
        PASS, "identity AWL", "passed: identity is auto-whitelisted", Category.AUTO_WHITELISTED
    )  # fmt: skip
    CORRESPONDENT = (
        PASS, "correspondent", "passed: reply to mail of a local user", Category.AUTO_WHITELISTED
    )  # fmt: skip
    NOT_SUSPICIOUS = PASS, "not suspicious", "passed: no sign of spamware", Category.OTHER
    DNS_WHITELIST = (
        PASS, "DNS whitelist", "passed: client is on a DNS whitelist", Category.EXEMPT
    )  # fmt: skip
    OUTBOUND = PASS, "outbound", "passed: outbound mail of a local user", Category.EXEMPT
    CLIENT_WHITELIST = (
        PASS, "client whitelist", "passed: client is whitelisted", Category.EXEMPT, True
    )  # fmt: skip
    RECIPIENT_WHITELIST = (
        PASS, "recipient whitelist", "passed: recipient is whitelisted", Category.EXEMPT, True
    )  # fmt: skip
    SENDER_WHITELIST = (
        PASS, "sender whitelist", "passed: sender is whitelisted", Category.EXEMPT
    )  # fmt: skip
    AUTHENTICATED = PASS, "authenticated", "passed: client has logged in", Category.EXEMPT
    EXPECTED = PASS, "expected", "passed: expected mail (greyd expect)", Category.OTHER
    LEARNING = PASS, "learning", "passed: mode is learn", Category.OTHER
    MODE_OFF = PASS, "mode off", "passed: mode is off", Category.OTHER
    MISSING_ATTRIBUTE = (
        PASS, "missing attribute", "passed: request lacks an attribute", Category.FAULT
    )  # fmt: skip
    CLIENT_ADDRESS = PASS, "client address", "passed: invalid client address", Category.FAULT
    PASSED_WITHOUT_STORE = (
        PASS, "store unavailable", "passed without greylisting: store unavailable", Category.FAULT
    )  # fmt: skip
    INTERNAL_ERROR = PASS, "internal error", "passed: internal error of greyd", Category.FAULT

    def __init__(
        self,
        action: str,
        text: str,
        in_words: str,
        category: Category,
        is_usual: bool = False,
    ) -> None:
        self.action = action
        """``pass`` or ``greylist``."""
        self.text = text
        self.in_words = in_words
        """Action and reason in words, for pages and reports."""
        self.category = category
        self.is_usual = is_usual
        """Whether the reason can occur with any options, so that tables show it even at zero."""

    # The hash by identity is computed in C: each answered request counts its reason in a dict.
    __hash__ = object.__hash__

    @property
    def outcome(self) -> tuple[str, str]:
        """Action and text: the labels of the metric, and the fields of a log line."""
        return self.action, self.text


OUTCOMES: Mapping[tuple[str, str], Reason] = {reason.outcome: reason for reason in Reason}
"""The reason for each pair of action and text."""
