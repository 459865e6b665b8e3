"""Describes the steps before greyd reads the store, from the request to the client's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.assumption import depends_on_address, name_notes
from greyd.cli.explain.step import ExplainedStep, entry_text
from greyd.escaping import printable
from greyd.plurals import counted
from greyd.rules.reasons import Reason
from greyd.terminal import format_timestamp
from greyd.whitelist.near_misses.reasons import ClientAttributes
from greyd.whitelist.near_misses.search import near_misses_for_client, near_misses_for_recipient
from greyd.whitelist.sender_logins import may_use_sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.whitelist.entries import WhitelistEntry, WhitelistFile

_NEEDED = ("client_address", "client_name", "sender", "recipient")


def describe_request(case: ExplainedRequest) -> ExplainedStep:
    """Describe the request itself."""
    request = case.request
    if request.request != b"smtpd_access_policy":
        kind = printable(request.request or b"(none)")
        return ExplainedStep(
            "request", f"request={kind} is not answered, only request=smtpd_access_policy"
        )
    if case.reason is Reason.OUTBOUND:
        text = "outbound mail of a local user: it passes"
        return ExplainedStep("request", text, [_learning_note(case)])
    if missing := [name for name in _NEEDED if getattr(request, name) is None]:
        return ExplainedStep(
            "request", f"{', '.join(missing)} missing: the mail passes without a decision"
        )
    client = printable(request.client_name or b"")
    if not case.host:
        client += f"[{printable(request.client_address or b'')}]"
    sender, recipient = printable(request.sender or b""), printable(request.recipient or b"")
    return ExplainedStep("request", f"from {client}, <{sender}> to <{recipient}>", name_notes(case))


def _learning_note(case: ExplainedRequest) -> str:
    """Return whether greyd learns from a request about outbound mail, and why not."""
    request, rule = case.request, case.settings.outbound_senders
    login, sender = request.sasl_username, request.sender
    if not (login and sender and request.recipient):
        return "nothing to learn: the login, the sender or the recipient is missing"
    names = f"the login {printable(login)} may use the sender {printable(sender)}"
    if may_use_sender(login, sender, rule, case.whitelists.sender_logins):
        return f"greyd learns the correspondent: {names}"
    return f"not learnt: it is unknown whether {names} (--sender-logins, --outbound-senders={rule})"


def describe_authenticated(case: ExplainedRequest) -> ExplainedStep:
    """Describe whether the client has logged in."""
    user = case.request.sasl_username
    text = f"logged in as {printable(user)}" if user else "no (no sasl_username)"
    return ExplainedStep("authenticated", text)


def describe_client_whitelist(case: ExplainedRequest) -> ExplainedStep:
    """Describe the client whitelist entry that matches, or those that nearly match."""
    request, address = case.request, case.address
    name = request.client_name or b""
    if entry := case.whitelists.match_client(name, address):
        return ExplainedStep("client whitelist", matching_text(entry), match=entry)
    what = printable(name) + (f" and {printable(address.text)}" if address else "")
    resolved = case.resolved_name.names if case.resolved_name else ()
    reverse = (request.reverse_client_name or b"").lower()
    others = tuple({*resolved, reverse} - {b"", b"unknown", name.lower()})
    names = ClientAttributes(
        name,
        address,
        others,
        request.helo_name or b"",
        request.sender or b"",
        tuple(case.unanswered_names),
    )
    return ExplainedStep(
        "client whitelist",
        not_matching_text(case.files.clients, len(case.whitelists.clients), what),
        near=near_misses_for_client(case.files.clients, case.files.recipients, names),
    )


def describe_recipient_whitelist(case: ExplainedRequest) -> ExplainedStep:
    """Describe the recipient whitelist entry that matches, or those that nearly match."""
    recipient, sender = case.request.recipient or b"", case.request.sender or b""
    if entry := case.whitelists.match_recipient(recipient):
        return ExplainedStep("recipient whitelist", matching_text(entry), match=entry)
    files = case.files
    return ExplainedStep(
        "recipient whitelist",
        not_matching_text(files.recipients, len(case.whitelists.recipients), printable(recipient)),
        near=near_misses_for_recipient(files.recipients, files.clients, recipient, sender),
    )


def matching_text(entry: WhitelistEntry) -> str:
    """Return a text about an entry that matches."""
    return f'{entry.file}:{entry.line}: "{entry_text(entry.text)}" matches'


def not_matching_text(files: Sequence[WhitelistFile], number: int, what: str) -> str:
    """Return a text about files without an entry that matches."""
    names = ", ".join(each.file for each in files) or "no file"
    return f"none of {counted(number, 'entry', 'entries')} in {names} matches {what}"


def describe_mode(case: ExplainedRequest) -> ExplainedStep:
    """Describe the mode in force."""
    override, mode = case.dry_run.control.mode, case.dry_run.mode
    if case.applied and case.applied.domain and case.applied.mode != mode:
        text = f"{case.applied.mode}, that of {case.applied.domain.domain} (--recipient-domain)"
        return ExplainedStep("mode", text)
    if override is None or not override.holds(case.dry_run.now):
        return ExplainedStep("mode", f"{mode}, from the settings (--mode)")
    until = f" until {format_timestamp(override.until)}" if override.until else ""
    return ExplainedStep(
        "mode",
        f"{mode}{until}, set by {override.by} at {format_timestamp(override.at)} (greyd mode)",
    )


def describe_expected(case: ExplainedRequest) -> ExplainedStep:
    """Describe the window that ``greyd expect`` opened for the mail, if any."""
    windows = [each for each in case.dry_run.control.windows if case.dry_run.now < each.until]
    details = [
        f"{each.recipient} from {each.sender_domain or 'anybody'}"
        f" until {format_timestamp(each.until)}"
        for each in windows
    ]
    if case.reason is Reason.EXPECTED and depends_on_address(case):
        text = "yes, unless the SPF record of the sender's domain denies the client (greyd expect)"
        return ExplainedStep("expected", text, details)
    if case.reason is Reason.EXPECTED:
        return ExplainedStep("expected", "yes (greyd expect)", details)
    if case.dry_run.is_sender_denied:
        client = printable(case.request.client_address or b"")
        text = f"no: the SPF record of the sender's domain denies {client} (fail)"
        return ExplainedStep("expected", text, details)
    why = (
        f"none of {counted(len(windows), 'open window')} is for this mail"
        if windows
        else "no window is open"
    )
    return ExplainedStep("expected", f"no: {why} (greyd expect)", details)


def describe_client_address(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe an invalid address; None for a valid one."""
    if case.address is not None:
        return None
    if case.host:
        text = "unknown, and all further steps depend on it"
        return ExplainedStep("client address", text)
    return ExplainedStep("client address", "not an IP address, so there is no triplet; it passes")
