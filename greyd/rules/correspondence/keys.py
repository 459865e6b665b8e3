"""The keys of correspondence: records of users' outbound mail, by which an answer is recognised.

Outbound mail of a user leaves a record under each of ``keys_to_learn``. Inbound mail is an answer
if there is a record under one of ``keys_of_answer``. A key has one of three forms:

- ``address``: the user has written to the sender. ``alice@`` and ``alice+x@`` are the same sender,
  and so are the forms that ``normalise_sender`` joins;
- ``organisation``: the user has written to somebody of the sender's organisation (an option, and
  never for the users of a mailbox provider);
- ``bounce``: the mail has the null sender, and within ``MAX_BOUNCE_SECONDS`` the user has written
  to somebody of the client's organisation, or to a domain whose mail exchanger it provides.

Each form needs a proven identity. For the first two the client's identity has to be the sender's
organisation. A bounce has no sender, so the client's own identity counts.

A key has the hash of both names, and as its tag the domain of the correspondent or organisation. So
Redis Cluster keeps the keys for one domain on one node.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.config.vocabulary import DAY
from greyd.rules.correspondence.address_forms import local_part_without_tags, replace_numbers
from greyd.rules.correspondence.mailbox_providers import mailbox_providers
from greyd.rules.hostnames import domain_of, normal_name, organisation_of
from greyd.rules.names.internationalised import ascii_address
from greyd.rules.records import Triplet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.evidence import Evidence


MAX_BOUNCE_SECONDS = 5 * DAY
"""How long after a user's mail a bounce passes: a mail server gives up after four to five days
(RFC 5321, 4.5.4.1).
"""

MAX_EXCHANGER_ORGANISATIONS = 2
"""Maximum number of organisations of mail exchangers to store for one outbound mail."""

_LETTER = re.compile(rb"[^\W\d_]|[\x80-\xff]")


class CorrespondenceForm(Enum):
    """The ways in which mail answers a user's mail; a part of the keys."""

    ADDRESS = "address"
    ORGANISATION = "organisation"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class CorrespondenceKey:
    """A key whose record makes mail an answer."""

    key: bytes
    form: CorrespondenceForm
    correspondent: bytes
    """The address, or the organisation's domain, that the user has written to."""
    max_age_seconds: int
    """How long after the user's mail an answer passes."""


# Keys -------------------------------------------------------------------------------------------


def keys_to_learn(
    user: bytes, correspondent: bytes, settings: Settings, exchangers: Iterable[bytes] = ()
) -> Sequence[CorrespondenceKey]:
    """Return the keys under which a user's outbound mail leaves a record, at most six.

    Args:
        user: the envelope sender of the outbound mail.
        correspondent: its recipient.
        settings: the forms of answers (``--correspondents``), and the lifetime of records.
        exchangers: the host names of the mail exchangers of the correspondent's domain, if known.
    """
    organisation = organisation_of(domain_of(correspondent))
    # Version 0.1 knows only the exact addresses; its servers and this one may share a store.
    keys = _address_keys(correspondent, user, settings)
    if organisation and _answers_for_organisation(correspondent, settings):
        keys.append(organisation_key(organisation, user, settings))
    hosts = [each for each in dict.fromkeys(map(organisation_of, exchangers)) if each]
    senders = dict.fromkeys([organisation, *hosts[:MAX_EXCHANGER_ORGANISATIONS]])
    return [*keys, *(bounce_key(each, user, settings) for each in senders if each)]


def keys_of_answer(
    sender: bytes, recipient: bytes, evidence: Evidence, settings: Settings
) -> tuple[CorrespondenceKey, ...]:
    """Return the keys whose records make mail an answer to a user's mail, at most three.

    Args:
        sender: the envelope sender; empty for a bounce.
        recipient: the envelope recipient.
        evidence: the client's identities, and its signals. With a strong signal only the address
            that the user has written to passes.
        settings: the forms of answers (``--correspondents``), and the lifetime of records.
    """
    if not settings.learn_outbound:
        return ()
    identities = [each for each in evidence.identities if not each.is_listed]
    if not sender:
        if evidence.has_strong_signal:
            return ()
        return tuple(bounce_key(each.organisation, recipient, settings) for each in identities)
    identities = [each for each in identities if each.speaks_for_sender]
    if not identities:
        return ()
    keys = _address_keys(sender, recipient, settings)
    # A customer of the organisation does not answer for it.
    organisations = [each.organisation for each in identities if not each.may_be_customer]
    if _answers_for_organisation(sender, settings) and not evidence.has_strong_signal:
        keys += [organisation_key(each, recipient, settings) for each in organisations[:1]]
    return tuple(keys)


