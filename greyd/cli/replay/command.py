"""``greyd replay``: what other settings would have done with the mail of a log."""

from __future__ import annotations

import contextlib
import gc
import math
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from greyd.cli.errors import CommandError
from greyd.config.durations import format_duration, parse_duration
from greyd.config.server_settings import read_server_settings
from greyd.config.settings import Settings
from greyd.config.sources import from_table
from greyd.escaping import printable
from greyd.terminal import format_timestamp, print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.simulation import Sender, Simulation, SimulationResult
    from greyd.dns.resolver import Resolver
    from greyd.maillog.attempts import Attempt, AttemptStatistics
    from greyd.maillog.lines import LogLine
    from greyd.whitelist.matcher import Whitelists

INFLUENCE = (
    "delay", "max-age", "retry-window", "auto-whitelist-clients", "mode", "preset", "identity",
    "auto-whitelist-identities", "identity-age", "greylist", "signals", "dnsbl", "rhsbl", "dnswl",
    "list-override", "learn-outbound", "lookup-by-host", "ipv4cidr", "ipv6cidr",
    "whitelist-clients", "whitelist-recipients", "resolver", "dns-timeout",
)  # fmt: skip
"""Settings that can decide otherwise."""

_ONLY_DNS = ("dnsbl", "rhsbl", "dnswl", "resolver", "dns-timeout")
_ASK_DNS = ("helo_no_address", "sender_no_mx", "dnsbl", "rhsbl", "spf_fail")
_BATCH = 1000

TODAY, OTHER = "today", "other"

_FAITHFUL = 0.9
"""Part of the decisions that today's settings should make as the log says."""


async def replay(
    context: CommandContext,
    logs: Annotated[
        list[str],
        typer.Argument(metavar="LOG", help="Mail logs, also compressed; - is standard input."),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=VALUE",
            help="Another value of a setting (delay=60). May be repeated.",
        ),
    ] = None,
    warm_up: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Do not count the mail of the log's first so long."),
    ] = "0",
    dns: Annotated[
        bool,
        typer.Option("--dns", help="Ask DNS about clients, as it answers now."),
    ] = False,
    top: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="How many senders to name.")
    ] = 5,
) -> None:
    """Show what other settings would have done with the mail of a log.

    The mail is sent once more, in simulated time, to a server with today's settings and to one
    with others, each on a store of its own. What both would have done stands side by side: how
    much mail waits and how long, and what would be let in that never came back, which is likely
    spam. Nothing of the real server is read but its settings, and nothing is written.

    Logs of greyd and postgrey can be read, and those of Postfix alone. How senders are taken to
    behave, and what that can't tell, is in docs/what-if.md.

    Examples:

      greyd replay /var/log/mail.log --with delay=60

      greyd replay /var/log/mail.log.1 /var/log/mail.log --warm-up=1d --with identity=name

      greyd replay /var/log/mail.log --with preset=recommended --dns
    """
    from greyd.maillog.attempts import AttemptStatistics, attempts_in

    seconds = _duration("--warm-up", warm_up)
    settings = [context.settings]
    if changes:
        settings.append(_other_settings(context, changes, dns=dns))
    _tell_what_is_not_known(settings, dns=dns)
    reading = AttemptStatistics()
    resolver = _resolver(settings[-1]) if dns else None
    try:
        what_if, witnesses = _prepare(settings, seconds, resolver)
        with _read(context, logs) as read_lines:
            await _send(what_if, witnesses, attempts_in(read_lines, reading))
    finally:
        if resolver is not None:
            await resolver.close()
    _require_mail(what_if, reading, logs)
    _Told(context, what_if, reading, changes or [], top).tell()


# What is asked for --------------------------------------------------------------------------------


def _duration(option: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}={text}: expected {error}") from None


