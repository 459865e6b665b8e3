"""The log: lines in order, harmless, and never a reason for mail to wait."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.escaping import percent_encode
from greyd.monitoring.log import DirectLog, Line, Log, Severity, StreamSink, SyslogSink, render_json
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Kept:
    """A sink that keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, lines: Sequence[Line]) -> None:
        self.lines += lines

    @property
    def texts(self) -> list[bytes]:
        return [line.text for line in self.lines]


@pytest.fixture
def kept() -> Kept:
    return Kept()


# Lines --------------------------------------------------------------------------------------------


def test_lines_come_out_in_the_order_they_went_in(kept: Kept) -> None:
    log = Log(kept)
    for number in range(5000):
        log.write(Severity.INFO, b"%d" % number)
    log.close()
    assert kept.texts == [b"%d" % number for number in range(5000)]


def test_gathered_lines_are_handed_over_together_and_once(kept: Kept) -> None:
    log = Log(kept)
    asked = []
    log.batch(lambda: asked.append(True))
    for number in range(3):
        log.write(Severity.INFO, b"%d" % number)
    assert asked == [True]
    assert kept.texts == []
    log.flush()
    log.write(Severity.INFO, b"3")
    assert asked == [True, True]
    log.close()
    assert kept.texts == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (Severity.NOTICE, ["error: e", "warning: w", "n"]),
        (Severity.INFO, ["error: e", "warning: w", "n", "i"]),
        (Severity.DEBUG, ["error: e", "warning: w", "n", "i", "d"]),
    ],
)
def test_quiet_and_verbose_say_less_and_more(kept: Kept, most: Severity, said: list[str]) -> None:
    log = Log(kept, most)
    log.error("e")
    log.warning("w")
    log.notice("n")
    log.info("i")
    log.log(Severity.DEBUG, "d")
    log.close()
    assert [text.decode() for text in kept.texts] == said
    assert kept.lines[0].severity == Severity.ERROR


def test_a_line_of_the_server_itself_is_one_line_whatever_it_tells_of(kept: Kept) -> None:
    log = Log(kept)
    log.info("a\nb\rc\x1b[31m\udcff é")
    log.close()
    (text,) = kept.texts
    assert text.decode() == "a?b?c?[31m? é"


def test_as_json_every_line_is_an_object_with_time_and_level(kept: Kept) -> None:
    log = Log(kept, as_json=True)
    log.warning('a "quoted"\nthing')
    log.write(Severity.INFO, render_json({"action": "pass", "sender": "é\n"}, Severity.INFO))
    log.close()
    first, second = (json.loads(text) for text in kept.texts)
    assert (first["level"], first["message"]) == ("warning", 'warning: a "quoted"?thing')
    assert second == {"time": second["time"], "level": "info", "action": "pass", "sender": "é\n"}
    for event in (first, second):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    assert all(b"\n" not in text for text in kept.texts)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"a@example.org", b"a@example.org"),
        (b"\xe912@ex.org", b"%E912@ex.org"),
        (b"  \t ", b"  %09 "),
        (b"a\0b", b"a%00b"),
        (b"\x1f\x7f\x80\xa0\xff", b"%1F%7F%80%A0%FF"),
        ("ü@x".encode(), b"%C3%BC@x"),
        (b"a\nb\r", b"a%0Ab%0D"),
        (b"100%", b"100%"),
        (bytes(range(0x20, 0x7F)), bytes(range(0x20, 0x7F))),
        (b"", b""),
    ],
)
def test_what_is_not_printable_ascii_is_written_as_postgrey_does(data: bytes, shown: bytes) -> None:
    assert percent_encode(data) == shown


@given(st.binary(max_size=100))
def test_no_bytes_make_a_second_line(data: bytes) -> None:
    assert re.fullmatch(rb"[ -~]*", percent_encode(data))


# Streams ------------------------------------------------------------------------------------------


class SmallLog(Log):
    """A log that lets few lines wait."""

    MAX_WAITING = 500


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Open a pipe; yields its reading and its writing end."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        for end in (reader, writer):
            with contextlib.suppress(OSError):
                os.close(end)


