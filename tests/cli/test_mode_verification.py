"""``greyd mode`` reports whether the running servers have the mode in force."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from greyd.cli.mode import verification
from greyd.config.running.run_record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def metrics_of(*answers: Sequence[str]) -> Iterator[str]:
    """Serve metrics with these modes, one answer after the other; yield the address."""
    remaining = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines = ['greyd_build_info{version="0.2.0"} 1']
            if self.path == "/metrics":
                modes = remaining.pop(0) if len(remaining) > 1 else remaining[0]
                lines += [
                    f'greyd_mode{{mode="{each}"}} {int(each in modes)}'
                    for each in ("on", "learn", "off")
                ]
            body = "".join(f"{line}\n" for line in lines).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
