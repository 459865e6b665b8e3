"""What servers tell of themselves at ``/stats.json`` of their metrics ports.

Each is asked at the same time, answers in bounded time and size, and one that is away is a fault of
its own: the others are heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import ssl
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import h11

from greyd.escaping import printable
from greyd.monitoring.errors import MonitoringError
from greyd.monitoring.stats import PERIODS, START, Counts, InvalidStats, ServerStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.config.vocabulary import Endpoint


TIMEOUT_SECONDS = 5.0
"""For a server's whole answer."""

MAX_BODY_BYTES = 1024 * 1024
"""Of an answer."""

MAX_SERVERS = 100

PATH = "/stats.json"


class StatsUrlError(MonitoringError):
    """A URL names no server's statistics."""


@dataclass(frozen=True)
class MetricsAddress:
    """Where a server's metrics port is."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        """How it is named."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port, as HTTP wants them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class FetchedStats:
    """What was heard of a server: its figures, or what is wrong."""

    address: MetricsAddress
    stats: ServerStats | None = None
    fault: str = ""

    def dump(self) -> dict[str, Any]:
        """Return it for a program."""
        if self.stats is None:
            return {"url": self.address.url, "answers": False, "fault": self.fault}
        return {"url": self.address.url, "answers": True, **self.stats.dump()}


def metrics_addresses(urls: Sequence[str], metrics: Endpoint | None) -> list[MetricsAddress]:
    """Return where to ask: what ``--server`` names, else the settings' own metrics port, if any.

    Raises:
        StatsUrlError: a URL is none.
    """
    if len(urls) > MAX_SERVERS:
        raise StatsUrlError(f"--server: {MAX_SERVERS} at most")
    if urls:
        return [_parse_url(url) for url in urls]
    if metrics is None:
        return []
    return [MetricsAddress(*metrics.to_ask())]


def _parse_url(url: str) -> MetricsAddress:
    wrong = (
        f"--server={printable(url.encode(errors='surrogateescape'))[:100]}: write http://HOST:PORT"
    )
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise StatsUrlError(wrong) from None
    odd = parts.username or parts.password or parts.query or parts.path not in ("", "/", PATH)
    if parts.scheme not in ("http", "https") or odd:
        raise StatsUrlError(wrong)
    if not host or not re.fullmatch(r"[!-~]{1,253}", host):
        raise StatsUrlError(wrong)
    return MetricsAddress(
        host, port or (443 if parts.scheme == "https" else 9923), parts.scheme == "https"
    )


async def fetch_all_stats(addresses: Sequence[MetricsAddress]) -> list[FetchedStats]:
    """Ask all at once."""
    return list(await asyncio.gather(*map(_fetch_stats, addresses)))


async def _fetch_stats(address: MetricsAddress) -> FetchedStats:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return FetchedStats(address, ServerStats.load(await _fetch(address)))
    except TimeoutError:
        return FetchedStats(address, fault=f"no answer within {TIMEOUT_SECONDS:g} s")
    except InvalidStats as error:
        return FetchedStats(address, fault=f"{error}; is it a greyd of this version?")
    except (OSError, h11.RemoteProtocolError, UnicodeError) as error:
        return FetchedStats(address, fault=_in_words(error))


def _in_words(error: Exception) -> str:
    if isinstance(error, h11.RemoteProtocolError):
        return "it does not speak HTTP"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; does it run, with --metrics?"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(str(reason).encode())[:200]


async def _fetch(address: MetricsAddress) -> bytes:
    """Return the body of a server's answer."""
    tls = ssl.create_default_context() if address.tls else None
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
    try:
        http = h11.Connection(h11.CLIENT)
        headers = [("Host", address.authority), ("Accept", "application/json")]
        asked = http.send(h11.Request(method="GET", target=PATH, headers=headers))
        writer.write((asked or b"") + (http.send(h11.EndOfMessage()) or b""))
        return await _body(http, reader)
    finally:
        # Nobody waits for its goodbye.
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _body(http: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            if event.status_code == 421:
                raise PermissionError(
                    errno.EACCES, "it does not answer to this name; give it there by --metrics-host"
                )
            if event.status_code != 200:
                raise InvalidStats(f"status {event.status_code} for {PATH}")
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > MAX_BODY_BYTES:
                raise InvalidStats(f"more than {MAX_BODY_BYTES} octets")
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return body


# All of them together -----------------------------------------------------------------------------


@dataclass(frozen=True)
class CombinedCounts:
    """What several servers counted in a period."""

    counts: Counts
    """Sums; ``seconds`` is the longest of theirs."""
    rates: dict[tuple[str, str], float]
    """Requests a second by outcome, each server's by its own time."""

    @property
    def rate(self) -> float:
        """All requests a second."""
        return sum(self.rates.values())

    def dump(self) -> dict[str, Any]:
        """Return it for a program."""
        shown = self.counts.dump()
        for each in shown["outcomes"]:
            each["per_second"] = round(self.rates.get((each["action"], each["reason"]), 0), 6)
        return {**shown, "per_second": round(self.rate, 6)}


def combined_periods(figures: Iterable[ServerStats]) -> dict[str, CombinedCounts]:
    """Return the sums of some servers' periods; empty where there is none."""
    heard = list(figures)
    return {
        name: combined_counts([each.periods[name] for each in heard])
        for name in (*PERIODS, START)
        if heard
    }


def combined_counts(several: Sequence[Counts]) -> CombinedCounts:
    """Return the sums of what some servers counted; there has to be one."""
    outcomes: Counter[tuple[str, str]] = Counter()
    rates: Counter[tuple[str, str]] = Counter()
    for counts in several:
        for outcome, number in counts.outcomes.items():
            outcomes[outcome] += number
            # Of a server that was started a moment ago a second is the least that tells a rate.
            rates[outcome] += number / max(counts.seconds, 1)  # type: ignore[assignment]
    sums: dict[str, Any] = {
        each.name: sum(getattr(counts, each.name) for counts in several)
        for each in fields(Counts)
        if each.name not in ("seconds", "outcomes")
    }
    longest = max(counts.seconds for counts in several)
    return CombinedCounts(Counts(seconds=longest, outcomes=dict(outcomes), **sums), dict(rates))


def counts_between(before: ServerStats, after: ServerStats) -> Counts | None:
    """Return what a server counted between two answers; None where it was started in between."""
    one, other = before.periods[START], after.periods[START]
    numbers: dict[str, Any] = {
        each.name: getattr(other, each.name) - getattr(one, each.name)
        for each in fields(Counts)
        if each.name not in ("seconds", "outcomes")
    }
    outcomes = {
        outcome: number - one.outcomes.get(outcome, 0) for outcome, number in other.outcomes.items()
    }
    seconds = after.time - before.time
    if seconds <= 0 or min([*outcomes.values(), *numbers.values()], default=0) < 0:
        return None
    return Counts(seconds=seconds, outcomes=outcomes, **numbers)
