"""Renders the page at ``/`` of the metrics port, for sites without Grafana.

The page is HTML and SVG, needs no script, and loads no other files. Anyone who can reach the port
can read the page, so it shows mail and IP addresses only with ``--status-details``.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd import __version__
from greyd.config.durations import format_duration
from greyd.monitoring.web.html import section
from greyd.monitoring.web.page.charts import ChartSpan, chart
from greyd.monitoring.web.page.details import details
from greyd.monitoring.web.page.frame import END, HEAD, REFRESH, STYLE
from greyd.monitoring.web.page.glance import glance, is_new, verdict
from greyd.monitoring.web.page.sections import decisions, dns, shadow, store, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.monitoring.web.page.view import StatusView

DAY = ChartSpan("the last 24 hours", "15 minutes", 900, "%H:%M", "%a %H:%M")
DAY_STEPS = 96

WEEK = ChartSpan("the last 7 days", "2 hours", 7200, "%a %d", "%a %d, %H:%M")
WEEK_STEPS = 84

REFRESH_SECONDS = 60
FIRST_REFRESH_SECONDS = 5
"""The interval until the store has been counted."""


def render(view: StatusView, *, refreshes: bool = True) -> bytes:
    """Return the page as HTML in UTF-8; ``refreshes``: whether the browser reloads it."""
    return b"".join(render_parts(view, refreshes=refreshes))


def render_parts(view: StatusView, *, refreshes: bool = True) -> Iterator[bytes]:
    """Yield the parts of the page. The parts are rendered one by one, as the caller iterates."""
    for part in _parts(view, refreshes=refreshes):
        yield part.encode()


def _parts(view: StatusView, *, refreshes: bool) -> Iterator[Markup]:
    host = view.settings.hostname or ""
    seconds = REFRESH_SECONDS if view.summary else FIRST_REFRESH_SECONDS
    yield HEAD.format(
        refresh=REFRESH.format(seconds) if refreshes else "",
        title=f"{verdict(view)[1]} – greyd on {host}",
        style=STYLE,
        host=host,
        version=__version__,
        up=format_duration(view.up_seconds),
        delay=format_duration(view.settings.delay_seconds),
        store=view.store_name,
    )
    yield from chain(
        glance(view),
        _activity(view),
        details(view) if view.settings.status_details else (),
        shadow(view) if view.settings.shadow else (),
        dns(view) if view.dns_sources else (),
        store(view),
    )
    yield END.format(
        date=time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(view.clock)),
        refresh=_STOP.format(format_duration(seconds)) if refreshes else _START,
    )


def _activity(view: StatusView) -> Iterator[Markup]:
    """Yield the charts of requests; nothing before the first request."""
    if not is_new(view):
        yield from section("Last 24 hours", chart(DAY, view.day_steps))
        yield from section("Last 7 days", chart(WEEK, view.week_steps))
        yield from waiting(view)
        yield from decisions(view)


_STOP = Markup('It reloads every {}; <a href="/?refresh=0">stop reloading</a>.')
_START = Markup('<a href="/">Reload it every minute</a>.')
