"""Why a connection to Redis failed, in words, and what to do."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from redis import exceptions

from greyd.store.errors import StoreError
from greyd.store.redis.connection_errors import reason_of, system_reason

PLACE = "127.0.0.1:6379"


def caused(cause: BaseException, text: str = "", kind: type[Exception] | None = None) -> Exception:
    """Return redis-py's error, whose cause is the system's."""
    error = (kind or exceptions.ConnectionError)(text or f"Error 1 connecting to {PLACE}. {cause}.")
    error.__cause__ = cause
    return error


def certificate(why: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {why} (_ssl.c:1006)")
    error.verify_message = why
    return error


def handshake(reason: str | None) -> ssl.SSLError:
    error = ssl.SSLError(1, "[SSL] (_ssl.c:1006)")
    error.reason = reason
    return error


SEVERAL = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 101] Network"
LOADING = "Redis is loading the dataset in memory"
REFUSED = OSError(errno.ECONNREFUSED, f"Connect call failed ('{PLACE}')")
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
LATER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_LOGIN = "AUTH <password> called without any password configured for the default user. Are you"
WRONG = "invalid username-password pair or user is disabled."


@pytest.mark.parametrize(
    ("error", "begins", "remedy"),
    [
        (caused(REFUSED), "Connection refused; ", "start Redis"),
        (REFUSED, "Connection refused; ", "start Redis"),
        (caused(OSError(SEVERAL)), "Connection refused; ", "the host and the port"),
        (caused(OSError(errno.EHOSTUNREACH, "x")), "No route to host; ", "check the network"),
        (caused(OSError(errno.ENETUNREACH, "x")), "Network is unreachable; ", "check the network"),
        (caused(OSError(errno.ECONNRESET, "x")), "Connection reset by peer; ", "rediss://"),
        (caused(OSError(errno.ENOENT, "x")), "No such file or directory; ", "the path of the"),
        (caused(OSError(errno.EACCES, "x")), "Permission denied; ", "unixsocketperm"),
        (caused(OSError(errno.EMFILE, "x")), "Too many open files", ""),
        (caused(NO_NAME), "Name or service not known; ", "correct the host"),
        (caused(LATER), "Temporary failure in name resolution; ", "DNS"),
        (
            exceptions.TimeoutError("Timeout connecting to server"),
            "no answer in time; ",
            "firewalls",
        ),
        (exceptions.TimeoutError(f"Timeout reading from {PLACE}"), "no answer in time; ", "TLS"),
        (caused(TimeoutError()), "no answer in time; ", "firewalls"),
        (TimeoutError(), "no answer in time; ", "firewalls"),
        (caused(ConnectionResetError()), "the server closed the connection; ", "rediss://"),
        (
            exceptions.ConnectionError("Connection closed by server."),
            "the server closed",
            "--store",
        ),
        (
            caused(certificate("self-signed certificate")),
            "TLS: the certificate is not accepted (self-signed certificate); ",
            "?ssl_ca_certs=FILE",
        ),
        (
            caused(certificate("Hostname mismatch, it is not valid for 'db1'.")),
            "TLS: the certificate is not accepted (Hostname mismatch, it is not valid for 'db1'); ",
            "as the certificate has it",
        ),
        (caused(handshake("WRONG_VERSION_NUMBER")), "TLS: wrong version number; ", "redis://"),
        (caused(handshake(None)), "TLS: the handshake failed; ", "redis://"),
        (
            exceptions.InvalidResponse('Protocol error, got "H"'),
            "it does not speak Redis's",
            "port",
        ),
        (exceptions.AuthenticationError(WRONG), "WRONGPASS: wrong user or password; ", "--store"),
        (exceptions.AuthenticationError("Authentication required."), "NOAUTH: ", "password-file"),
        (exceptions.AuthenticationError(NO_LOGIN), "Redis needs no password", "remove it"),
        (
            exceptions.AuthenticationWrongNumberOfArgsError("wrong number of arguments for 'auth'"),
            "wrong number of arguments for 'auth'",
            "leave the user out",
        ),
        (exceptions.ResponseError("DB index is out of range"), "DB index is out of", "the number"),
        (
            exceptions.ResponseError("SELECT is not allowed in cluster mode"),
            "SELECT is not allowed in cluster mode; ",
            "redis+cluster://",
        ),
        (exceptions.NoPermissionError("no permissions to run x"), "no permissions", "security.md"),
        (exceptions.ConnectionError("max number of clients reached"), "max number", "maxclients"),
        (exceptions.BusyLoadingError(LOADING), LOADING, ""),
        (exceptions.ResponseError("something new."), "something new", ""),
        (StoreError("as it is."), "as it is.", ""),
        (KeyError("unexpected"), "'unexpected'", ""),
        (RuntimeError("\x1b[31m"), "?[31m", ""),
    ],
)
def test_the_reason_has_words_and_a_remedy(error: Exception, begins: str, remedy: str) -> None:
    reason = reason_of(error)
    assert reason.startswith(begins)
    assert remedy in reason
    assert remedy or reason == begins
    assert "Errno" not in reason
    assert PLACE not in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (caused(REFUSED), "Connection refused"),
        (caused(NO_NAME), "Name or service not known"),
        (caused(OSError(SEVERAL)), "Connection refused"),
        (caused(TimeoutError()), ""),
        (exceptions.ConnectionError("Connection closed by server."), ""),
    ],
)
def test_the_system_has_words_for_its_errors_only(error: Exception, words: str) -> None:
    assert system_reason(error) == words
