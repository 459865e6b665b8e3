"""Policy requests of the doctor, and how their answers are judged."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.listeners import TcpListener
from greyd.doctor.policy_request import PolicyAnswer, finding_of_answer, send_request

LISTENER = TcpListener("127.0.0.1", 10023)


@pytest.mark.parametrize(
    ("answered", "state", "seen"),
    [
        (PolicyAnswer("DUNNO", 0.002), State.OK, "2.0 ms"),
        (PolicyAnswer("DUNNO greyd 0.2.0", 0.002), State.OK, "2.0 ms"),
        (PolicyAnswer("DUNNO because I like you", 0.002), State.ERROR, "not greyd"),
        (PolicyAnswer("DUNNO", 1.5), State.WARNING, "1500.0 ms"),
        (PolicyAnswer("DEFER_IF_PERMIT Greylisted, see …", 0.01), State.ERROR, "not greyd"),
        (PolicyAnswer("", 0.01), State.ERROR, "not greyd"),
        (PolicyAnswer(fault="Connection refused"), State.ERROR, "Connection refused"),
        (PolicyAnswer(fault="Permission denied"), State.NOT_CHECKED, "no access"),
        (
            PolicyAnswer(fault="Cannot assign requested address"),
            State.NOT_CHECKED,
            "no such address",
        ),
    ],
)
def test_an_answer_is_judged(answered: PolicyAnswer, state: State, seen: str) -> None:
    found = finding_of_answer(LISTENER, answered)
    assert found.state is state
    assert seen in found.seen


def answer_of_a_server_that_sends(reply: bytes) -> PolicyAnswer:
    """Ask a server that answers anything with ``reply`` and closes."""

    async def do() -> PolicyAnswer:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\n\n")
            writer.write(reply)
            writer.close()

        listening = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            return await send_request(TcpListener("127.0.0.1", port))

    return asyncio.run(do())


def test_an_answer_of_any_bytes_can_be_shown_on_a_terminal() -> None:
    assert answer_of_a_server_that_sends(b"action=DUNNO\n\n").action == "DUNNO"
    assert "\x1b" not in answer_of_a_server_that_sends(b"action=\x1b[31mred\n\n").action
    assert answer_of_a_server_that_sends(b"").fault == "connection closed without an answer"
    assert (
        answer_of_a_server_that_sends(b"a" * 100_000 + b"\n\n").fault
        == "connection closed without an answer"
    )
    assert (
        answer_of_a_server_that_sends(b"HTTP/1.1 400 Bad Request\r\n\r\n").fault
        == "connection closed without an answer"
    )


def test_a_port_and_a_socket_on_which_nothing_listens_are_faults() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = TcpListener(*unused.getsockname())
        assert asyncio.run(send_request(place)).fault == "Connection refused"
    nowhere = Path("/nonexistent/socket")
    assert asyncio.run(send_request(nowhere)).fault == "No such file or directory"