def _other_settings(context: CommandContext, changes: Sequence[str], *, dns: bool) -> Settings:
    """Return the server's settings with what ``--with`` changes.

    Raises:
        AdminError: a setting that decides nothing, or one that nothing is known of.
        SettingsError: a value can't be read.
    """
    given = []
    for change in changes:
        name, equals, text = change.partition("=")
        name = name.strip().lstrip("-").replace("_", "-")
        if name not in INFLUENCE:
            raise CommandError(
                f"--with {name}: no setting that decides what becomes of mail; those are"
                f" {', '.join(INFLUENCE)}"
            )
        if not equals:
            raise CommandError(f"--with {name}: write {name}=VALUE")
        given += from_table({name: text}, "--with")
    named = {each.option.name for each in given}
    config = context.settings.config
    other = read_server_settings([f"--config={config}"] if config else [], given)
    for name in (*_ONLY_DNS, *_without_sight(other)):
        if name in named and not dns and not getattr(context.settings, name, None):
            raise CommandError(f"--with {name}: that can't be known without DNS; add --dns")
    for warning in other.warnings:
        if warning.startswith("--with"):
            print_error(warning)
    return other


def _without_sight(settings: Settings) -> Iterator[str]:
    """Yield the settings that are blind without DNS."""
    if settings.identity == ("spf",):
        yield "identity"
    if set(settings.signals) <= set(_ASK_DNS):
        yield "signals"


def _tell_what_is_not_known(all_settings: Sequence[Settings], *, dns: bool) -> None:
    """Say what the figures leave out."""
    missing = []
    if any(each.dnsbl or each.rhsbl or each.dnswl for each in all_settings):
        missing.append("nobody is on a DNS list")
    if any("spf" in each.identity for each in all_settings):
        missing.append("nobody is known by SPF")
    if any(each.greylist == "suspicious" or each.delays for each in all_settings):
        missing.append(f"nobody shows {', '.join(_ASK_DNS)}")
    if missing and not dns:
        print_error(f"without --dns, {', '.join(missing)}, but where greyd's own log says so")
    if missing and dns:
        print_error("DNS is asked as it is now; it may have been otherwise when the mail came")


def _prepare(
    all_settings: Sequence[Settings], warm_up_seconds: int, resolver: Resolver | None
) -> tuple[Simulation, list[ReplayEvidenceCollector]]:
    """Return the servers on trial, and what knows their clients."""
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.simulated_server import SimulatedServer
    from greyd.cli.replay.simulation import Simulation

    trials, witnesses = [], []
    for settings in all_settings:
        whitelists = _whitelists(
            settings.whitelist_clients, settings.whitelist_recipients, settings.list_override
        )
        trials.append(SimulatedServer(settings, whitelists))
        witnesses.append(ReplayEvidenceCollector(settings, whitelists, resolver))
    return Simulation(trials, warm_up_seconds), witnesses


@cache
def _whitelists(
    clients: tuple[Path, ...], recipients: tuple[Path, ...], override: tuple[Path, ...]
) -> Whitelists:
    """Read the whitelists of a server, or of several.

    Raises:
        AdminError: a file can't be read.
    """
    from greyd.cli.replay.simulated_server import Remembering
    from greyd.whitelist.files import read_whitelist_files

    lists = read_whitelist_files(
        Settings(whitelist_clients=clients, whitelist_recipients=recipients, list_override=override)
    )
    for error in lists.failed:
        raise CommandError(f"whitelist {error}")
    return Remembering(*lists.whitelists())


def _resolver(settings: Settings) -> Resolver:
    from greyd.dns.resolver import Resolver

    return Resolver(settings.resolvers, settings.dns_timeout_seconds)


# The log ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _read(context: CommandContext, logs: Sequence[str]) -> Iterator[Iterator[LogLine]]:
    """Read logs, and show how far it has come."""
    from greyd.maillog.attempts import PROGRAMS
    from greyd.maillog.lines import ReadStatistics
    from greyd.maillog.reader import read_lines, total_bytes

    programs = (*PROGRAMS, context.settings.syslog_ident.encode())
    with context.progress_bar("replaying", total_bytes(logs)) as bar:
        yield read_lines(logs, programs=programs, statistics=ReadStatistics(on_bytes=bar))


async def _send(
    what_if: Simulation,
    witnesses: Sequence[ReplayEvidenceCollector],
    all_attempts: Iterator[Attempt],
) -> None:
    """Have all mail come again."""
    # Nothing here makes cycles, and looking for them in millions of records takes long.
    gc.disable()
    try:
        while batch := list(islice(all_attempts, _BATCH)):
            for witness in witnesses:
                await witness.ask(batch)
            for attempt in batch:
                what_if.see(attempt, [witness.of(attempt) for witness in witnesses])
        what_if.end()
    finally:
        gc.enable()