class Reader(threading.Thread):
    """Reads a pipe to its end, once it is started."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True)
        self._descriptor = descriptor
        self.data = b""

    def run(self) -> None:
        while data := os.read(self._descriptor, 65536):
            self.data += data

    @property
    def lines(self) -> list[bytes]:
        return self.data.split(b"\n")[:-1]


def test_a_log_without_a_thread_writes_at_once_and_never_waits_for_its_reader() -> None:
    with pipe() as (reader, writer):
        log = DirectLog(StreamSink(writer), Severity.NOTICE, as_json=False)
        log.error("one\ntwo")
        log.notice("three")
        log.info("not asked for")
        assert os.read(reader, 65536) == b"error: one?two\nthree\n"
        for _ in range(10_000):
            log.notice("nobody reads this")
        assert os.read(reader, 1 << 20).endswith(b"nobody reads this\n")
        log.notice("read again")
        assert os.read(reader, 65536).endswith(b"read again\n")
        as_json = DirectLog(StreamSink(writer), Severity.NOTICE, as_json=True)
        as_json.error("one")
        event = json.loads(os.read(reader, 65536))
        assert (event["level"], event["message"]) == ("error", "error: one")


def test_a_log_without_a_thread_survives_that_its_reader_is_gone(tmp_path: Path) -> None:
    with pipe() as (reader, writer):
        log = DirectLog(StreamSink(writer), Severity.INFO, as_json=False)
        os.close(reader)
        log.error("nobody is there")
    DirectLog(SyslogSink("x", 2, str(tmp_path / "log")), Severity.INFO, as_json=False).error("one")


def test_a_stream_gets_whole_lines() -> None:
    with pipe() as (reader, writer):
        log = Log(StreamSink(writer))
        log.info("one")
        log.info("two")
        log.close()
        assert os.read(reader, 1000) == b"one\ntwo\n"


def test_a_reader_that_stopped_reading_blocks_nobody_and_what_is_lost_is_counted() -> None:
    line = b"x" * 1000
    with pipe() as (descriptor, writer):
        log = SmallLog(StreamSink(writer))
        # The pipe holds 64 KiB, so this would block here for ever if it blocked at all.
        for _ in range(5000):
            log.write(Severity.INFO, line)
        reader = Reader(descriptor)
        reader.start()
        # There is room again as soon as the reader has caught up.
        wait_until(lambda: len(reader.lines) >= SmallLog.MAX_WAITING, "the reader catches up")

        def told() -> bool:
            log.write(Severity.INFO, b"later")
            return any(b"dropped" in text for text in reader.lines)

        wait_until(told, "the loss is told")
        log.close()
        os.close(writer)
        reader.join(10)
    dropped = sum(
        int(found[1])
        for text in reader.lines
        if (found := re.match(rb"warning: (\d+) log lines were dropped", text))
    )
    written = reader.lines.count(line)
    assert written >= SmallLog.MAX_WAITING - 1
    assert written + dropped == 5000


def test_closing_gives_up_on_a_reader_that_does_not_read() -> None:
    with pipe() as (descriptor, writer):
        log = Log(StreamSink(writer))
        for _ in range(200):
            log.write(Severity.INFO, b"x" * 1000)
        closing = threading.Thread(target=lambda: log.close(0.05), daemon=True)
        closing.start()
        closing.join(10)
        assert not closing.is_alive()
        # Let the log's thread, which still writes, come to its end.
        reader = Reader(descriptor)
        reader.start()
        wait_until(lambda: len(reader.lines) == 200, "the log's thread has written all")
        os.close(writer)
        reader.join(10)


def test_a_reader_that_is_gone_is_no_error_and_what_is_lost_is_counted() -> None:
    with pipe() as (descriptor, writer):
        os.close(descriptor)
        log = Log(StreamSink(writer))
        for _ in range(100):
            log.write(Severity.INFO, b"x")
        log.close()


class Failing(Kept):
    """A sink that fails until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.mended = False
        self.failed = threading.Event()

    def write(self, lines: Sequence[Line]) -> None:
        if not self.mended:
            self.failed.set()
            raise OSError("away")
        super().write(lines)


