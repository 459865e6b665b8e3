"""The errors of a store."""

from __future__ import annotations

from greyd.errors import GreydError


class StoreError(GreydError):
    """The store failed or was too slow; the change may or may not have been stored."""


class UnwritableStoreError(StoreError):
    """Nothing can be stored until somebody fixes the cause, such as permissions or a full disk."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        """Create the error from the reason and, if known, the administrator's remedy."""
        super().__init__(f"{reason}; {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


class StoreFullError(StoreError):
    """The store has reached its size limit and rejects new triplets; it still updates others."""


class UnusableStoreError(UnwritableStoreError):
    """The file is not greyd's, or was written by a newer version; greyd leaves it unchanged."""


class MissingPackageError(StoreError):
    """The store needs a Python package that is not installed."""