def _require_mail(what_if: Simulation, reading: AttemptStatistics, logs: Sequence[str]) -> None:
    if what_if.mails:
        return
    if what_if.first:
        raise CommandError("all mail of the log comes within --warm-up; make it shorter")
    why = f": {reading.undated_count} lines have no date" if reading.undated_count else ""
    raise CommandError(f"{', '.join(logs)}: no decisions of greyd or postgrey, no mail{why}")


# What is shown ------------------------------------------------------------------------------------


class _Waits(NamedTuple):
    """How long mail waited that had to, in seconds."""

    p50: int
    p90: int
    p99: int
    longest: int
    total: int

    @classmethod
    def of(cls, seconds: Iterable[int]) -> _Waits | None:
        """Return the figures; None where nothing waited."""
        ordered = sorted(seconds)
        if not ordered:
            return None
        most = len(ordered)
        at = [ordered[max(math.ceil(most * part) - 1, 0)] for part in (0.5, 0.9, 0.99)]
        return cls(at[0], at[1], at[2], ordered[-1], sum(ordered))


class _Told:
    """Shows what was found out."""

    def __init__(
        self,
        context: CommandContext,
        what_if: Simulation,
        reading: AttemptStatistics,
        changes: Sequence[str],
        top: int,
    ) -> None:
        from greyd.cli.replay.simulation import ranked

        self._context = context
        self._what_if = what_if
        self._reading = reading
        self._changes = changes
        self._names = [TODAY, OTHER][: len(what_if.figures)]
        self._senders = ranked(what_if.senders.items(), top)

    def tell(self) -> None:
        """Show it, to people or a program."""
        if self._context.as_json:
            self._context.print_json(self._document())
            return
        self._tell_of_log()
        self._table(self._rows())
        self._context.print("")
        self._context.print("Attempts by what becomes of them:")
        self._table(self._reasons())
        for kind, head in _HEADS.items():
            if self._senders[kind]:
                self._context.print("", head)
                self._tell_of_senders(kind)

    # People ---------------------------------------------------------------------------------

    def _tell_of_log(self) -> None:
        what_if, reading = self._what_if, self._reading
        source = "decisions of greyd or postgrey" if reading.decision_count else "lines of Postfix"
        tell = self._context.print
        tell(
            f"{format_timestamp(what_if.first)} to {format_timestamp(what_if.last)}:"
            f" attempts {what_if.attempts:,}, mails {what_if.mails:,}, from {source}"
        )
        if self._changes:
            tell(f"Other settings: {', '.join(self._changes)}")
        if what_if.compared:
            share = 100 * what_if.agreed / what_if.compared
            tell(
                f"Today's settings decide as the log says in {share:.1f} % of"
                f" {what_if.compared:,} attempts; in {what_if.known_before:,} of them by what was"
                " known before it began"
            )
        if what_if.agreed < _FAITHFUL * what_if.compared:
            print_error(
                "today's settings are not those that the log was written with, or much was known"
                " before it began: leave out its beginning (--warm-up=1d), or name its settings"
                " (--config)"
            )
        if what_if.open:
            tell(f"Left out: {what_if.open:,} mails that have come to no end when the log ends")
        tell("")

    def _table(
        self, rows: Iterable[tuple[str, Sequence[int | None], Callable[[int], str]]]
    ) -> None:
        head = ["", *self._names, *(["difference"] if len(self._names) > 1 else [])]
        self._context.print_table(head, [_row(*each) for each in rows], numbers=head[1:])

    def _rows(self) -> Iterator[tuple[str, Sequence[int | None], Callable[[int], str]]]:
        figures = self._what_if.figures
        waits = [_Waits.of(each.waits) for each in figures]

        def of_waits(name: str) -> list[int | None]:
            return [None if each is None else getattr(each, name) for each in waits]

        yield "Attempts", [each.attempts for each in figures], _number
        yield (
            "Mail that came in",
            [each.at_once + len(each.waits) + each.lost for each in figures],
            _number,
        )
        yield "  at once", [each.at_once for each in figures], _number
        yield "  after a wait", [len(each.waits) for each in figures], _number
        yield "    of half of it up to", of_waits("p50"), format_duration
        yield "    of 90 % up to", of_waits("p90"), format_duration
        yield "    of 99 % up to", of_waits("p99"), format_duration
        yield "    at the longest", of_waits("longest"), format_duration
        yield "  lost: its sender gives up", [each.lost for each in figures], _number
        yield (
            "Mail that never came back",
            [each.kept_out + each.let_in for each in figures],
            _number,
        )
        yield "  kept out", [each.kept_out for each in figures], _number
        yield "  let in (spam, likely)", [each.let_in for each in figures], _number
        yield "    at once", [each.let_in_at_once for each in figures], _number

    def _reasons(self) -> Iterator[tuple[str, Sequence[int | None], Callable[[int], str]]]:
        figures = self._what_if.figures
        outcomes = sorted({outcome for each in figures for outcome in each.reasons})
        for outcome in outcomes:
            yield (
                f"  {outcome[0]}: {outcome[1]}",
                [each.reasons[outcome] for each in figures],
                _number,
            )

    def _tell_of_senders(self, kind: str) -> None:
        if kind == "let_in":
            self._context.print_table(
                ["  from", "mails"],
                [
                    [f"  {printable(name)}", _number(each.let_in[1])]
                    for name, each in self._senders[kind]
                ],
                numbers=["mails"],
            )
            return
        rows = [
            [f"  {printable(name)}", _number(each.mails), *(_mean(each, place) for place in (0, 1))]
            for name, each in self._senders[kind]
        ]
        self._context.print_table(
            ["  from", "mails", TODAY, OTHER], rows, numbers=["mails", TODAY, OTHER]
        )

    # Programs -----------------------------------------------------------------------------------

    def _document(self) -> dict[str, Any]:
        what_if, reading = self._what_if, self._reading
        return {
            "log": {
                "first": what_if.first,
                "last": what_if.last,
                "decisions": reading.decision_count,
                "attempts_of_postfix": reading.postfix_attempt_count,
                "undated_lines": reading.undated_count,
                "attempts": what_if.attempts,
                "mails": what_if.mails,
                "mails_without_end": what_if.open,
                "decisions_compared": what_if.compared,
                "decisions_equal": what_if.agreed,
                "known_before": what_if.known_before,
            },
            "with": list(self._changes),
            **{
                name: _figures(each)
                for name, each in zip(self._names, what_if.figures, strict=True)
            },
            "senders": {
                kind: [_sender(name, each) for name, each in senders]
                for kind, senders in self._senders.items()
            },
        }


