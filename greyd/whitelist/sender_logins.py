"""Which senders a login may use: greyd learns only from those (``--outbound-senders``).

The files of ``--sender-logins`` have the format of a table for Postfix's
``smtpd_sender_login_maps`` (postmap(5)), and the same keys::

    alice@example.org       alice, alice.smith@example.org
    info+news@example.org   alice            an extension of its own
    @example.net            bob carol        all other senders of the domain

``#`` starts a comment line, and a line that starts with a space continues the one before. Logins
are compared without regard to case, as Postfix does. For a sender in a file only its logins count;
for all others the rule of ``--outbound-senders``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.correspondence.address_forms import local_part_without_tags
from greyd.rules.hostnames import normal_name, organisation_of
from greyd.whitelist.entries import Diagnostic, WhitelistFile, display_text, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SenderLogins:
    """The logins that may use a sender, for the senders in the files."""

    def __init__(self, sources: Iterable[WhitelistFile] = ()) -> None:
        """Parse the files; a line that matches no sender causes a diagnostic, never an error."""
        self.diagnostics: list[Diagnostic] = []
        self._logins: dict[bytes, frozenset[bytes]] = {}
        """The logins by address, or by ``@`` and domain."""
        for source in sources:
            for number, line in logical_lines(source.content):
                self._add(source.file, number, line)

    def __len__(self) -> int:
        return len(self._logins)

    def _add(self, file: str, number: int, line: bytes) -> None:
        # A line of commas alone has no words.
        sender, *logins = line.replace(b",", b" ").split() or [b""]
        if problem := _problem(sender, logins):
            remedy = "write an address, or @example.org, then its logins"
            entry = display_text(line)
            self.diagnostics.append(Diagnostic(file, number, entry, problem, remedy))
            return
        local, _, domain = sender.rpartition(b"@")
        key = _folded(local) + b"@" + normal_name(domain)
        self._logins.setdefault(key, frozenset(map(_folded, logins)))

    def logins_of(self, sender: bytes) -> frozenset[bytes] | None:
        """Return the logins, in lower case, that may use a sender; None if no line is for it."""
        if not self._logins:
            return None
        local, _, domain = sender.rpartition(b"@")
        local, domain = _folded(local), normal_name(domain)
        for each in (local, local.partition(b"+")[0], b""):
            if (found := self._logins.get(each + b"@" + domain)) is not None:
                return found
        return None


def may_use_sender(login: bytes, sender: bytes, rule: str, logins: SenderLogins) -> bool:
    """Whether a login may use an envelope sender, so that greyd learns from its mail.

    Args:
        login: the name of the authenticated user (``sasl_username``).
        sender: the envelope sender.
        rule: the value of ``--outbound-senders``, for senders that ``logins`` does not have.
            ``own``: the login is the sender's address, or its local part; then a domain in the
            login has to be of the same organisation as the sender's. ``domain``: the login may also
            use other senders of its own domain. ``any``: every sender.
        logins: the files of ``--sender-logins``.
    """
    login = _folded(login)
    named = logins.logins_of(sender)
    if named is not None:
        return login in named
    if rule == "any":
        return True
    local, at, domain = sender.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    local, domain = _folded(local), normal_name(domain)
    login_local, at, login_domain = login.rpartition(b"@")
    is_own_name = (login_local if at else login) in (local, local_part_without_tags(local))
    if not at:
        return is_own_name
    login_domain = normal_name(login_domain)
    if login_domain == domain:
        return is_own_name or rule == "domain"
    # Some SASL libraries append the mail server's host name to the login.
    organisation = organisation_of(domain)
    return is_own_name and bool(organisation) and organisation == organisation_of(login_domain)


def logical_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each logical line (postmap(5)) with the number of its first line.

    Blank lines and comments are left out.
    """
    first, parts = 0, list[bytes]()
    for number, line in enumerate(content.split(b"\n"), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        if line[:1].isspace() and parts:
            parts.append(text)
            continue
        if parts:
            yield first, b" ".join(parts)
        first, parts = number, [text]
    if parts:
        yield first, b" ".join(parts)


def _problem(sender: bytes, logins: list[bytes]) -> str:
    """Return why a line matches no sender; empty if it does."""
    if is_pattern(sender):
        return "skipped: a pattern"
    if not sender.rpartition(b"@")[2] or b"@" not in sender:
        return "skipped: the sender has no domain"
    return "" if logins else "skipped: no login"


def _folded(text: bytes) -> bytes:
    return text.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")
