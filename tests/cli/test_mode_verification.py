"""``greyd mode`` reports whether the running servers have the mode in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.cli.mode import verification
from greyd.config.running.run_record import RunRecord
from tests.metrics_port import metrics_port

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence


def metrics_of(*answers: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    """Serve metrics with these modes, one answer after the other; yield the address."""
    remaining = list(answers)

    def answer(path: str) -> str:
        lines = ['greyd_build_info{version="0.2.0"} 1']
        if path == "/metrics":
            modes = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            lines += [
                f'greyd_mode{{mode="{each}"}} {int(each in modes)}'
                for each in ("on", "learn", "off")
            ]
        return "".join(f"{line}\n" for line in lines)

    return metrics_port(answer)


def server_with(metrics: str | None, *options: tuple[str, str]) -> RunRecord:
    return RunRecord(
        pid=4711,
        version="0.2.0",
        started_at=1_794_000_000,
        sockets=("inet:127.0.0.1:10023",),
        metrics=metrics,
        store="memory://",
        options=options,
    )


def outcome(server: RunRecord, mode: str | None) -> str:
    (verified,) = asyncio.run(verification.verify_mode([server], mode))
    return str(verified)


@pytest.mark.parametrize(
    ("answers", "mode", "options"),
    [
        ([["off"]], "off", ()),
        ([["on"], ["on"], ["off"]], "off", ()),
        # One of the workers is late.
        ([["on"], ["on", "off"], ["off"]], "off", ()),
        ([["learn"], ["on"]], None, ()),
        ([["off"], ["learn"]], None, (("mode", "learn"),)),
    ],
)
def test_the_command_waits_until_all_workers_have_the_mode(
    answers: list[list[str]], mode: str | None, options: tuple[tuple[str, str], ...]
) -> None:
    with metrics_of(*answers) as address:
        found = outcome(server_with(address, *options), mode)
    assert found == "in force on server 4711 on 127.0.0.1:10023"


@pytest.mark.parametrize("shown", [["on"], ["on", "off"]])
def test_a_server_that_keeps_its_mode_is_not_in_force(
    monkeypatch: pytest.MonkeyPatch, shown: list[str]
) -> None:
    monkeypatch.setattr(verification, "VERIFY_TIMEOUT_SECONDS", 0.2)
    with metrics_of(shown) as address:
        found = outcome(server_with(address), "off")
    server = "server 4711 on 127.0.0.1:10023"
    assert found.startswith(f"not in force on {server}: its mode is {' and '.join(shown)} ")
    assert "greyd doctor" in found


def test_a_server_that_cannot_be_asked_is_not_verified() -> None:
    assert "it has no metrics port; it applies the mode" in outcome(server_with(None), "off")
    with metrics_of([]) as address:
        pass
    found = outcome(server_with(address), "off")
    assert found.startswith("not verified on server 4711 ")
    assert "its metrics port does not answer" in found