def _address_keys(correspondent: bytes, user: bytes, settings: Settings) -> list[CorrespondenceKey]:
    """Return the key of the addresses as they are and, if it differs, that of their forms."""
    form = correspondent_form(correspondent)
    names = {
        correspondence_key(correspondent, user, settings): correspondent,
        correspondence_key(form, user_form(user), settings): form,
    }
    return [
        CorrespondenceKey(key, CorrespondenceForm.ADDRESS, name, settings.max_age_seconds)
        for key, name in names.items()
    ]


def correspondence_key(correspondent: bytes, user: bytes, settings: Settings) -> bytes:
    """Return the key of the correspondence of a local user with an address.

    Both addresses are hashed, even without ``--privacy``. The tag is the correspondent's domain.
    """
    correspondent, user = ascii_address(correspondent), ascii_address(user)
    return _hashed((correspondent, user), correspondent.rpartition(b"@")[2], settings)


def organisation_key(organisation: bytes, user: bytes, settings: Settings) -> CorrespondenceKey:
    """Return the key of the correspondence of a local user with an organisation."""
    form, max_age = CorrespondenceForm.ORGANISATION, settings.max_age_seconds
    return CorrespondenceKey(
        _organisation_hash(form, organisation, user, settings), form, organisation, max_age
    )


def bounce_key(organisation: bytes, user: bytes, settings: Settings) -> CorrespondenceKey:
    """Return the key by which an organisation's bounces to a local user pass."""
    form, max_age = CorrespondenceForm.BOUNCE, min(MAX_BOUNCE_SECONDS, settings.max_age_seconds)
    return CorrespondenceKey(
        _organisation_hash(form, organisation, user, settings), form, organisation, max_age
    )


def _organisation_hash(
    form: CorrespondenceForm, organisation: bytes, user: bytes, settings: Settings
) -> bytes:
    # The empty name at the beginning is not an address, so no pair of addresses has the same hash.
    names = (b"", form.value.encode(), organisation, user_form(user))
    return _hashed(names, organisation, settings)


def _hashed(names: Sequence[bytes], tag: bytes, settings: Settings) -> bytes:
    text = b"\0".join(names).lower()
    digest = hmac.digest(settings.privacy_key or b"", text, "sha256").hex().encode()
    return b"~" + digest if settings.privacy else b"{%b}~%b" % (tag.lower(), digest)


def _answers_for_organisation(address: bytes, settings: Settings) -> bool:
    """Whether other senders of an address's organisation may answer for it."""
    return (
        settings.correspondents == CorrespondenceForm.ORGANISATION.value
        and domain_of(address) not in mailbox_providers()
    )


# Forms of addresses -----------------------------------------------------------------------------


def user_form(user: bytes) -> bytes:
    """Return a local user's address in lower case, without a BATV tag and without an extension."""
    local, at, domain = user.lower().rpartition(b"@")
    return local_part_without_tags(local) + at + normal_name(domain) if at else domain


def correspondent_form(address: bytes) -> bytes:
    """Return the form of an address that all addresses of the same correspondent share.

    That is the address in lower case, without a BATV tag and an extension, with ``#`` for whole
    words of digits, and with its domain in ASCII. Digits stay where they tell one person from
    another: at a mailbox provider, and in a local part without letters.
    """
    local, at, domain = user_form(address).rpartition(b"@")
    if at and _LETTER.search(local) and domain not in mailbox_providers():
        local = replace_numbers(local)
    return local + at + domain


# Records ----------------------------------------------------------------------------------------


def answered_key(
    keys: Iterable[CorrespondenceKey], records: Mapping[bytes, bytes | None], now: int
) -> CorrespondenceKey | None:
    """Return the first key whose record is still valid at ``now``; None without one."""
    for each in keys:
        text = records.get(each.key)
        written = None if text is None else Triplet.load(text)
        if written is not None and now - written.first_seen <= each.max_age_seconds:
            return each
    return None
