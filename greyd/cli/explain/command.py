"""``greyd explain``: shows each step of the decision on a request, with the compared values."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, CommandContext
from greyd.cli.explain.examination import Examiner
from greyd.cli.explain.output import print_explanation
from greyd.cli.explain.probed_sources import ProbingCollector, open_sources
from greyd.cli.explain.request_input import read_request
from greyd.cli.request_options import (  # noqa: TC001 - typer reads them at run time
    ClientAddress,
    HeloName,
    Recipient,
    SaslUsername,
    Sender,
)
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.terminal import print_error
from greyd.whitelist.files import read_whitelist_files

if TYPE_CHECKING:
    from greyd.cli.explain.dns_trace import RecordingLookup
    from greyd.cli.explain.request_input import RequestInput
    from greyd.config.settings import Settings
    from greyd.dns.lookup import Lookup
    from greyd.dns.sources.monitor import SourceMonitor
    from greyd.policy.dry_run import Readable
    from greyd.policy.evidence_sources import EvidenceCollector, SenderCheck
    from greyd.rules.transaction import Record
    from greyd.whitelist.matcher import Whitelists


async def explain(
    context: CommandContext,
    client_address: ClientAddress = None,
    client_name: Annotated[
        str | None,
        typer.Option(
            "--client-name",
            metavar="NAME",
            help="The client's name as Postfix logs it. Default: looked up in DNS as Postfix does.",
        ),
    ] = None,
    sender: Sender = None,
    recipient: Recipient = None,
    helo_name: HeloName = None,
    reverse_client_name: Annotated[
        str | None,
        typer.Option(
            "--reverse-client-name",
            metavar="NAME",
            help="The address's name in DNS, confirmed or not.",
        ),
    ] = None,
    protocol_name: Annotated[
        str | None,
        typer.Option(
            "--protocol-name",
            metavar="NAME",
            help="SMTP if the client sent HELO instead of EHLO; default: ESMTP.",
        ),
    ] = None,
    sasl_username: SaslUsername = None,
    policy_context: Annotated[
        str | None,
        typer.Option(
            "--policy-context",
            metavar="TEXT",
            help="The policy_context of the request, e.g. outbound.",
        ),
    ] = None,
    log_line: Annotated[
        str | None,
        typer.Option(
            "--log-line",
            metavar="LINE",
            help="Take the request from a line of the mail log; the other options take precedence.",
        ),
    ] = None,
    no_dns: Annotated[bool, typer.Option("--no-dns", help="Send no DNS queries.")] = False,
) -> int:
    """Explain how the server would answer a request now.

    The command applies the server's rules to the entries in its store. It stores nothing, and sends
    no request to a server. For the whitelists, it shows the line that matches, or the lines that
    nearly match and why they do not. It reads the current files; a running server uses those of its
    start or last SIGHUP.

    Give the request by options, by a line of the mail log (of greyd, of postgrey, Postfix's
    "reject: RCPT from …", or Exim's "rejected RCPT"), or on standard input as Postfix sends it:
    lines of name=value. If the answer depends on a name that the line does not have, the command
    shows the answer for each kind of name.

    Examples:

      greyd explain --client-address 192.0.2.7 --sender a@example.com --recipient b@example.org

      greyd explain --log-line 'action=greylist, reason=new, client_name=mail.example.com, \
client_address=192.0.2.7, sender=a@example.com, recipient=b@example.org'

      greyd explain --json < request
    """
    settings = replace(context.settings, hostname=context.settings.hostname or socket.gethostname())
    given = {
        "client_address": client_address, "client_name": client_name, "sender": sender,
        "recipient": recipient, "helo_name": helo_name, "reverse_client_name": reverse_client_name,
        "protocol_name": protocol_name, "sasl_username": sasl_username,
        "policy_context": policy_context,
    }  # fmt: skip
    request = read_request(given, log_line)
    async with open_sources(settings, _print_internal_error, is_wanted=not no_dns) as sources:
        return await _explain(context, settings, request, *sources)


async def _explain(
    context: CommandContext,
    settings: Settings,
    request: RequestInput,
    lookup: RecordingLookup,
    monitor: SourceMonitor | None,
) -> int:
    files = read_whitelist_files(settings)
    for error in files.errors:
        print_error(f"whitelist {error}; continuing without it")
    collector = _evidence_collector(settings, files.whitelists(), lookup, monitor)
    status = 0
    async with contextlib.AsyncExitStack() as stack:
        store: Readable
        try:
            store = await stack.enter_async_context(context.open_store())
        except UnusableStoreError:
            raise
        except StoreError as error:
            store = _UnavailableStore(str(error))
            status = EXIT_ERROR
        examiner = Examiner(
            settings, files, store, lookup, collector, _sender_check(settings, lookup)
        )
        case = await examiner.examine(request)
    if not case.dry_run.store_error:
        # The decision was made without the store.
        status = 0
    else:
        print_error(case.dry_run.store_error)
    faults = [each.fault for each in monitor.sources() if each.fault] if monitor else []
    case = replace(case, is_undecided=bool(status), source_faults=faults)
    print_explanation(context, case)
    return status


def _evidence_collector(
    settings: Settings, whitelists: Whitelists, lookup: Lookup, monitor: SourceMonitor | None
) -> EvidenceCollector | None:
    """Return an evidence collector like the server's; None if the settings need none."""
    if not settings.needs_evidence:
        return None
    from greyd.dns.collector import DnsEvidenceCollector

    collector = DnsEvidenceCollector(
        settings, lookup, lambda: whitelists.override, _print_internal_error, monitor
    )
    return collector if monitor is None else ProbingCollector(collector, monitor)


def _sender_check(settings: Settings, lookup: Lookup) -> SenderCheck:
    """Return a check of expected senders like the server's."""
    from greyd.dns.sender_check import SpfSenderCheck

    return SpfSenderCheck(lookup, settings.dns_timeout_seconds, _print_internal_error)


def _print_internal_error(error: BaseException) -> None:
    print_error(f"internal error: {error!r}")


class _UnavailableStore:
    """Stands for a store that cannot be opened; each operation raises its error."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def get(self, _key: bytes) -> Record | None:
        raise StoreError(self._reason)
