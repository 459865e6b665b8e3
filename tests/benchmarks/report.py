"""What was measured, told: medians and ratios, a table, a plot."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BASE = "postgrey-disk"
"""What ratios refer to."""

PLAIN = "greyd-sqlite"
"""What the second ratio refers to: greyd without evidence, on the same store as the preset."""

FIGURES = (
    "requests_per_second",
    "p50_ms",
    "p90_ms",
    "p99_ms",
    "max_ms",
    "server_cpu_us",
    "redis_cpu_us",
    "generator_cpu_us",
    "generator_busy",
)

GENERATOR_LIMITS = 0.8
"""From this share of its time on, the generator is what is being measured."""


# Figures ----------------------------------------------------------------------------------------


def machine(folder: Path) -> dict[str, Any]:
    """Describe this machine, and the disk that a folder is on."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file_system": _file_system(folder.resolve()),
        "load_average_before": os.getloadavg()[0],
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    under = [mount for mount in mounts if folder.is_relative_to(mount[1])]
    return max(under, key=lambda mount: len(mount[1]))[2] if under else "unknown"


def summarise(
    machine: dict[str, Any], about: dict[str, dict[str, Any]], runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return all that is known: medians and ratios first, every single run last."""
    medians = _medians(runs)
    _add_ratios(medians, "ratio", BASE)
    _add_ratios(medians, "ratio_to_plain", PLAIN)
    for each in about.values():
        each["start_seconds_median"] = statistics.median(each["start_seconds"])
    return {
        "machine": machine,
        "servers": about,
        "ratio_to": BASE if any(each["server"] == BASE for each in medians) else None,
        "medians": medians,
        "faults": list(_faults(runs)),
        "runs": list(runs),
    }


def _add_ratios(medians: Sequence[dict[str, Any]], name: str, base: str) -> None:
    """Add each server's speed relative to the base's under the same load, None without one."""
    speeds = {
        _load(each): each["requests_per_second"] for each in medians if each["server"] == base
    }
    for each in medians:
        speed = speeds.get(_load(each))
        each[name] = round(each["requests_per_second"] / speed, 2) if speed else None


def _load(run: dict[str, Any]) -> tuple[str, int, float | None]:
    return run["mode"], run["connections"], run["rate"]


def _medians(runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        if "error" not in run:
            grouped.setdefault((*_load(run), run["server"]), []).append(run)
    return [
        {
            "server": server,
            "mode": mode,
            "connections": connections,
            "rate": rate,
            "rounds": len(rounds),
            "lowest": min(run["requests_per_second"] for run in rounds),
            "highest": max(run["requests_per_second"] for run in rounds),
            **{
                figure: statistics.median(run[figure] for run in rounds)
                for figure in FIGURES
                if figure in rounds[0]
            },
        }
        for (mode, connections, rate, server), rounds in grouped.items()
    ]


def _faults(runs: Iterable[dict[str, Any]]) -> Iterable[str]:
    for run in runs:
        where = f"{run['server']}, {run['mode']}, {run['connections']} connections"
        if "error" in run:
            yield f"{where}: {run['error']}"
        elif run["wrong"]:
            yield f"{where}: {run['wrong']} wrong answers: {run['answers']}"


# The table --------------------------------------------------------------------------------------


def table(results: dict[str, Any]) -> str:
    """Return the figures as text for a terminal."""
    blocks = ["\n".join(describe(results, width=100))]
    loads = dict.fromkeys(_load(each) for each in results["medians"])
    blocks += [_load_table(results, load) for load in loads]
    blocks.append(_server_table(results))
    if results["faults"]:
        blocks.append("\n".join(["WRONG", *results["faults"]]))
    return "\n\n".join(blocks) + "\n"


def describe(results: dict[str, Any], width: int) -> list[str]:
    """Return lines on the machine and the servers' versions and durability."""
    about = results["machine"]
    machine = (
        f"{about['date']}, {about['cores']} cores ({about['processor']}), {about['kernel']}, "
        f"Python {about['python']}, {about['file_system']}; load average "
        f"{about['load_average_before']:.1f} before, {about['load_average_after']:.1f} after"
    )
    servers = [
        f"{name}: {each['version']}; {each['durability']}"
        for name, each in results["servers"].items()
    ]
    return [line for text in (machine, *servers) for line in textwrap.wrap(text, width)]


def _load_table(results: dict[str, Any], load: tuple[str, int, float | None]) -> str:
    mode, connections, rate = load
    loop = f"open loop at {rate:g} requests/s" if rate else "closed loop"
    columns = (
        "server,requests/s,of all rounds,ratio,to plain greyd,p50 ms,p99 ms,CPU us,Redis us,"
        "generator"
    )
    rows = [columns.split(",")]
    for each in results["medians"]:
        if _load(each) == load:
            busy = each["generator_busy"]
            rows.append(
                [
                    each["server"],
                    f"{each['requests_per_second']:,.0f}",
                    f"{each['lowest']:,.0f}-{each['highest']:,.0f}",
                    _or_dash(None if rate else each["ratio"], ".1f"),
                    _or_dash(None if rate else each["ratio_to_plain"], ".2f"),
                    f"{each['p50_ms']:.2f}",
                    f"{each['p99_ms']:.2f}",
                    _or_dash(each.get("server_cpu_us"), ".0f"),
                    _or_dash(each.get("redis_cpu_us"), ".0f"),
                    f"{busy:.0%}" + (" LIMITS" if busy > GENERATOR_LIMITS else ""),
                ]
            )
    return "\n".join([f"{mode}, {connections} connections, {loop}", *_align(rows)])


def _server_table(results: dict[str, Any]) -> str:
    rows = [["server", "start to answer s", "memory idle MB", "after MB", "requests"]]
    for name, each in results["servers"].items():
        rows.append(
            [
                name,
                f"{each['start_seconds_median']:.2f}",
                f"{each['memory_idle_mb']:.0f}",
                f"{each['memory_after_mb']:.0f}",
                f"{each['answered']:,}",
            ]
        )
    return "\n".join(["start and resident memory", *_align(rows)])


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + row[0].ljust(widths[0]) + "".join(
            "  " + text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)
        )
        for row in rows
    ]  # fmt: skip


