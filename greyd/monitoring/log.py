"""Writes log lines to standard error or syslog, in a separate thread.

Requests must not wait for the log. Lines are collected for up to ``Log.FLUSH_SECONDS`` and passed
to the thread; only the thread may block, e.g. on a full pipe or a hanging syslog. The queue is
bounded: further lines are dropped, and their number is logged when the queue has room again.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import socket
import stat
import sys
import threading
import time
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from greyd.runtime.supervision import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Severity(IntEnum):
    """Severities of syslog (RFC 5424, 6.2.1)."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Line(NamedTuple):
    """One line of the log."""

    severity: Severity
    text: bytes


class Sink(Protocol):
    """Writes lines. Its methods run in the log's thread, and may block."""

    def write(self, lines: Sequence[Line]) -> None:
        """Write the lines.

        Raises:
            OSError: writing failed; the lines are lost.
        """


class StreamSink:
    """Writes lines to a file descriptor, without a prefix."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Several workers share a pipe, which never splits a write of up to PIPE_BUF bytes.
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._max_bytes = sys.maxsize if regular else select.PIPE_BUF

    def write(self, lines: Sequence[Line]) -> None:
        """Write all lines, several in one system call."""
        texts = [text for _, text in lines]
        start = data = 0
        if sum(map(len, texts)) + len(texts) > self._max_bytes:
            for place, text in enumerate(texts):
                data += len(text) + 1
                if data > self._max_bytes:
                    self._write(texts[start:place])
                    start, data = place, len(text) + 1
        self._write(texts[start:])

    def is_writable(self) -> bool:
        """Whether a line can be written without waiting for a reader."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))

    def _write(self, texts: Sequence[bytes]) -> None:
        rest = memoryview(b"\n".join([*texts, b""]))
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Another process on this pipe has made it non-blocking; this thread may wait.
                select.select([], [self._descriptor], [])


class SyslogSink:
    """Sends lines to the local syslog (the format of RFC 3164 without a date, like syslog(3))."""

    def __init__(self, ident: str, facility: int, address: str = "/dev/log") -> None:
        self._ident = ident.encode()
        self._facility = facility
        self._address = address
        self._socket: socket.socket | None = None

    def write(self, lines: Sequence[Line]) -> None:
        """Send each line as a datagram; connect first if necessary."""
        for severity, text in lines:
            priority = self._facility * 8 + severity
            self._send(b"<%d>%b[%d]: %b" % (priority, self._ident, os.getpid(), text))

    def is_writable(self) -> bool:
        """Whether a line can be written without waiting for syslog."""
        poll = select.poll()
        poll.register(self._connected(), select.POLLOUT)
        return bool(poll.poll(0))

    def _send(self, datagram: bytes) -> None:
        try:
            self._connected().send(datagram)
        except OSError:
            # syslog has restarted with a new socket: connect to it and try once more.
            self._socket = None
            self._connected().send(datagram)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            connecting = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                connecting.connect(self._address)
            except OSError:
                connecting.close()
                raise
            self._socket = connecting
        return self._socket


class BaseLog:
    """A log of the server's events; a subclass writes the lines."""

    def __init__(self, most: Severity, *, as_json: bool) -> None:
        self.most = most
        """Lines of this and of higher severities are written."""
        self.as_json = as_json

    def write(self, severity: Severity, text: bytes) -> None:
        """Write one line, which must not contain control characters. Never blocks."""
        raise NotImplementedError

    def log(self, severity: Severity, message: str) -> None:
        """Log a message, as text or in JSON, if its severity is to be written."""
        if severity <= self.most:
            text = "".join(each if each.isprintable() else "?" for each in message)
            line = text.encode(errors="backslashreplace")
            self.write(severity, render_json({"message": text}, severity) if self.as_json else line)

    def error(self, message: str) -> None:
        """Log an error."""
        self.log(Severity.ERROR, "error: " + message)

    def warning(self, message: str) -> None:
        """Log a warning."""
        self.log(Severity.WARNING, "warning: " + message)

    def notice(self, message: str) -> None:
        """Log an event that a postmaster should know."""
        self.log(Severity.NOTICE, message)

    def info(self, message: str) -> None:
        """Log an event of normal operation."""
        self.log(Severity.INFO, message)


class DirectLog(BaseLog):
    """Writes each line at once; for a process without threads that logs few lines.

    A line is dropped if writing it would block.
    """

    def __init__(self, sink: StreamSink | SyslogSink, most: Severity, *, as_json: bool) -> None:
        super().__init__(most, as_json=as_json)
        self._sink = sink

    def write(self, severity: Severity, text: bytes) -> None:
        """Write one line."""
        with contextlib.suppress(OSError):
            if self._sink.is_writable():
                self._sink.write([Line(severity, text)])


