"""Writes the figures as tables in Markdown, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.outcome.simulation import outages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.outcome.configurations import Configuration
    from tests.outcome.parameters import Parameters
    from tests.outcome.runs import Results

_COLUMNS = {
    "good_delayed": "good mail delayed",
    "mean_delay_seconds": "mean delay",
    "codes_lost": "codes lost",
    "spam_let_in": "spam let in",
    "bots_let_in": "bots let in",
}


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; the first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rows.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(rows)


def ratios(results: Results, configurations: Sequence[Configuration]) -> str:
    """Return the table of ratios to postgrey, with the targets in brackets."""
    lines = [["configuration", *_COLUMNS.values()]]
    for each in configurations:
        comparison = results.comparison(each.name)
        cells = [
            f"{getattr(comparison.ratios, name):.3f} ({getattr(each.targets, name):.2f})"
            for name in _COLUMNS
        ]
        if each.max_bots_let_in is not None:
            share = comparison.figures.bots_let_in
            cells[-1] = f"{share:.2%} ({each.max_bots_let_in:.1%})"
        lines.append([each.name, *cells])
    return table(lines)


def ranges(results: Results, configurations: Sequence[Configuration]) -> str:
    """Return the table of the smallest and largest ratio of all seeds."""
    lines = [["configuration", *_COLUMNS.values()]]
    for each in configurations:
        found = results.comparison(each.name)
        low, high = found.min_ratios, found.max_ratios
        lines.append(
            [
                each.name,
                *(f"{getattr(low, name):.3f} – {getattr(high, name):.3f}" for name in _COLUMNS),
            ]
        )
    return table(lines)


def shares(results: Results) -> str:
    """Return the table of absolute figures."""
    lines = [["run", *_COLUMNS.values()]]
    for name in results.outcomes:
        figures = results.comparison(name).figures
        lines.append(
            [
                name,
                f"{figures.good_delayed:.1%}",
                f"{figures.mean_delay_seconds:.0f} s",
                f"{figures.codes_lost:.1%}",
                f"{figures.spam_let_in:.1%}",
                f"{figures.bots_let_in:.2%}",
            ]
        )
    return table(lines)


def kinds(results: Results, name: str) -> str:
    """Return what a configuration did to each kind of sender, beside the baseline."""
    base = f"by {results.baseline}"
    head = ["sender", "mails", "delayed", "mean delay", "delivered"]
    lines = [[*head, f"delayed {base}", f"mean delay {base}"]]
    for kind in sorted(results.outcomes[name][0].kinds, key=lambda kind: _order(results, kind)):
        count, delayed, delivered, delay = _of_kind(results, name, kind)
        _, base_delayed, _, base_delay = _of_kind(results, results.baseline, kind)
        lines.append(
            [
                kind,
                f"{count:.0f}",
                f"{delayed:.1%}",
                f"{delay:.0f} s",
                f"{delivered:.1%}",
                f"{base_delayed:.1%}",
                f"{base_delay:.0f} s",
            ]
        )
    return table(lines)


def _of_kind(results: Results, name: str, kind: str) -> tuple[float, float, float, float]:
    """Return a kind's mails in a world, the shares delayed and delivered, and the mean delay."""
    found = [each.kinds[kind] for each in results.outcomes[name] if kind in each.kinds]
    count = sum(each.mail_count for each in found)
    delivered = sum(each.delivered_count for each in found)
    return (
        count / len(found),
        sum(each.delayed_count for each in found) / count,
        delivered / count,
        sum(each.delay_seconds for each in found) / max(delivered, 1),
    )


def _order(results: Results, kind: str) -> tuple[bool, int]:
    """Order kinds of senders: the good ones first, those with most mail first."""
    found = [each.kinds[kind] for each in results.outcomes[results.baseline] if kind in each.kinds]
    return not found[0].is_good, -sum(each.mail_count for each in found)


def reasons(results: Results, name: str, most: int = 6) -> Iterator[str]:
    """Yield, for each kind of sender, the most frequent reasons and signals at first attempts."""
    for kind in sorted(results.outcomes[name][0].kinds, key=lambda kind: _order(results, kind)):
        outcomes = [each.kinds[kind] for each in results.outcomes[name] if kind in each.kinds]
        counts = sum(
            (each.first_replies for each in outcomes), start=type(outcomes[0].first_replies)()
        )
        total = sum(counts.values())
        found = ", ".join(f"{why} {count / total:.1%}" for why, count in counts.most_common(most))
        yield f"{kind}: {found}"


def as_json(
    results: Results, configurations: Sequence[Configuration], worlds: Sequence[Parameters]
) -> dict[str, Any]:
    """Return all figures, and the worlds' parameters, for ``json.dump``."""
    return {
        "baseline": results.baseline,
        "equals_postgrey": results.equals_postgrey,
        "worlds": [asdict(each) for each in worlds],
        "faults": [[str(each) for each in outages(world)] for world in worlds],
        "runs": {
            name: {
                "figures": asdict(results.comparison(name).figures),
                "ratios": asdict(results.comparison(name).ratios),
                "min_ratios": asdict(results.comparison(name).min_ratios),
                "max_ratios": asdict(results.comparison(name).max_ratios),
                "requests": [each.request_count for each in results.outcomes[name]],
                "dns_questions": [each.question_count for each in results.outcomes[name]],
            }
            for name in results.outcomes
        },
        "targets": {each.name: asdict(each.targets) for each in configurations},
    }
