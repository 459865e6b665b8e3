"""``greyd postfix-config``: prints the lines that let Postfix or Exim use this server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext


async def postfix_config(
    context: CommandContext,
    *,
    minimal: Annotated[
        bool, typer.Option("--minimal", help="Only greylisting, without the other checks.")
    ] = False,
    exim: Annotated[bool, typer.Option("--exim", help="Print an ACL for Exim instead.")] = False,
) -> None:
    """Print the lines for main.cf that let Postfix use this server.

    The lines also contain the other usual checks, in the right order, with a comment on each.
    Replace the lines of main.cf that set the same parameters; the command itself changes nothing.

    Examples:

      greyd postfix-config

      greyd postfix-config --minimal

      greyd postfix-config --exim > /etc/exim4/greyd_acl
    """
    from greyd.doctor.listeners import active_listeners
    from greyd.doctor.postfix.recommended import exim_acl, main_cf, policy_endpoint

    listeners = await active_listeners(context.settings)
    if exim:
        text = exim_acl(listeners)
    else:
        text = main_cf(policy_endpoint(listeners), context.settings, minimal=minimal)
    context.print_json({"text": text})
    if not context.as_json:
        sys.stdout.write(text)
