"""Where log lines go: standard error or syslog, by a thread of their own.

Mail must not wait for its log. Lines are gathered for a moment and handed to a thread, the only
place that may block on a full pipe or a dead syslog. What waits is bounded: beyond that, lines
are dropped and their number is logged when there is room again.
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
    """Takes lines away; called in the log's own thread, and may block there."""

    def write(self, lines: Sequence[Line]) -> None:
        """Write the lines; OSError says that they are lost."""


class StreamSink:
    """Writes lines to a file descriptor as they are."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Several workers share a pipe, which keeps together what is written at once up to here.
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._most_bytes = sys.maxsize if regular else select.PIPE_BUF

    def write(self, lines: Sequence[Line]) -> None:
        """Write all lines, several at once."""
        texts = [text for _, text in lines]
        start = data = 0
        if sum(map(len, texts)) + len(texts) > self._most_bytes:
            for place, text in enumerate(texts):
                data += len(text) + 1
                if data > self._most_bytes:
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
                # Whoever shares the pipe has set it so; this thread may wait for it.
                select.select([], [self._descriptor], [])


class SyslogSink:
    """Sends lines to the local syslog (RFC 3164's form without date, as syslog(3) does)."""

    def __init__(self, ident: str, facility: int, address: str = "/dev/log") -> None:
        self._ident = ident.encode()
        self._facility = facility
        self._address = address
        self._socket: socket.socket | None = None

    def write(self, lines: Sequence[Line]) -> None:
        """Send each line in a datagram, connecting where there is no connection."""
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
            # syslog was started anew and has a new socket: once more, on that.
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
    """Logs events of the server itself, by what a subclass does with a line."""

    def __init__(self, most: Severity, *, as_json: bool) -> None:
        self.most = most
        """The least severe kind of line that is written."""
        self.as_json = as_json

    def write(self, severity: Severity, text: bytes) -> None:
        """Take one line, which holds no control characters; never blocks."""
        raise NotImplementedError

    def log(self, severity: Severity, message: str) -> None:
        """Log an event of the server itself."""
        if severity <= self.most:
            text = "".join(each if each.isprintable() else "?" for each in message)
            line = text.encode(errors="backslashreplace")
            self.write(severity, render_json({"message": text}, severity) if self.as_json else line)

    def error(self, message: str) -> None:
        """Log that something does not work."""
        self.log(Severity.ERROR, "error: " + message)

    def warning(self, message: str) -> None:
        """Log that something is odd."""
        self.log(Severity.WARNING, "warning: " + message)

    def notice(self, message: str) -> None:
        """Log that something worth knowing happened."""
        self.log(Severity.NOTICE, message)

    def info(self, message: str) -> None:
        """Log what the server does."""
        self.log(Severity.INFO, message)


class DirectLog(BaseLog):
    """Writes each line at once: the log of a process that has no threads, and rarely a word to say.

    A line is dropped where it can't be written at once.
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
    """Takes log lines at once and writes them soon.

    Lines are dropped where more than ``MAX_WAITING`` wait.
    """

    MAX_WAITING = 20_000
    FLUSH_SECONDS = 0.02
    PATIENCE_SECONDS = 0.001
    """How long handing lines over may take; a reader that hangs costs no more."""

    def __init__(
        self, sink: Sink, most: Severity = Severity.INFO, *, as_json: bool = False
    ) -> None:
        super().__init__(most, as_json=as_json)
        self._sink = sink
        self._waiting: list[Line] = []
        self._handed: queue.SimpleQueue[list[Line] | None] = queue.SimpleQueue()
        # Each number has one thread that changes it, so none gets lost.
        self._handed_lines = 0
        self._written_lines = 0
        self._dropped = 0
        self._lost = 0
        self._told_of = 0
        self._soon: Callable[[], object] | None = None
        self._flush_is_due = False
        self._failed: Callable[[Exception, float], object] | None = None
        self._closing = threading.Event()
        # Released by the thread whenever it has written what it was handed.
        self._written = threading.Lock()
        self._written.acquire()
        self.thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        """Writes what was handed over, until the log is closed."""
        self.thread.start()

    def gather(self, soon: Callable[[], object] | None) -> None:
        """Collect lines, and call ``soon`` at the first, which has to arrange a call of ``flush``.

        With None every line goes to the thread at once.
        """
        self._soon = soon
        self.flush()

    def on_failure(self, failed: Callable[[Exception, float], object]) -> None:
        """Call ``failed``, in the log's thread, if an internal error loses lines.

        Its arguments are the error, and the seconds after which the thread continues.
        """
        self._failed = failed

    def write(self, severity: Severity, text: bytes) -> None:
        """Take one line, which holds no control characters; never blocks."""
        self.write_all(severity, (text,))

    def write_all(self, severity: Severity, texts: Sequence[bytes]) -> None:
        """Take lines of one severity, as ``write`` does."""
        room = self._room()
        self._dropped += max(len(texts) - room, 0)
        self._waiting += [Line(severity, text) for text in texts[:room]]
        if self._soon is None:
            self.flush()
        elif self._waiting and not self._flush_is_due:
            self._flush_is_due = True
            self._soon()

    def flush(self) -> None:
        """Hand what waits to the thread."""
        self._flush_is_due = False
        missing = self._dropped + self._lost - self._told_of
        if missing and self._room():
            text = b"warning: %d log lines were dropped, the reader is too slow" % missing
            self._waiting.append(Line(Severity.WARNING, text))
            self._told_of += missing
        if self._waiting:
            lines, self._waiting = self._waiting, []
            self._handed_lines += len(lines)
            self._written.acquire(blocking=False)
            self._handed.put(lines)
            if self._soon is not None:
                # A thread that waits for the interpreter is woken, in vain, each time that a busy
                # loop lets go of it for a moment. So it gets the interpreter for as long as it
                # takes, which is a fraction of this.
                self._written.acquire(timeout=self.PATIENCE_SECONDS)

    def _room(self) -> int:
        in_thread = self._handed_lines - self._written_lines
        return max(self.MAX_WAITING - in_thread - len(self._waiting), 0)

    def close(self, seconds: float = 0.5) -> None:
        """Write what waits, and give up on it after ``seconds``."""
        self._soon = None
        self.flush()
        self._handed.put(None)
        self._closing.set()
        self.thread.join(seconds)

    def _write_all(self) -> None:
        """Write until the log is closed; no error ends the thread, since nobody else writes."""
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
                # The reader is gone, and there is nobody left to tell.
                pass
            finally:
                self._lost += lost
                self._written_lines += len(lines)
                with contextlib.suppress(RuntimeError):
                    self._written.release()


def render_json(event: Mapping[str, object], severity: Severity) -> bytes:
    """Return an event as one line of JSON, dated now in UTC."""
    clock = time.time()
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clock))
    stamp = {"time": f"{date}.{int(clock % 1 * 1000):03d}Z", "level": severity.name.lower()}
    return json.dumps({**stamp, **event}).encode()