_HEADS = {
    "gain": "Whose mail would come sooner (mails that differ, their wait on average):",
    "lose": "Whose mail would come later:",
    "let_in": "What would be let in that never came back:",
}


def _row(name: str, values: Sequence[int | None], show: Callable[[int], str]) -> list[str]:
    cells = [name, *("–" if each is None else show(each) for each in values)]
    if len(values) > 1:
        today, other = values
        change = 0 if today is None or other is None else other - today
        cells.append(f"{'+' if change > 0 else '−'}{show(abs(change))}" if change else "=")
    return cells


def _number(number: int) -> str:
    return f"{number:,}"


def _mean(sender: Sender, place: int) -> str:
    came = sender.mails - sender.lost[place]
    lost = f"{sender.lost[place]:,} lost" if sender.lost[place] else ""
    wait = format_duration(sender.waits[place] / came) if came else ""
    return ", ".join(filter(None, (wait, lost)))


def _figures(figures: SimulationResult) -> dict[str, Any]:
    waits = _Waits.of(figures.waits)
    return {
        "attempts": figures.attempts,
        "came_in": {
            "at_once": figures.at_once,
            "waited": len(figures.waits),
            "lost": figures.lost,
            "wait_seconds": waits and waits._asdict(),
        },
        "never_came_back": {
            "kept_out": figures.kept_out,
            "let_in": figures.let_in,
            "let_in_at_once": figures.let_in_at_once,
        },
        "reasons": [
            {"action": action, "reason": reason, "attempts": number}
            for (action, reason), number in sorted(figures.reasons.items())
        ],
    }


def _sender(name: bytes, sender: Sender) -> dict[str, Any]:
    return {
        "from": printable(name),
        "mails": sender.mails,
        "wait_seconds": dict(zip((TODAY, OTHER), sender.waits, strict=True)),
        "lost": dict(zip((TODAY, OTHER), sender.lost, strict=True)),
        "let_in": dict(zip((TODAY, OTHER), sender.let_in, strict=True)),
    }
