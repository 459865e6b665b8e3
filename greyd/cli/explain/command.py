"""``greyd explain``: every step of the decision on a request, and what was compared to what."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, CommandContext
from greyd.cli.errors import CommandError
from greyd.cli.explain.steps import Case, Name, outlook, steps
from greyd.config.durations import format_duration
from greyd.dns.lookup import DisabledLookup, DnsError, Lookup, RecordType
from greyd.escaping import printable
from greyd.maillog.single_line import read_log_line
from greyd.policy.dry_run import Readable, dry_run
from greyd.policy.protocol import RequestParser
from greyd.rules.address import parse_address
from greyd.rules.reasons import PASS
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.terminal import format_timestamp, print_error
from greyd.whitelist.files import read_whitelist_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from greyd.cli.explain.steps import Step
    from greyd.config.settings import Settings
    from greyd.dns.lookup import DnsAnswer
    from greyd.policy.policy import EvidenceCollector
    from greyd.rules.address import Address
    from greyd.rules.request import Request
    from greyd.rules.transaction import Record
    from greyd.whitelist.matcher import Whitelists

MAX_BYTES = 1024 * 1024
"""Of a request on standard input."""

MAX_QUESTIONS = 200
"""Of DNS, that are shown."""

_MAX_NAMES = 5
_NAME_SECONDS = 5.0


async def explain(
    context: CommandContext,
    client_address: Annotated[
        str | None, typer.Option("--client-address", metavar="ADDRESS", help="Who sends.")
    ] = None,
    client_name: Annotated[
        str | None,
        typer.Option(
            "--client-name",
            metavar="NAME",
            help="Its name as Postfix logs it; without it, DNS is asked as Postfix does.",
        ),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--sender", metavar="ADDRESS", help="Empty for a bounce: --sender=."),
    ] = None,
    recipient: Annotated[str | None, typer.Option("--recipient", metavar="ADDRESS")] = None,
    helo_name: Annotated[str | None, typer.Option("--helo-name", metavar="NAME")] = None,
    reverse_client_name: Annotated[
        str | None,
        typer.Option(
            "--reverse-client-name", metavar="NAME", help="The address's name, confirmed or not."
        ),
    ] = None,
    sasl_username: Annotated[
        str | None, typer.Option("--sasl-username", metavar="NAME", help="Who has logged in.")
    ] = None,
    policy_context: Annotated[
        str | None, typer.Option("--policy-context", metavar="TEXT", help="outbound, say.")
    ] = None,
    log_line: Annotated[
        str | None,
        typer.Option(
            "--log-line",
            metavar="LINE",
            help="Take all this from a line of the mail log; options beside it count more.",
        ),
    ] = None,
    no_dns: Annotated[bool, typer.Option("--no-dns", help="Ask DNS nothing.")] = False,
) -> int:
    """Tell what would be answered to a request now, step by step, and why.

    The server's own rules decide, on what its store remembers; nothing is stored, and no server is
    asked. Of the whitelists it shows which line matched, or which nearly did and what keeps it from
    matching. The files are read as they are now: a server knows them as they were when it was
    started or last got SIGHUP.

    A request is given by options, by a line of the mail log (greyd's or postgrey's, or Postfix's
    "reject: RCPT from …"), or on standard input as Postfix sends it: lines of name=value.

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
        "sasl_username": sasl_username, "policy_context": policy_context,
    }  # fmt: skip
    asked: list[str] = []
    async with _lookup(settings, asked, wanted=not no_dns) as lookup:
        attributes = _attributes(given, log_line)
        name = await _name_of(attributes, lookup)
        if attributes and "client_name" not in attributes:
            attributes["client_name"] = (name and name.confirmed) or b"unknown"
        request = _request(attributes, settings)
        del asked[:]
        return await _explain(context, settings, request, name, lookup, asked)


