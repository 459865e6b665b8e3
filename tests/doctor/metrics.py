"""The metrics of a healthy server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd import __version__
from greyd.doctor.server_metrics import (
    ServerMetrics,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def healthy_metrics(
    values: Mapping[tuple[str, str], float] | None = None, **more: Any
) -> ServerMetrics:
    """Return the metrics of a healthy server, with some values."""
    known: dict[str, Any] = {
        "version": __version__, "is_ready": True, "asked_at": 1000.0, "took_seconds": 0.01,
    }  # fmt: skip
    return ServerMetrics(values or {}, **{**known, **more})
