"""A fast DNS server on loopback that answers each question after a fixed time.

``python -m tests.benchmarks.name_server [--delay=0.02]`` writes its port, and answers until it is
terminated. At SIGTERM it writes the number of questions by type.

It invents an orderly world: each name has an address (for HELO names), each domain an exchanger and
an SPF record that passes 10.0.0.0/16 to 10.255.0.0/16 one by one, and no list lists anybody. So the
clean clients of ``tests.benchmarks.load`` cost all questions that a clean client can cost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter, deque

TYPES = {1: "A", 15: "MX", 16: "TXT", 28: "AAAA"}
LISTS = (b"spamhaus", b"dnswl")
TEST_ENTRIES = (b"\x012\x010\x010\x03127", b"\x04test\x03", b"\x07dbltest\x03com")
"""How the names begin that each list must list (RFC 5782): 127.0.0.2 and a domain for tests."""
TTL_SECONDS = 300

_HEADER_BYTES = 12
_POINTER_TO_QUESTION = b"\xc0\x0c"
_ANSWERED, _NXDOMAIN = b"\x81\x80", b"\x81\x83"


def main() -> None:
    """Answer until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds to each answer")
    delay_seconds = parser.parse_args().delay
    signal.signal(signal.SIGTERM, _stop)
    counts: Counter[str] = Counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        sys.stdout.write(f"{server.getsockname()[1]}\n")
        sys.stdout.flush()
        try:
            _serve(server, delay_seconds, counts)
        except KeyboardInterrupt:
            # The benchmark itself does not read this any more.
            with contextlib.suppress(BrokenPipeError):
                sys.stdout.write(json.dumps(counts) + "\n")
                sys.stdout.flush()


def _stop(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _serve(server: socket.socket, delay_seconds: float, counts: Counter[str]) -> None:
    waiting: deque[tuple[float, bytes, tuple[str, int]]] = deque()
    while True:
        timeout = max(waiting[0][0] - time.monotonic(), 0) if waiting else None
        if select.select([server], [], [], timeout)[0]:
            due = time.monotonic() + delay_seconds
            try:
                while True:
                    question, client = server.recvfrom(512)
                    waiting.append((due, answer(question, counts), client))
            except BlockingIOError:
                pass
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, reply, client = waiting.popleft()
            server.sendto(reply, client)


def answer(question: bytes, counts: Counter[str]) -> bytes:
    """Return the response to a question, without EDNS."""
    end = question.index(b"\0", _HEADER_BYTES) + 1
    name = question[_HEADER_BYTES:end].lower()
    (number,) = struct.unpack_from("!H", question, end)
    counts[TYPES.get(number, str(number))] += 1
    is_list = any(each in name for each in LISTS)
    is_entry = is_list and number == 1 and name.startswith(TEST_ENTRIES)
    exists = is_entry or not is_list
    data = _listing(name) if is_entry else None if is_list else _data(number)
    head = question[:2] + (_ANSWERED if exists else _NXDOMAIN) + b"\0\1"
    head += b"\0\1\0\0\0\0" if data is not None else b"\0\0\0\0\0\0"
    text = question[_HEADER_BYTES : end + 4]
    if data is None:
        return head + text
    record = struct.pack("!HHIH", number, 1, TTL_SECONDS, len(data))
    return head + text + _POINTER_TO_QUESTION + record + data


def _listing(name: bytes) -> bytes:
    return bytes([127, 0, 1, 2]) if b"\3dbl\x08spamhaus" in name else bytes([127, 0, 0, 2])


def _data(number: int) -> bytes | None:
    """Return the data of the only record of a type."""
    if number == 1:
        return bytes([192, 0, 2, 25])
    if number == 15:
        return b"\0\x0a\2mx" + _POINTER_TO_QUESTION
    if number == 16:
        record = b"v=spf1 ip4:10.0.0.0/9 ip4:10.128.0.0/9 -all"
        return bytes([len(record)]) + record
    return None


if __name__ == "__main__":
    main()
