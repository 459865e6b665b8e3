"""``greyd postfix-config``: the lines with which Postfix asks this server."""

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
        bool, typer.Option("--minimal", help="Greylisting alone, without the other checks.")
    ] = False,
    exim: Annotated[bool, typer.Option("--exim", help="The ACL for Exim instead.")] = False,
) -> None:
    """Print the lines for main.cf that let Postfix ask this server.

    The other usual checks are there too, each in its place, and a comment for each decision. Put
    the lines into main.cf, in the place of those that set the same; nothing is changed by itself.

    Examples:

      greyd postfix-config

      greyd postfix-config --minimal

      greyd postfix-config --exim > /etc/exim4/greyd_acl
    """
    from greyd.doctor.listeners import configured_listeners, systemd_listeners
    from greyd.doctor.postfix import recommended

    listeners = await systemd_listeners() or configured_listeners(context.settings)
    if exim:
        text = recommended.exim_acl(listeners)
    else:
        text = recommended.main_cf(
            recommended.endpoint(listeners), context.settings, minimal=minimal
        )
    context.print_json({"text": text})
    if not context.as_json:
        sys.stdout.write(text)
