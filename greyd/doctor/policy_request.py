"""Sends a policy request to the server, as Postfix does, and judges the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.findings import Finding, error, not_checked, ok, warning
from greyd.doctor.listeners import Tcp
from greyd.doctor.mail_owner import connect
from greyd.escaping import printable

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.doctor.mail_owner import MailOwner


TIMEOUT_SECONDS = 5.0
"""How long an answer may take; Postfix is told to wait ten."""

SLOW_SECONDS = 1.0

MAX_ACTION_BYTES = 1000
"""Of an action that are shown."""

_NO_SUCH_ADDRESS = ("Address family not supported by protocol", "Cannot assign requested address")

HARMLESS_REQUEST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
    b"client_address=127.0.0.1\nclient_name=localhost\nreverse_client_name=localhost\n"
    b"helo_name=localhost\nsender=greyd-doctor@localhost\nrecipient=greyd-doctor@localhost\n"
    b"sasl_username=greyd-doctor\n\n"
)
"""Who has logged in passes before anything is looked up or remembered."""


class PolicyAnswer(NamedTuple):
    """What somebody has answered to ``QUESTION``."""

    action: str = ""
    seconds: float = 0
    fault: str = ""
    """Why there is no answer."""


async def send_request(
    listener: Tcp | Path, request: bytes = HARMLESS_REQUEST, owner: MailOwner | None = None
) -> PolicyAnswer:
    """Ask for a decision; for one that changes nothing unless another request is given.

    A Unix socket is asked with the rights of ``owner``, where there is one.
    """
    started = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reply = await _exchange(listener, request, owner)
    except TimeoutError:
        return PolicyAnswer(fault=f"no answer within {TIMEOUT_SECONDS:g} s")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as fault:
        return PolicyAnswer(fault=_reason(fault))
    action = reply.strip().removeprefix(b"action=")
    return PolicyAnswer(printable(action[:MAX_ACTION_BYTES]), time.perf_counter() - started)


async def _exchange(listener: Tcp | Path, request: bytes, owner: MailOwner | None) -> bytes:
    if isinstance(listener, Tcp):
        reader, writer = await asyncio.open_connection(*listener, limit=4096)
    elif owner is not None:
        connected = connect(listener, owner)
        reader, writer = await asyncio.open_unix_connection(sock=connected, limit=4096)
    else:
        reader, writer = await asyncio.open_unix_connection(str(listener), limit=4096)
    try:
        writer.write(request)
        return await reader.readuntil(b"\n\n")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _reason(fault: Exception) -> str:
    if not isinstance(fault, OSError):
        return "closed without an answer"
    # asyncio's own words have the address in them, which stands in the check's name.
    return os.strerror(fault.errno) if fault.errno else printable(str(fault).encode()[:200])


def finding_of_answer(
    listener: Tcp | Path, answered: PolicyAnswer, owner: MailOwner | None = None
) -> Finding:
    """Judge what was answered; ``owner`` is with whose rights a Unix socket was asked."""
    check = f"server: {listener}"
    if answered.fault in _NO_SUCH_ADDRESS:
        return not_checked(check, f"this machine has no such address ({answered.fault})")
    if answered.fault == "Permission denied" and owner is not None:
        return error(
            check,
            f"Postfix's user {owner.name} may not connect; its mail is deferred with 451, or passes"
            " ungreylisted",
            f"--socketmode=0666, or --group with {owner.name}'s own group; namei -l {listener}"
            " (whether it gets as far as the socket)",
        )
    if answered.fault == "Permission denied":
        return not_checked(check, "this user may not connect", "run greyd doctor as root")
    if answered.fault:
        return error(
            check,
            f"{answered.fault}; mail is not greylisted, or deferred",
            "systemctl status greyd (why it does not run); ss -lntp (who listens where)",
        )
    if answered.action != "DUNNO":
        return error(
            check,
            f"answers {answered.action!r} to a client that has logged in: that is not greyd",
            "ss -lntp (who it is); stop it, then systemctl restart greyd",
        )
    took = f"answers in {answered.seconds * 1000:.1f} ms"
    if owner is not None and not isinstance(listener, Tcp):
        took += f", asked as Postfix's user {owner.name}"
    if answered.seconds > SLOW_SECONDS:
        return warning(check, f"{took}; each recipient waits for it", "look at this machine's load")
    return ok(check, took)