async def _explain(
    context: CommandContext,
    settings: Settings,
    request: Request,
    name: Name | None,
    lookup: Lookup,
    asked: list[str],
) -> int:
    lists = read_whitelist_files(settings)
    for error in lists.failed:
        print_error(f"whitelist {error}; going on without it")
    whitelists = lists.whitelists()
    witness = _witness(settings, whitelists, lookup)
    status = 0
    async with contextlib.AsyncExitStack() as stack:
        store: Readable
        try:
            store = await stack.enter_async_context(context.store())
        except UnusableStoreError:
            raise
        except StoreError as error:
            store = _NoStore(str(error))
            status = EXIT_ERROR
        inquiry = await dry_run(request, settings, whitelists, store, witness)
    if not inquiry.store_error:
        # The answer does not need the store.
        status = 0
    else:
        print_error(inquiry.store_error)
    case = Case(request, settings, lists, whitelists, inquiry, name, asked, bool(status))
    _show(context, case, steps(case))
    return status


# The request --------------------------------------------------------------------------------------


def _attributes(given: Mapping[str, str | None], log_line: str | None) -> dict[str, bytes]:
    """Return the attributes of the request; none where it is to be read from standard input."""
    named = {
        name: text.encode(errors="surrogateescape")
        for name, text in given.items()
        if text is not None
    }
    attributes = {**(read_log_line(log_line) if log_line is not None else {}), **named}
    if not attributes:
        return {}
    needed = ("client_address", "sender", "recipient")
    if missing := [name for name in needed if name not in attributes]:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise CommandError(f"{options}: missing (a bounce has --sender=)")
    # Modern Postfix sends it, empty; it decides how the answer is worded.
    return {"request": b"smtpd_access_policy", "etrn_domain": b"", **attributes}


def _request(attributes: Mapping[str, bytes], settings: Settings) -> Request:
    """Return the request as the server would read it.

    Raises:
        AdminError: there is none.
    """
    if attributes:
        for name, value in attributes.items():
            if b"\n" in value or b"\r" in value:
                raise CommandError(f"{name}: no value of a request goes over several lines")
        data = b"".join(b"%b=%b\n" % (name.encode(), each) for name, each in attributes.items())
    elif sys.stdin.isatty():
        raise CommandError(
            "no request: give --client-address, --sender and --recipient, or --log-line, or the"
            " request on standard input"
        )
    else:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise CommandError(f"standard input: larger than {MAX_BYTES} octets, no request")
    parser = RequestParser(of_identity=settings.needs_evidence)
    request = next(iter(parser.feed(data.lstrip(b"\r\n") + b"\n\n")), None)
    if request is None or request[:-1].count(None) == len(request) - 1:
        raise CommandError(
            "standard input: no request; it has lines such as sender=alice@example.com"
        )
    return request


# DNS ----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _lookup(settings: Settings, asked: list[str], *, wanted: bool) -> AsyncIterator[Lookup]:
    """Open the server's way to DNS; ``asked`` gets what was asked, and the answers."""
    if not wanted:
        yield DisabledLookup()
        return
    from greyd.dns.resolver import Resolver

    resolver = Resolver(settings.resolvers, settings.dns_timeout_seconds)
    try:
        yield _Heard(resolver, asked)
    finally:
        await resolver.close()


class _Heard(Lookup):
    """Notes what is asked, and what is answered."""

    def __init__(self, lookup: Lookup, asked: list[str]) -> None:
        self._lookup = lookup
        self._asked = asked

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        question = f"{kind.value} {printable(name)}"
        try:
            answer = await self._lookup.query(name, kind)
        except DnsError as error:
            self._note(f"{question}: no answer ({error})")
            raise
        except asyncio.CancelledError:
            self._note(f"{question}: no answer in time")
            raise
        self._note(f"{question}: {_values(answer, kind)}")
        return answer

    def _note(self, line: str) -> None:
        if len(self._asked) < MAX_QUESTIONS and line not in self._asked:
            self._asked.append(line[:300])


