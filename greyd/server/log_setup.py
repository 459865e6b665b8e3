"""Opens the server's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.monitoring.log import DirectLog, Log, Severity, StreamSink, SyslogSink

if TYPE_CHECKING:
    from greyd.config.settings import Settings


def open_log(settings: Settings, *, to_syslog: bool) -> Log:
    """Return the log of a serving process, to standard error or syslog."""
    sink = _sink(settings, to_syslog=to_syslog)
    return Log(sink, _min_severity(settings), as_json=settings.log_format == "json")


def open_direct_log(settings: Settings, *, to_syslog: bool) -> DirectLog:
    """Return the log of a process that must not start threads."""
    sink = _sink(settings, to_syslog=to_syslog)
    return DirectLog(sink, _min_severity(settings), as_json=settings.log_format == "json")


def _sink(settings: Settings, *, to_syslog: bool) -> StreamSink | SyslogSink:
    if to_syslog:
        return SyslogSink(settings.syslog_ident, settings.syslog_facility)
    return StreamSink(2)


def _min_severity(settings: Settings) -> Severity:
    if settings.quiet:
        return Severity.NOTICE
    return Severity.DEBUG if settings.verbose else Severity.INFO
