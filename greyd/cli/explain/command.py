"""``greyd explain``: shows each step of the decision on a request, with the compared values."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.explain.answer.output import print_explanation
from greyd.cli.explain.assumption import depends_on_address
from greyd.cli.explain.examination import Examiner
from greyd.cli.explain.probed_sources import ProbingCollector, open_sources
from greyd.cli.explain.request_input import read_request
from greyd.cli.explain.typed_request import (
    TypedRequest,
    check_complete,
    read_words,
    resolve_client,
)
from greyd.cli.request_options import (  # noqa: TC001 - typer reads them at run time
    ClientAddress,
    HeloName,
    PolicyContext,
    ProtocolName,
    Recipient,
    ReverseClientName,
    SaslUsername,
    Sender,
)
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.terminal import print_error
from greyd.whitelist.files import read_whitelist_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.dns_trace import RecordingLookup
    from greyd.cli.explain.request_input import RequestInput
    from greyd.config.settings import Settings
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.dns.lookup import Lookup
    from greyd.dns.sources.monitor import SourceMonitor
    from greyd.policy.dry_run import Readable
    from greyd.policy.evidence_sources import SenderCheck
    from greyd.rules.transaction import Record
    from greyd.whitelist.matcher import Whitelists


async def explain(
    context: CommandContext,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ADDRESS SENDER RECIPIENT]",
            help="The client, the sender ('<>' for a bounce) and the recipient; or a line of the"
            " mail log.",
        ),
    ] = None,
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
    reverse_client_name: ReverseClientName = None,
    protocol_name: ProtocolName = None,
    sasl_username: SaslUsername = None,
    policy_context: PolicyContext = None,
    log_line: Annotated[
        str | None,
        typer.Option(
            "--log-line",
            metavar="LINE",
            help="Take the request from a line of the mail log; the other options take precedence.",
        ),
    ] = None,
    no_dns: Annotated[bool, typer.Option("--no-dns", help="Send no DNS queries.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show all steps, even if the terminal is too short."),
    ] = False,
) -> int:
    """Explain how the server would answer a request now.

    The first line is the verdict: what happens to this mail now, why, and when it will pass. Then
    follow the steps of the decision, and commands to paste that would change it. If the terminal
    has too few lines, only the step that decides is shown; -v shows all.

    The command applies the server's rules to the entries in its store. It stores nothing, and sends
    no request to a server. For the whitelists, it shows the line that matches, or the lines that
    nearly match and why they do not. It reads the current files; a running server uses those of its
    start or last SIGHUP.

    Give the request as the client's address (or its host name), the sender and the recipient, by
    options, by a line of the mail log (of greyd, of postgrey, Postfix's "reject: RCPT from …", or
    Exim's "rejected RCPT"), or on standard input as Postfix sends it: lines of name=value. If the
    answer depends on a name that the line does not have, the command shows the answer for each kind
    of name.

    Examples:

      greyd explain 192.0.2.7 alice@example.com bob@example.org

      greyd explain mail.example.com '<>' bob@example.org

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
    typed = read_words(words) if words else TypedRequest()
    given, log_line = _merged(given, log_line, typed, words or ())
    async with open_sources(settings, _print_internal_error, is_wanted=not no_dns) as sources:
        host = b""
        if typed.attributes and (word := given["client_address"]):
            client = await resolve_client(word, sources[0])
            given["client_address"], host = client.address, client.host
        request = read_request(given, log_line, host)
        return await _explain(context, settings, request, *sources, verbose=verbose)


def _merged(
    given: dict[str, str | None], log_line: str | None, typed: TypedRequest, words: Sequence[str]
) -> tuple[dict[str, str | None], str | None]:
    """Return the attributes and the log line of options and words together.

    Raises:
        CommandError: the same is given twice, or something is missing among the words.
    """
    twice = [name for name in typed.attributes if given[name] is not None]
    if twice or (log_line and typed.log_line):
        name = twice[0].replace("_", "-") if twice else "log-line"
        raise CommandError(f"--{name}: also given as an argument; leave out one of them")
    merged = {**given, **typed.attributes}
    log_line = log_line or typed.log_line
    if typed.attributes and log_line is None:
        check_complete({name for name, value in merged.items() if value is not None}, words)
    return merged, log_line


async def _explain(
    context: CommandContext,
    settings: Settings,
    request: RequestInput,
    lookup: RecordingLookup,
    monitor: SourceMonitor | None,
    *,
    verbose: bool,
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
    if depends_on_address(case):
        status = EXIT_ERROR
    case = replace(case, is_undecided=bool(status), source_faults=faults)
    print_explanation(context, case, verbose=verbose)
    return status


def _evidence_collector(
    settings: Settings, whitelists: Whitelists, lookup: Lookup, monitor: SourceMonitor | None
) -> DnsEvidenceCollector | ProbingCollector | None:
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
