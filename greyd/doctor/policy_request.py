"""Sends a policy request to the server, as Postfix does, and judges the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, not_checked, ok, warning
from greyd.doctor.mail_owner import SwitchError, connect_as, no_access_remedy
from greyd.escaping import printable

if TYPE_CHECKING:
    from greyd.doctor.listeners import Listener
    from greyd.doctor.mail_owner import MailOwner

TIMEOUT_SECONDS = 5.0
"""How long to wait for an answer; in the recommended main.cf, Postfix waits 10 s."""

SLOW_SECONDS = 1.0

MAX_ACTION_BYTES = 1000
"""The length to which an action is cut in the output."""

_NO_SUCH_ADDRESS = (
    "Address family not supported by protocol",
    "Cannot assign requested address",
)

HARMLESS_REQUEST = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
    b"client_address=127.0.0.1\nclient_name=localhost\nreverse_client_name=localhost\n"
    b"helo_name=localhost\nsender=greyd-doctor@localhost\nrecipient=greyd-doctor@localhost\n"
    b"sasl_username=greyd-doctor\ngreyd_probe=doctor\n\n"
)
"""A request that changes nothing: an authenticated client passes before greyd uses the store.

greyd neither logs nor counts it as mail, because of the attribute ``greyd_probe``. Versions before
0.2.0 ignore that attribute.
"""

_MARKED_ANSWER = "DUNNO greyd "
"""The beginning of greyd's answer to a request with ``greyd_probe``; its version follows."""


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """The answer to a policy request."""

    action: str = ""
    seconds: float = 0
    fault: str = ""
    """The reason why no answer came; empty if one came."""
    cannot_switch: str = ""
    """Why the request was sent with this process's own rights instead of the given user's."""

    @property
    def version(self) -> str:
        """The version of the greyd that answered; empty for other programs, and before 0.2.0."""
        is_marked = self.action.startswith(_MARKED_ANSWER)
        return self.action.removeprefix(_MARKED_ANSWER)[:40] if is_marked else ""

    @property
    def passes(self) -> bool:
        """Whether the answer comes from greyd, or from another server that lets the mail pass."""
        return self.action == "DUNNO" or bool(self.version)


async def send_request(
    listener: Listener, request: bytes = HARMLESS_REQUEST, owner: MailOwner | None = None
) -> PolicyAnswer:
    """Send a policy request to a server; the default request changes nothing.

    With an ``owner``, a Unix socket is opened with that user's rights. Errors are in ``fault``.
    """
    started = time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reply = await _exchange(listener, request, owner)
    except SwitchError as fault:
        return replace(await send_request(listener, request), cannot_switch=str(fault))
    except TimeoutError:
        return PolicyAnswer(fault=f"no answer within {TIMEOUT_SECONDS:g} s")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as fault:
        return PolicyAnswer(fault=_reason(fault))
    action = reply.strip().removeprefix(b"action=")
    return PolicyAnswer(printable(action[:MAX_ACTION_BYTES]), time.perf_counter() - started)


async def _exchange(listener: Listener, request: bytes, owner: MailOwner | None) -> bytes:
    if not isinstance(listener, Path):
        reader, writer = await asyncio.open_connection(listener.host, listener.port, limit=4096)
    elif owner is not None:
        connected = connect_as(owner, listener)
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
        return "connection closed without an answer"
    # asyncio's own text repeats the address, which the check's name already contains.
    return os.strerror(fault.errno) if fault.errno else printable(str(fault).encode()[:200])


def finding_of_answer(
    listener: Listener, answer: PolicyAnswer, owner: MailOwner | None = None
) -> Finding:
    """Judge an answer; a Unix socket was opened with the rights of ``owner``."""
    check = f"server: {listener}"
    if answer.cannot_switch:
        owner = None
    if answer.fault in _NO_SUCH_ADDRESS:
        return not_checked(check, f"this machine has no such address ({answer.fault})")
    if answer.fault == "Permission denied" and owner is not None:
        return error(
            check,
            f"Postfix's user {owner.name} has no access to the socket: Postfix does what its"
            " default action says",
            no_access_remedy(Path(str(listener)), owner),
        )
    if answer.fault == "Permission denied":
        return not_checked(check, "this user has no access", "run greyd doctor as root")
    if answer.fault:
        return error(
            check,
            f"{answer.fault}: Postfix takes its default action",
            "systemctl status greyd (shows why it is down); ss -lntp (shows what listens)",
        )
    if not answer.passes:
        return error(
            check,
            f"answers {answer.action!r} to an authenticated client: this is not greyd",
            "ss -lntp (shows the program); stop it, then systemctl restart greyd",
        )
    took = f"answers in {answer.seconds * 1000:.1f} ms"
    if owner is not None and isinstance(listener, Path):
        took += f" to Postfix's user {owner.name}"
    if answer.seconds > SLOW_SECONDS:
        return warning(
            check, f"{took}: every recipient waits this long", "check this machine's load: top"
        )
    return ok(check, took)
