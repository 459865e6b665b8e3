"""Shows a request of ``greyd ask``, and what the server's answer means."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from greyd.config.durations import format_duration
from greyd.escaping import printable
from greyd.policy.reply import STORE_AWAY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.cli.context import CommandContext
    from greyd.config.settings import Settings

_MAX_SHOWN_BYTES = 200


def print_request(context: CommandContext, request: Mapping[str, bytes]) -> None:
    """Print who writes to whom, through which client."""
    name, address = _shown(request, "client_name"), _shown(request, "client_address")
    client = f"{name or 'unknown'}[{address}]"
    if helo := _shown(request, "helo_name"):
        client += f", HELO {helo}"
    if login := _shown(request, "sasl_username"):
        client += f", login {login}"
    context.print(
        f"client     {client}",
        f"sender     {_shown(request, 'sender') or '<>'}",
        f"recipient  {_shown(request, 'recipient')}",
    )


def print_answer(context: CommandContext, request: Mapping[str, bytes], action: str) -> None:
    """Print what an answer means, and the command that explains it."""
    context.print(meaning_of(action, context.settings))
    words = [_shown(request, each) for each in ("client_address", "sender", "recipient")]
    if words[0] and words[2]:
        command = ["greyd", "explain", words[0], words[1] or "<>", words[2]]
        if (name := _shown(request, "client_name")) not in ("", "unknown"):
            command += ["--client-name", name]
        # Unwrapped, so that it can be pasted.
        context.console.print(f"why: {shlex.join(command)}", soft_wrap=True)


def meaning_of(action: str, settings: Settings) -> str:
    """Return in words what Postfix does with an action, and when the mail will pass."""
    word, _, text = action.partition(" ")
    if action == STORE_AWAY.decode():
        return "deferred: the store does not answer (--on-store-failure=defer); see greyd doctor"
    if word.upper() == settings.greylist_action.partition(" ")[0].upper() and text:
        again = "its next attempt passes once its delay is over"
        if not settings.delay_varies:
            delay = format_duration(settings.delay_seconds)
            again = f"an attempt passes {delay} or more after the first one"
        return f"greylisted: the client has to try again; {again}"
    if word == "PREPEND":
        return (
            "passes after its delay: Postfix adds this header and continues with its other"
            " restrictions"
        )
    if word == "DUNNO":
        return "passes: Postfix continues with its other restrictions"
    return "not an answer of these settings; access(5) explains what it means"


def _shown(request: Mapping[str, bytes], name: str) -> str:
    return printable(request.get(name, b"")[:_MAX_SHOWN_BYTES])
