"""``python -m tests.outcome``: what greyd does to good and bad mail, compared with postgrey."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from tests.outcome import report
from tests.outcome.configurations import CONFIGURATIONS, PRESET_NAME
from tests.outcome.parameters import DAYS, Parameters
from tests.outcome.runs import run_all
from tests.outcome.variations import VARIATIONS

QUICK_DAYS = 6


def main() -> int:
    """Run the simulations that the command line asks for; return the exit status."""
    options = _options()
    started = time.monotonic()
    days = QUICK_DAYS if options.quick else options.days
    seeds = range(1, (1 if options.quick else options.seeds) + 1)
    worlds = [Parameters(seed=seed, days=days) for seed in seeds]
    names = options.config or [each.name for each in CONFIGURATIONS]
    configurations = [each for each in CONFIGURATIONS if each.name in names]
    results = run_all(worlds, configurations, processes=options.processes)
    _print(
        f"{days} days, {len(worlds)} seeds, compared with {results.baseline};"
        " in brackets the targets\n"
    )
    _print(report.ratios(results, configurations), "")
    _print("From the lowest to the highest ratio of all seeds:", "")
    _print(report.ranges(results, configurations), "")
    _print("In absolute numbers:", "")
    _print(report.shares(results), "")
    if options.kinds:
        for each in configurations:
            _print(each.name, "", report.kinds(results, each.name), "")
            _print(*report.reasons(results, each.name), "")
    if results.equals_postgrey is not None:
        outcome = "gives exactly" if results.equals_postgrey else "DOES NOT give"
        _print(f"greyd with everything off {outcome} postgrey's replies to this mail")
    if options.json:
        figures = report.as_json(results, configurations, worlds)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    if options.vary:
        _vary(worlds, options.processes)
    _print(f"{time.monotonic() - started:.0f} s")
    return 1 if results.equals_postgrey is False else 0


def _vary(worlds: list[Parameters], processes: int) -> None:
    preset = [each for each in CONFIGURATIONS if each.name == PRESET_NAME]
    lines = []
    for name, change in VARIATIONS.items():
        varied = [change(world) for world in worlds]
        results = run_all(varied, preset, with_postgrey=False, processes=processes)
        comparison = results.comparison(PRESET_NAME)
        ratios = comparison.ratios
        lines.append(
            [
                name,
                f"{ratios.good_delayed:.3f}",
                f"{ratios.mean_delay_seconds:.3f}",
                f"{ratios.codes_lost:.3f}",
                f"{ratios.spam_let_in:.2f}",
                f"{comparison.figures.bots_let_in:.2%}",
            ]
        )
    head = ["world", "good mail delayed", "mean delay", "codes lost", "spam let in", "bots let in"]
    _print("", "The preset in other worlds:", "", report.table([head, *lines]), "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.outcome", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of worlds (default: 3)")
    parser.add_argument("--days", type=int, default=DAYS, help=f"length (default: {DAYS})")
    parser.add_argument(
        "--config", action="append", choices=[each.name for each in CONFIGURATIONS],
        help="only these configurations; may be repeated",
    )  # fmt: skip
    parser.add_argument("--kinds", action="store_true", help="also show each kind of sender")
    parser.add_argument("--vary", action="store_true", help="also show the preset in other worlds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    parser.add_argument("--quick", action="store_true", help="one short world, some seconds")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="at a time (default: all cores)"
    )
    return parser.parse_args()


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
