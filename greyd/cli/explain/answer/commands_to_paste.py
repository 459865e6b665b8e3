"""The commands, ready to paste into a shell, that would change the decision on a request."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.explain.assumption import depends_on_address
from greyd.cli.typed_address.forms import DomainName, MailAddress, NullSender
from greyd.cli.typed_address.options import (
    read_domain,
    read_recipient_or_domain,
    read_sender_or_domain,
)
from greyd.escaping import shell_word
from greyd.rules.hostnames import domain_of, normal_name
from greyd.rules.reasons import GREYLIST, PASS, Reason
from greyd.whitelist.list_names import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.cli.explain.step import ExplainedStep

_LOCAL_FILE = re.compile(r".*\.local\Z")
_HOST_NAME = re.compile(rb"(?:[a-z0-9_-]+\.)+[a-z][a-z0-9-]*")
_RELOAD = "systemctl reload greyd"
_WINDOW = "--for=1h"
"""Longer than the default: a sender that was deferred may wait half an hour before it retries."""


@dataclass(frozen=True, slots=True)
class ProposedCommand:
    """A command to paste, and how far it reaches."""

    effect: str
    """Which mail it changes and for how long, as ``let this mail pass now``."""
    command: str

    def as_json(self) -> dict[str, str]:
        """Return the proposal as a JSON object."""
        return {"effect": self.effect, "command": self.command}


def commands_to_paste(
    case: ExplainedRequest, steps: Sequence[ExplainedStep], options: Sequence[str] = ()
) -> list[ProposedCommand]:
    """Return the commands that would let a deferred mail pass, or a passing mail be greylisted.

    They begin with the one that changes the least mail. The list is empty if no single command
    does, or if the decision is unknown because of the store.

    Args:
        case: the request.
        steps: the steps of the decision.
        options: the options that select the server's store, to repeat in each command.
    """
    needs_address = depends_on_address(case)
    if case.reason is None or (case.is_undecided and not needs_address):
        return []
    if case.address is None and not case.host:
        return []
    if case.reason is Reason.DEFERRED_WITHOUT_STORE:
        return []
    is_deferred = case.reason.action == GREYLIST or any(
        each.reason.action == GREYLIST for each in case.alternatives
    )
    made = _to_pass(case) if is_deferred or needs_address else _to_defer(case, steps)
    shared = "".join(f" {shell_word(each)}" for each in options)
    return [
        replace(each, command=f"{each.command}{shared}")
        if each.command.startswith("greyd ")
        else each
        for each in made
    ]


def _command(*words: bytes | str) -> str:
    return " ".join(["greyd", *map(shell_word, words)])


# To let it pass -----------------------------------------------------------------------------------


def _to_pass(case: ExplainedRequest) -> Iterator[ProposedCommand]:
    sender, recipient = case.request.sender or b"", case.request.recipient or b""
    if depends_on_address(case):
        words = (case.host + b"[ADDRESS]", sender or b"<>", recipient)
        yield ProposedCommand("explain it with the client's address", _command("explain", *words))
    is_stored = case.reason is Reason.EARLY_RETRY
    if is_stored and (triplet := _triplet_options(case)):
        yield ProposedCommand("let this mail pass now", _command("release", *triplet))
    if _is_read_back(read_recipient_or_domain, recipient):
        domain = domain_of(sender)
        is_denied = case.dry_run.is_sender_denied or "spf_fail" in case.dry_run.evidence.signals
        from_domain = (
            [b"--from=" + domain] if domain and not is_denied and _is_domain(domain) else []
        )
        whose = "its domain's" if from_domain else "its recipient's"
        command = _command("expect", *_positional(recipient), *from_domain, _WINDOW)
        yield ProposedCommand(f"let {whose} mail pass for an hour", command)
    # No command exempts the recipient: that would let all spam to it pass because of one mail.
    if entry := _client_entry(case):
        effect = "let its client's mail pass always"
        yield ProposedCommand(effect, _command("whitelist", "add", entry))


def _positional(word: bytes) -> Sequence[bytes]:
    """Return a positional argument, which must not be taken for an option."""
    return (b"--", word) if word.startswith(b"-") else (word,)


def _client_entry(case: ExplainedRequest) -> bytes:
    """Return the client's confirmed name, which a whitelist matches; else its address.

    An entry for which the linter has a finding, such as a name that matches strangers, is not
    proposed.
    """
    # The linter takes long to import, and few other answers need it.
    from greyd.whitelist.local.addition import is_safe_entry

    name = normal_name(case.request.client_name or b"")
    if _HOST_NAME.fullmatch(name) and is_safe_entry(name.decode(), CLIENTS):
        return name
    address = case.address.text if case.address else b""
    return address if is_safe_entry(address.decode(), CLIENTS) else b""


def _triplet_options(case: ExplainedRequest) -> list[bytes]:
    """Return the options that select the mail's triplet; empty if its addresses can't be typed."""
    sender, recipient = case.request.sender or b"", case.request.recipient or b""
    if not _is_read_back(read_recipient_or_domain, recipient):
        return []
    options = []
    # A triplet may be stored under an identity, so the client's address is left out if possible.
    if (case.settings.privacy or not sender) and case.address is not None:
        options.append(b"--client=" + case.address.text)
    if _is_read_back(read_sender_or_domain, sender):
        options.append(b"--sender=" + (sender or b"<>"))
    elif case.address is not None:
        options.append(b"--client=" + case.address.text)
    return [*dict.fromkeys(options), b"--recipient=" + recipient]


def _is_read_back(
    read: Callable[[str, str], NullSender | MailAddress | DomainName], address: bytes
) -> bool:
    """Whether a command reads exactly this address from its argument."""
    try:
        found = read((address or b"<>").decode(errors="surrogateescape"), "")
    except CommandError:
        return False
    match found:
        case NullSender():
            return not address
        case MailAddress(local, domain):
            return b"%b@%b" % (local, domain.lower()) == _with_lower_domain(address)
    return False


def _with_lower_domain(address: bytes) -> bytes:
    local, at, domain = address.rpartition(b"@")
    return local + at + domain.lower()


def _is_domain(domain: bytes) -> bool:
    try:
        return read_domain(domain.decode(errors="surrogateescape"), "") == domain.lower()
    except CommandError:
        return False


# To have it greylisted ----------------------------------------------------------------------------


def _to_defer(case: ExplainedRequest, steps: Sequence[ExplainedStep]) -> Iterator[ProposedCommand]:
    if case.reason is None or case.reason.action != PASS:
        return
    if case.reason in _UNDOING:
        yield from _UNDOING[case.reason](case)
    matching = next((each.match for each in steps if each.decides and each.match), None)
    if matching is None:
        return
    effect = "have mail of this entry greylisted always"
    if _LOCAL_FILE.fullmatch(matching.file) and not matching.text.startswith(b"-"):
        kind = () if case.reason is Reason.CLIENT_WHITELIST else ("--recipient",)
        if case.reason in (Reason.CLIENT_WHITELIST, Reason.RECIPIENT_WHITELIST):
            yield ProposedCommand(effect, _command("whitelist", "remove", *kind, matching.text))
            return
    # Other files belong to a package or to an administrator: comment out only this line.
    edit = shell_word(f"{matching.line}s/^/# /")
    line = f"sed -i {edit} {shell_word(matching.file)} && {_RELOAD}"
    yield ProposedCommand(effect, line)


def _forget_triplet(case: ExplainedRequest) -> Iterator[ProposedCommand]:
    if triplet := _triplet_options(case):
        command = _command("forget", *triplet)
        yield ProposedCommand("have this mail greylisted anew", command)


def _forget_client(case: ExplainedRequest) -> Iterator[ProposedCommand]:
    if case.address is not None:
        command = _command("forget", b"--client=" + case.address.text)
        yield ProposedCommand("have its client greylisted anew", command)


def _forget_identity(case: ExplainedRequest) -> Iterator[ProposedCommand]:
    for identity in case.dry_run.evidence.identities:
        command = _command("forget", b"--client=" + identity.organisation)
        yield ProposedCommand("have its organisation greylisted anew", command)


def _close_window(case: ExplainedRequest) -> Iterator[ProposedCommand]:
    recipient, now = case.request.recipient or b"", case.dry_run.now
    domain = f"@{domain_of(recipient).decode(errors='surrogateescape')}"
    is_open = any(
        each.recipient == domain and now < each.until for each in case.dry_run.control.windows
    )
    whose = domain.encode(errors="surrogateescape") if is_open else recipient
    command = _command("expect", "--close", *_positional(whose))
    yield ProposedCommand("have expected mail greylisted from now on", command)


def _switch_on(_case: ExplainedRequest) -> Iterator[ProposedCommand]:
    yield ProposedCommand("have all mail greylisted from now on", _command("mode", "on"))


_UNDOING: Mapping[Reason, Callable[[ExplainedRequest], Iterator[ProposedCommand]]] = {
    Reason.TRIPLET_FOUND: _forget_triplet,
    Reason.CLIENT_AWL: _forget_client,
    Reason.IDENTITY_AWL: _forget_identity,
    Reason.EXPECTED: _close_window,
    Reason.MODE_OFF: _switch_on,
    Reason.LEARNING: _switch_on,
}
"""How to undo what lets a mail pass."""