def test_lines_lost_to_a_fault_are_told_when_it_is_over() -> None:
    sink = Failing()
    log = Log(sink)
    log.write(Severity.INFO, b"lost")
    assert sink.failed.wait(10)
    sink.mended = True

    def told() -> bool:
        log.write(Severity.INFO, b"fine")
        return b"warning: 1 log lines were dropped, the reader is too slow" in sink.texts

    wait_until(told, "the loss is told")
    log.close()
    assert b"lost" not in sink.texts


class Gate(Kept):
    """A sink that can be blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()

    def write(self, lines: Sequence[Line]) -> None:
        self.open.wait()
        super().write(lines)


def test_the_bound_holds_though_two_threads_count() -> None:
    sink = Gate()
    log = Log(sink)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(1, 100_001):
            log.write(Severity.INFO, b"before")
            if number % 1000 == 0:
                # Without a pause: the threads are to interrupt each other.
                until = time.monotonic() + 10
                while len(sink.lines) < number and time.monotonic() < until:
                    pass
    finally:
        sys.setswitchinterval(interval)
    sink.open.clear()
    for _ in range(2 * Log.MAX_WAITING):
        log.write(Severity.INFO, b"blocked")
    sink.open.set()
    log.close(30)
    assert abs(sink.texts.count(b"blocked") - Log.MAX_WAITING) <= 1


# Syslog -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def syslog(path: Path) -> Iterator[socket.socket]:
    """Listen as a syslog daemon does."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(10)
        yield listening


# The sink has no end of its own: it lives as long as the process.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
class TestSyslog:
    def test_each_line_is_a_datagram_with_priority_name_and_process(self, tmp_path: Path) -> None:
        with syslog(tmp_path / "log") as listening:
            log = Log(SyslogSink("mx", 2, str(tmp_path / "log")))
            log.info("one")
            log.warning("two")
            assert listening.recv(2000) == b"<22>mx[%d]: one" % os.getpid()
            assert listening.recv(2000) == b"<20>mx[%d]: warning: two" % os.getpid()
            log.close()

    @pytest.mark.parametrize(
        ("facility", "severity", "priority"),
        [(2, Severity.INFO, 22), (3, Severity.ERROR, 27), (23, Severity.DEBUG, 191)],
    )
    def test_the_priority_is_facility_and_severity(
        self, tmp_path: Path, facility: int, severity: Severity, priority: int
    ) -> None:
        with syslog(tmp_path / "log") as listening:
            SyslogSink("x", facility, str(tmp_path / "log")).write([Line(severity, b"t")])
            assert listening.recv(2000).startswith(b"<%d>x[" % priority)

    def test_a_syslog_that_was_started_anew_gets_the_next_line(self, tmp_path: Path) -> None:
        sink = SyslogSink("x", 2, str(tmp_path / "log"))
        for number in range(3):
            with syslog(tmp_path / "log") as listening:
                sink.write([Line(Severity.INFO, b"%d" % number)])
                assert listening.recv(2000).endswith(b": %d" % number)

    def test_a_syslog_that_comes_later_is_found(self, tmp_path: Path) -> None:
        sink = SyslogSink("x", 2, str(tmp_path / "log"))
        with pytest.raises(OSError, match="No such file"):
            sink.write([Line(Severity.INFO, b"lost")])
        with syslog(tmp_path / "log") as listening:
            sink.write([Line(Severity.INFO, b"found")])
            assert listening.recv(2000).endswith(b": found")

    def test_a_syslog_that_is_gone_is_no_error_for_the_log(self, tmp_path: Path) -> None:
        log = Log(SyslogSink("x", 2, str(tmp_path / "log")))
        for _ in range(100):
            log.info("lost")
        with syslog(tmp_path / "log") as listening:
            log.info("found")
            texts = []
            while not texts or not texts[-1].endswith(b": found"):
                texts.append(listening.recv(2000))
            log.close()
        told = [
            int(n) for text in texts for n in re.findall(rb"(\d+) log lines were dropped", text)
        ]
        assert sum(told) <= 100

    def test_a_new_socket_does_not_leave_the_old_one_open(self, tmp_path: Path) -> None:
        sink = SyslogSink("x", 2, str(tmp_path / "log"))
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            with syslog(tmp_path / "log"):
                sink.write([Line(Severity.INFO, b"x")])
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