class Log(BaseLog):
    """Queues log lines, and writes them in a thread.

    While ``MAX_WAITING`` lines are queued, further lines are dropped.
    """

    MAX_WAITING = 20_000
    FLUSH_SECONDS = 0.02
    PATIENCE_SECONDS = 0.001
    """Maximum time that ``flush`` waits for the thread to write."""

    def __init__(
        self, sink: Sink, most: Severity = Severity.INFO, *, as_json: bool = False
    ) -> None:
        super().__init__(most, as_json=as_json)
        self._sink = sink
        self._waiting: list[Line] = []
        self._handed: queue.SimpleQueue[list[Line] | None] = queue.SimpleQueue()
        # Each of these counts is changed by one thread only, so they need no lock.
        self._handed_lines = 0
        self._written_lines = 0
        self._dropped = 0
        self._lost = 0
        self._reported = 0
        self._schedule_flush: Callable[[], object] | None = None
        self._flush_is_due = False
        self._failed: Callable[[Exception, float], object] | None = None
        self._closing = threading.Event()
        # The thread releases this lock each time it has written a batch.
        self._written = threading.Lock()
        self._written.acquire()
        self.thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        """Writes the queued lines until the log is closed."""
        self.thread.start()

    def batch(self, schedule_flush: Callable[[], object] | None) -> None:
        """Set whether lines are collected in batches; at first they are not.

        Args:
            schedule_flush: called with no arguments at the first line of a batch; has to cause a
                later call of ``flush``. None passes each line to the thread at once.
        """
        self._schedule_flush = schedule_flush
        self.flush()

    def on_failure(self, failed: Callable[[Exception, float], object]) -> None:
        """Set a function to call, in the log's thread, when an unexpected error has lost lines.

        Args:
            failed: its arguments are the error, and the seconds until the thread continues.
        """
        self._failed = failed

    def write(self, severity: Severity, text: bytes) -> None:
        """Write one line, which must not contain control characters. Never blocks."""
        self.write_all(severity, (text,))

    def write_all(self, severity: Severity, texts: Sequence[bytes]) -> None:
        """Write lines of one severity, see ``write``."""
        room = self._room()
        self._dropped += max(len(texts) - room, 0)
        self._waiting += [Line(severity, text) for text in texts[:room]]
        if self._schedule_flush is None:
            self.flush()
        elif self._waiting and not self._flush_is_due:
            self._flush_is_due = True
            self._schedule_flush()

    def flush(self) -> None:
        """Pass the collected lines to the thread."""
        self._flush_is_due = False
        missing = self._dropped + self._lost - self._reported
        if missing and self._room():
            text = b"warning: %d log lines were dropped, the reader is too slow" % missing
            self._waiting.append(Line(Severity.WARNING, text))
            self._reported += missing
        if self._waiting:
            lines, self._waiting = self._waiting, []
            self._handed_lines += len(lines)
            self._written.acquire(blocking=False)
            self._handed.put(lines)
            if self._schedule_flush is not None:
                # A busy event loop releases the interpreter often but briefly, and each release
                # wakes the thread in vain. It is faster to wait here until the thread has written.
                self._written.acquire(timeout=self.PATIENCE_SECONDS)

    def _room(self) -> int:
        in_thread = self._handed_lines - self._written_lines
        return max(self.MAX_WAITING - in_thread - len(self._waiting), 0)

    def close(self, seconds: float = 0.5) -> None:
        """Write the queued lines and end the thread; wait for at most ``seconds``."""
        self._schedule_flush = None
        self.flush()
        self._handed.put(None)
        self._closing.set()
        self.thread.join(seconds)

    def _write_all(self) -> None:
        """Write lines until the log is closed. Continues after any error, with a backoff."""
        backoff = Backoff()
        while True:
            started_at = time.monotonic()
            try:
                self._write_handed()
            except Exception as error:  # noqa: BLE001 - whatever it is, the log must go on
                seconds = backoff.seconds_after(time.monotonic() - started_at)
                if self._failed is not None:
                    with contextlib.suppress(Exception):
                        self._failed(error, seconds)
                self._closing.wait(seconds)
            else:
                return

    def _write_handed(self) -> None:
        while (lines := self._handed.get()) is not None:
            lost = len(lines)
            try:
                self._sink.write(lines)
                lost = 0
            except OSError:
                # The reader has closed the pipe or socket, and no other place exists to report it.
                pass
            finally:
                self._lost += lost
                self._written_lines += len(lines)
                with contextlib.suppress(RuntimeError):
                    self._written.release()


def render_json(event: Mapping[str, object], severity: Severity) -> bytes:
    """Return an event as one line of JSON, with the current time (UTC) and the severity."""
    clock = time.time()
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clock))
    stamp = {"time": f"{date}.{int(clock % 1 * 1000):03d}Z", "level": severity.name.lower()}
    return json.dumps({**stamp, **event}).encode()
