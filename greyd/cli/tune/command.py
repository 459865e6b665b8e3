"""``greyd tune``: replays a log with many settings, and shows what is worth setting."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, option_seconds
from greyd.cli.replay.log_input import new_resolver, replay_logs, require_mail
from greyd.cli.replay.notes import notes_after_result
from greyd.cli.replay.other_settings import limits
from greyd.cli.simulation_options import (  # noqa: TC001 - typer reads them at run time
    Logs,
    LookUpClients,
    WarmUp,
)
from greyd.cli.usual_logs import USUAL_LOGS, choose_logs
from greyd.config.loading import with_changes
from greyd.config.shadow import setting_changes
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.not_read import NotRead
    from greyd.cli.tune.grid import GridPoint
    from greyd.cli.tune.tuning import Tuning
    from greyd.config.settings import Settings


MIN_BYTES_FOR_PROCESSES = 1 << 20
"""A smaller log is simulated in this process."""


async def tune(
    context: CommandContext,
    logs: Logs = None,
    delay: Annotated[
        str, typer.Option(metavar="VALUES", help="Values of --delay to try.")
    ] = "60,120,300,600,900",
    retry_window: Annotated[
        str, typer.Option(metavar="VALUES", help="Values of --retry-window to try.")
    ] = "12h,2d",
    auto_whitelist: Annotated[
        str,
        typer.Option(metavar="VALUES", help="Values of --auto-whitelist-clients to try; 0 is off."),
    ] = "0,1,5",
    subnet: Annotated[
        str, typer.Option(metavar="VALUES", help="Values of --ipv4cidr to try.")
    ] = "24,32",
    preset: Annotated[
        str, typer.Option(metavar="VALUES", help="Values of --preset to try; none is none.")
    ] = "recommended",
    warm_up: WarmUp = "0",
    dns: LookUpClients = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page with a plot to this file instead of printing.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Replay a log with many settings, and show the best ones.

    The command replays the mail of a log with all combinations of values for the delay, the retry
    window, the auto-whitelist and the network, and of today's; and with each preset beside today's
    other values. It shows the combinations that no
    other one beats in both waiting and spam let in, and the options to set: the least waiting, with
    no more spam and no more lost mail than today. If nothing is better, it says so. It reads only
    the real server's settings, and writes nothing else.

    docs/what-if.md describes the simulation and its limits; greyd replay shows one combination in
    detail.

    Examples:

      greyd tune

      greyd tune /var/log/mail.log.1 /var/log/mail.log --warm-up=1d

      greyd tune --delay=60,90,120,180 --subnet=24 --html=tune.html
    """
    from greyd.cli.tune.grid import grid_of, presets_of, read_axis

    warm_up_seconds = option_seconds(warm_up, "--warm-up")
    axes = [
        read_axis("--delay", "delay", delay),
        read_axis("--retry-window", "retry-window", retry_window),
        read_axis("--auto-whitelist", "auto-whitelist-clients", auto_whitelist),
        read_axis("--subnet", "ipv4cidr", subnet),
    ]
    points = grid_of(_with_greylisting(context.settings), axes)
    presets = presets_of(points[0].settings, preset)
    with notes_after_result() as note:
        sources = list(logs) if logs else choose_logs(USUAL_LOGS, 0.0, "tune", note)
        for limit in limits([each.settings for each in (points[0], *presets)], dns=dns):
            note(limit)
        tuning, not_read = await _tune(context, sources, points, presets, note,
                                       warm_up_seconds=warm_up_seconds, dns=dns)  # fmt: skip
        _write(context, tuning, not_read, html)
    return EXIT_ERROR if not_read.has_unread_files else 0


async def _tune(
    context: CommandContext,
    sources: Sequence[str],
    points: Sequence[GridPoint],
    presets: Sequence[GridPoint],
    note: Callable[[str], None],
    *,
    warm_up_seconds: int,
    dns: bool,
) -> tuple[Tuning, NotRead]:
    """Replay the log with all settings; return the outcomes, and what was not read."""
    from greyd.cli.not_read import NotRead
    from greyd.cli.replay.verdict import dns_lines
    from greyd.cli.tune.parts import PartReplay, divide
    from greyd.cli.tune.processes import PartProcess, process_count
    from greyd.cli.tune.tuning import Tuning
    from greyd.maillog.attempts import AttemptStatistics
    from greyd.maillog.statistics import ReadStatistics
    from greyd.policy.applied_settings import request_settings

    statistics, read = AttemptStatistics(), ReadStatistics()
    shares_records = request_settings(points[0].settings) is None
    if not shares_records:
        print_error(
            "settings by recipient domain, sender group or client are simulated one by one, which"
            f" takes {len(points)} times as long as greyd replay; give fewer values to be quicker"
        )
    resolver = new_resolver(context.settings) if dns else None
    count = 1 if dns or _is_small(sources) else process_count()
    parts = divide(points, presets, count, shares_records=shares_records)
    replays: list[PartReplay | PartProcess] = []
    try:
        for part in parts:
            if count > 1:
                replays.append(PartProcess(part, warm_up_seconds))
            else:
                replays.append(PartReplay(part, warm_up_seconds, resolver))
        await replay_logs(context, sources, read, statistics, replays)
        results = [await each.result() for each in replays]
    finally:
        for each in replays:
            each.close()
        if resolver is not None:
            await resolver.close()
    not_read = NotRead.of(read)
    not_read.print_errors(note)
    require_mail(results[0].summary, statistics, read)
    for line in dns_lines([each for result in results for each in result.dns_counts]):
        print_error(line)
    return Tuning.of([*points, *presets], results), not_read


def _is_small(sources: Sequence[str]) -> bool:
    """Whether the logs are too small for processes to be worth their start."""
    from greyd.maillog.reader import total_bytes

    size = total_bytes(sources)
    return size is not None and size < MIN_BYTES_FOR_PROCESSES


def _with_greylisting(settings: Settings) -> Settings:
    """Return settings in mode on: in the others no mail waits, so there is nothing to compare."""
    if settings.mode == "on":
        return settings
    print_error(f"--mode={settings.mode}: the simulation uses --mode=on")
    return with_changes(settings, setting_changes([("mode", "on")], "greyd tune"))


def _write(context: CommandContext, tuning: Tuning, not_read: NotRead, html: Path | None) -> None:
    """Write the result as a page, a JSON document or text."""
    from greyd.cli.tune.json_document import as_json
    from greyd.cli.tune.text import print_tuning, verdict_lines

    if html is not None:
        from greyd.cli.report.page_file import write_page
        from greyd.cli.tune.page import render

        write_page(html, render(tuning, time.time()))
    context.print_json(as_json(tuning, not_read))
    if html is not None:
        context.print(*verdict_lines(tuning), f"wrote {html}")
    else:
        print_tuning(context, tuning)
