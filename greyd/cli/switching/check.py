"""Checks through the socket, as Postfix uses it, that greyd answers in postgrey's place.

The requests are marked as probes: greyd stores, counts and logs nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.store_access import open_store_for_command
from greyd.doctor.listeners import connectable
from greyd.doctor.policy_request import send_request
from greyd.policy.probe_answer import NO_STORE_ANSWER, WOULD_GREYLIST, WOULD_PASS
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind, EntryState, interpret
from greyd.store.contract import scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.doctor.listeners import Listener
    from greyd.rules.keys import TripletNames

MAX_SCANNED_ENTRIES = 200_000
WAIT_SECONDS = 3.0
_UNKNOWN_CLIENT = b"192.0.2.1"
"""An address for documentation (RFC 5737), which sends no mail."""


class CheckError(CommandError):
    """greyd does not answer as it should."""


def marked_request(client: bytes, sender: bytes, recipient: bytes) -> bytes:
    """Return a request for the decision on mail; it changes nothing."""
    return (
        b"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
        b"client_address=%b\nclient_name=unknown\nreverse_client_name=unknown\n"
        b"helo_name=localhost\nsender=%b\nrecipient=%b\n"
        b"sasl_username=greyd-switch-from\ngreyd_probe=decision\n\n"
    ) % (client, sender, recipient)


async def check_decisions(
    context: CommandContext, listeners: Sequence[Listener], *, knows_mail: bool
) -> list[str]:
    """Check the answers to new and known mail at all sockets; return what was checked.

    Args:
        context: the settings of greyd, and its store.
        listeners: the sockets that Postfix may use.
        knows_mail: whether the store should have mail that passed postgrey.

    Raises:
        CheckError: greyd does not answer, or its answer is wrong.
        StoreError: the store can't be read.
    """
    name = secrets.token_hex(8).encode()
    new = marked_request(_UNKNOWN_CLIENT, name + b"@new.invalid", name + b"@new.invalid")
    lines = []
    for listener in connectable(listeners):
        action, is_absent = await _answer(listener, new)
        if is_absent:
            continue
        lines.append(_judged(str(listener), action, context))
    if not lines:
        raise CheckError("no socket of postgrey's answers")
    if knows_mail:
        lines.append(await _check_known(context, connectable(listeners)[0]))
    return lines


def _judged(name: str, action: str, context: CommandContext) -> str:
    """Judge the answer to new mail."""
    settings = context.settings
    if _is(WOULD_GREYLIST, action):
        return f"{name} answers, new mail is greylisted"
    if _is(WOULD_PASS, action) and "(mode " in action:
        return f"{name} answers, but greylists nothing: {_decision(action)}"
    if _is(WOULD_PASS, action) and settings.needs_evidence:
        return f"{name} answers; whether new mail waits depends on the client's DNS"
    raise CheckError(f"{name} answers {action!r} to new mail, which should be greylisted")


async def _check_known(context: CommandContext, listener: Listener) -> str:
    """Check that mail which passed postgrey passes greyd."""
    names = await _passed_triplet(context)
    if names is None:
        return (
            "not checked whether known mail passes: the store has none"
            if not context.settings.privacy
            else "not checked whether known mail passes: the store has only hashes (--privacy)"
        )
    request = marked_request(names.network, names.sender, names.recipient)
    action, _ = await _answer(listener, request)
    if not _is(WOULD_PASS, action):
        raise CheckError(f"{listener} answers {action!r} to mail that has passed postgrey")
    return f"mail that has passed postgrey passes: {_decision(action)}"


async def _passed_triplet(context: CommandContext) -> TripletNames | None:
    now, scanned = int(time.time()), 0
    async with open_store_for_command(context.store_url, context.settings) as store:
        async for group in scan(store):
            for record in group:
                entry = interpret(record, now, context.settings)
                if entry is None or entry.kind is not EntryKind.TRIPLET or entry.is_hidden:
                    continue
                is_usable = parse_address(entry.names.network) and b"\n" not in entry.key
                if entry.state is EntryState.PASSED and is_usable:
                    return entry.names
            scanned += len(group)
            if scanned > MAX_SCANNED_ENTRIES:
                break
    return None


async def _answer(listener: Listener, request: bytes) -> tuple[str, bool]:
    """Return the answer, and whether this machine has no such address.

    Raises:
        CheckError: no greyd answers within ``WAIT_SECONDS``.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        answered = await send_request(listener, request)
        # On a busy machine the store may need longer than mail waits for it.
        if answered.version and not answered.action.endswith(NO_STORE_ANSWER.decode()):
            return answered.action, False
        if answered.fault in ("Cannot assign requested address", "Address family not supported"):
            return "", True
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    if answered.fault:
        raise CheckError(f"{listener}: {answered.fault}")
    raise CheckError(f"{listener} answers {answered.action!r}, not as this version of greyd does")


def _is(outcome: bytes, action: str) -> bool:
    return outcome.decode() in action


def _decision(action: str) -> str:
    """Return the decision in an answer, without greyd's version."""
    return action[action.index("would ") :] if "would " in action else action