def _values(answer: DnsAnswer, kind: RecordType) -> str:
    if not answer.values:
        return "no such record" if answer.exists else "no such name"
    return ", ".join(_value(value, kind) for value in answer.values)


def _value(value: bytes, kind: RecordType) -> str:
    if kind in (RecordType.A, RecordType.AAAA):
        return socket.inet_ntop(socket.AF_INET if kind is RecordType.A else socket.AF_INET6, value)
    return printable(value) or "(empty)"


async def _name_of(attributes: Mapping[str, bytes], lookup: Lookup) -> Name | None:
    """Ask for the client's name as Postfix does; None where it is known, or DNS does not answer."""
    address = parse_address(attributes.get("client_address", b""))
    if address is None or attributes.get("client_name", b"unknown").lower() != b"unknown":
        return None
    try:
        async with asyncio.timeout(_NAME_SECONDS):
            return await _confirmed(address, lookup)
    except (DnsError, TimeoutError):
        return None


async def _confirmed(address: Address, lookup: Lookup) -> Name:
    from greyd.dns.reverse_names import pointer_name

    names = (await lookup.query(pointer_name(address), RecordType.PTR)).values[:_MAX_NAMES]
    kind = RecordType.A if address.bits == 32 else RecordType.AAAA
    for name in names:
        if address.packed in (await lookup.query(name, kind)).values:
            return Name(name, names)
    return Name(b"", names)


def _witness(
    settings: Settings, whitelists: Whitelists, lookup: Lookup
) -> EvidenceCollector | None:
    """Return the server's, where it has one."""
    if not settings.needs_evidence:
        return None
    from greyd.dns.collector import DnsEvidenceCollector

    return DnsEvidenceCollector(
        settings,
        lookup,
        lambda: whitelists.override,
        lambda error: print_error(f"a fault of greyd's own: {error!r}"),
    )


# The store ----------------------------------------------------------------------------------------


class _NoStore:
    """A store that can't be opened."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def get(self, _key: bytes) -> Record | None:
        raise StoreError(self._reason)


# What is shown ------------------------------------------------------------------------------------


def _show(context: CommandContext, case: Case, done: Sequence[Step]) -> None:
    inquiry = case.inquiry
    passes_at, until = outlook(case)
    reply = (inquiry.reply or b"").decode(errors="backslashreplace")
    context.print_table(
        ("step", "", "what was found"),
        [
            (step.name, "decides" if step.decides else "", "\n".join([step.text, *step.lines()]))
            for step in done
        ],
    )
    context.print("", _verdict(case, passes_at, until))
    answered = inquiry.reply is not None and not case.is_open
    if answered:
        context.print(f"Postfix would be told: {printable(inquiry.reply or b'')}")
    context.print_json(
        {
            "request": {
                name: value.decode(errors="backslashreplace")
                for name, value in case.request._asdict().items()
                if value is not None
            },
            "now": inquiry.now,
            "steps": [step.as_json() for step in done],
            "verdict": {
                "action": None if case.is_open else inquiry.reason and inquiry.reason.action,
                "reason": None if case.is_open else inquiry.reason and inquiry.reason.text,
                "detail": inquiry.detail.strip(" ()"),
                "reply": reply if answered else None,
                "passes_at": passes_at or None,
                "passes_until": until or None,
            },
        }
    )


def _verdict(case: Case, passes_at: int, until: int) -> str:
    inquiry = case.inquiry
    if case.is_open:
        return "Verdict: it depends on what the server's store remembers."
    if inquiry.reason is None:
        return "Verdict: no answer."
    reason = f"{inquiry.reason.text}{inquiry.detail}"
    if inquiry.reason.action == PASS:
        return f"Verdict: it would pass at once: {reason}."
    if not passes_at:
        return f"Verdict: it would be deferred: {reason}."
    wait = format_duration(passes_at - inquiry.now)
    return (
        f"Verdict: it would be deferred: {reason}. A retry passes from"
        f" {format_timestamp(passes_at)} on (in {wait}), until {format_timestamp(until)}."
    )
