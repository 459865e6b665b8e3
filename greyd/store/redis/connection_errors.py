"""Describes why a connection to Redis could not be opened: what happened, and what to do.

redis-py's own messages repeat the address and have numbers instead of words: ``Error 111 connecting
to 127.0.0.1:6379. Connect call failed ('127.0.0.1', 6379).``
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from greyd.redaction import excerpt
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CAUSES = 10

_ADDRESS = "correct the host and the port in --store"
_PATH = "correct the path of the socket or of a certificate in --store"
_NETWORK = "check the network and the firewalls between this machine and Redis"
_TLS = "if it expects TLS, write rediss:// instead of redis://"

_NO_ANSWER = f"no answer in time; {_NETWORK}, and that both sides use TLS or neither"
_CLOSED = f"the server closed the connection; {_TLS}; if it is no Redis, {_ADDRESS}"

_REMEDIES = {
    errno.ECONNREFUSED: f"start Redis, or {_ADDRESS}",
    errno.EHOSTUNREACH: _NETWORK,
    errno.ENETUNREACH: _NETWORK,
    errno.ECONNRESET: f"{_TLS}; if it is no Redis, {_ADDRESS}",
    errno.ENOENT: f"start Redis, or {_PATH}",
    errno.ENOTSOCK: _PATH,
    errno.EACCES: "let greyd's user open the socket or the certificate (unixsocketperm of Redis)",
}
"""What to do about an error of the operating system."""

_NO_USERS = "this Redis has no users: leave the user out of --store"
_OF_REDIS = {
    "out of range": "correct the number of the database at the end of --store",
    "not allowed in cluster mode": "this is a Cluster: write redis+cluster:// without a database",
    "max number of clients": "raise maxclients of Redis, or find out which program uses them up",
    "no permissions": "give this user the permissions that docs/security.md lists",
    "wrong number of arguments": _NO_USERS,
}
"""What to do about an error of Redis, by a part of its text."""

_ERRNO = re.compile(r"\[Errno ([0-9]{1,4})\]")


def reason_of(error: Exception) -> str:
    """Return the reason of a failed connection and what to do, in one line without secrets."""
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, AuthenticationError):
        return _of_login(str(error))
    if isinstance(error, InvalidResponse):
        return f"it does not speak Redis's protocol; {_ADDRESS}"
    if isinstance(error, RedisTimeoutError):
        return _NO_ANSWER
    # An internal error may have another context.
    causes = _causes(error) if isinstance(error, RedisError | OSError) else ()
    for cause in causes:
        if isinstance(cause, OSError):
            return _of_system(cause)
    text = excerpt(str(error).partition(" : ")[0]).rstrip(".")
    if not text:
        return _NO_ANSWER
    if "closed by server" in text:
        return _CLOSED
    remedy = next((each for part, each in _OF_REDIS.items() if part in text), "")
    return f"{text}; {remedy}" if remedy else text


def system_reason(error: BaseException) -> str:
    """Return the operating system's or the resolver's words for an error; empty without any."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            return excerpt(cause.strerror or str(cause))
        if isinstance(cause, OSError) and (number := _number_of(cause)):
            return os.strerror(number)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def _number_of(error: OSError) -> int:
    """Return the number of a system's error; 0 if it has none."""
    if error.errno is not None:
        return max(error.errno, 0)
    # asyncio has tried several addresses of a name; the first error stands for all.
    found = _ERRNO.search(str(error))
    return int(found[1]) if found else 0


def _of_system(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = excerpt(error.verify_message or "").rstrip(".")
        return (
            f"TLS: the certificate is not accepted ({why}); name the file of its issuer with"
            " ?ssl_ca_certs=FILE, or write the host as the certificate has it"
        )
    if isinstance(error, ssl.SSLError):
        why = excerpt((error.reason or "the handshake failed").replace("_", " ").lower())
        return f"TLS: {why}; if a Redis without TLS listens there, write redis://"
    if isinstance(error, socket.gaierror):
        return f"{system_reason(error)}; correct the host in --store, or check this machine's DNS"
    if isinstance(error, ConnectionResetError) and not error.errno:
        return _CLOSED
    number = _number_of(error)
    if not number:
        return _NO_ANSWER
    remedy = _REMEDIES.get(number, "")
    return f"{os.strerror(number)}; {remedy}" if remedy else os.strerror(number)


def _of_login(text: str) -> str:
    if "without any password configured" in text:
        return "Redis needs no password, but one was given; remove it from --store"
    if "NOAUTH" in text or "Authentication required" in text:
        return "NOAUTH: Redis needs a password; give --store-password-file=FILE"
    if "wrong number of arguments" in text:
        return f"{excerpt(text)}; {_NO_USERS}"
    return "WRONGPASS: wrong user or password; correct --store or --store-password-file"