# The plot ---------------------------------------------------------------------------------------

# Okabe and Ito's colours, which can be told apart with any eyes.
_LOOKS = {
    "greyd-sqlite": ("#0072b2", "o", "-"),
    "greyd-preset": ("#009e73", "P", "-"),
    "greyd-redis": ("#d55e00", "s", "-"),
    "greyd-redis-2": ("#e69f00", "D", "-"),
    "postgrey-disk": ("#000000", "^", "--"),
    "postgrey-memory": ("#888888", "v", "--"),
    "sqlgrey": ("#cc79a7", "<", ":"),
    "gross": ("#56b4e9", ">", ":"),
}


def plot(results: dict[str, Any], file: Path) -> None:
    """Draw throughput and p99 over connections, each mode side by side; needs matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError:
        sys.stderr.write(f"no {file}: matplotlib is missing; pip install 'greyd[bench]'\n")
        return
    mpl.use("agg")
    from matplotlib import pyplot as plt

    panels = (("requests_per_second", "requests/s"), ("p99_ms", "p99 latency in ms"))
    # The known alone are measured at one number of connections: no line to draw.
    closed = [
        each for each in results["medians"] if each["rate"] is None and each["mode"] != "known"
    ]
    modes = list(dict.fromkeys(each["mode"] for each in closed))
    figure, axes = plt.subplots(
        len(panels), len(modes), figsize=(10, 9), sharex=True, sharey="row", squeeze=False
    )
    for row, (key, label) in zip(axes, panels, strict=True):
        row[0].set_ylabel(label)
        for panel, mode in zip(row, modes, strict=True):
            _draw(panel, [each for each in closed if each["mode"] == mode], key)
    for panel, mode in zip(axes[0], modes, strict=True):
        panel.set_title(f"{mode} (closed loop)")
    for panel in axes[-1]:
        panel.set_xlabel("connections")
    figure.suptitle("greyd beside other servers, medians of alternate rounds", fontweight="bold")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(),
        loc="upper center", bbox_to_anchor=(0.5, 0.955), ncols=len(_LOOKS) // 2, frameon=False,
    )  # fmt: skip
    notes = describe(results, width=130)
    figure.text(0.01, 0.01, "\n".join(notes), fontsize=8, va="bottom")
    figure.subplots_adjust(
        left=0.09, right=0.98, top=0.87, bottom=0.07 + 0.0155 * len(notes), wspace=0.05, hspace=0.08
    )
    figure.savefig(file)
    plt.close(figure)


def _draw(panel: Any, medians: list[dict[str, Any]], key: str) -> None:
    for server, (colour, marker, line) in _LOOKS.items():
        points = [(each["connections"], each[key]) for each in medians if each["server"] == server]
        if points:
            panel.plot(*zip(*points, strict=True), line, label=server, color=colour, marker=marker)
    from matplotlib import ticker

    panel.set_xscale("log")
    panel.set_yscale("log")
    connections = sorted({each["connections"] for each in medians})
    panel.set_xticks(connections, labels=[str(each) for each in connections])
    panel.minorticks_off()
    panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    panel.grid(alpha=0.3)
