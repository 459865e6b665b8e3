"""Correspondence: which mail is an answer to what a local user wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.correspondence.keys import (
    CorrespondenceForm,
    answered_key,
    correspondence_key,
    correspondent_form,
    keys_of_answer,
    keys_to_learn,
    user_form,
)
from greyd.rules.evidence import NO_EVIDENCE, Evidence, ProvenIdentity
from greyd.rules.greylist import note_correspondence

if TYPE_CHECKING:
    from collections.abc import Sequence

T = 1_700_000_000
BOB = "bob@ours.example"

ADDRESS = Settings(learn_outbound=True, identity=("spf", "name"))
ORGANISATION = replace(ADDRESS, correspondents="organisation")
PRIVATE = replace(ORGANISATION, privacy=True, privacy_key=b"0123456789abcdef")


def proven(*organisations: str, speaks: bool = True, signals: Sequence[str] = ()) -> Evidence:
    """Return the evidence that a client sends for organisations, and for the sender."""
    ways = ("spf", "name", "group")
    identities = (
        ProvenIdentity(name.encode(), way, speaks)
        for name, way in zip(organisations, ways, strict=False)
    )
    return Evidence(tuple(identities), tuple(signals))


def learnt(
    correspondent: str,
    user: str = BOB,
    settings: Settings = ORGANISATION,
    exchangers: Sequence[bytes] = (),
) -> dict[bytes, bytes]:
    """Return the records that a user's mail leaves at ``T``."""
    keys = keys_to_learn(user.encode(), correspondent.encode(), settings, exchangers)
    return {each.key: note_correspondence(each, T).value for each in keys}


def answers(
    records: dict[bytes, bytes],
    sender: str,
    evidence: Evidence,
    settings: Settings = ORGANISATION,
    recipient: str = BOB,
    seconds: int = HOUR,
) -> CorrespondenceForm | None:
    """Return the form in which mail answers, or None if it is no answer."""
    keys = keys_of_answer(sender.encode(), recipient.encode(), evidence, settings)
    answered = answered_key(keys, records, T + seconds)
    return answered and answered.form


# The address --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [ADDRESS, ORGANISATION, PRIVATE])
@pytest.mark.parametrize(
    ("written_to", "sender", "recipient", "is_answer"),
    [
        ("alice@corp.com", "alice@corp.com", BOB, True),
        ("Alice@Corp.com", "alice@CORP.com", BOB, True),
        ("alice@corp.com", "alice+reply@corp.com", BOB, True),
        ("alice+shop@corp.com", "alice@corp.com", BOB, True),
        ("alice+shop@corp.com", "alice+shop@corp.com", BOB, True),
        ("alice+shop@corp.com", "alice+other@corp.com", BOB, True),
        ("alice@corp.com", "prvs=1234567890=alice@corp.com", BOB, True),
        ("alice@corp.com", "prvs=alice=1234567890@corp.com", BOB, True),
        ("ticket-4711@corp.com", "ticket-4712@corp.com", BOB, True),
        ("alice@corp.com", "alice@corp.com.", BOB, True),
        ("info@bücher.com", "info@xn--bcher-kva.com", BOB, True),
        ("info@xn--bcher-kva.com", "info@BÜCHER.com", BOB, True),
        ("alice@corp.com", "alice@corp.com", "bob+shop@ours.example", True),
        ("alice@corp.com", "alice@corp.com", "prvs=1234567890=bob@ours.example", True),
        # At a mailbox provider, and without letters, digits tell people apart.
        ("alice@gmail.com", "alice+x@gmail.com", BOB, True),
        ("alice.7@gmail.com", "alice.8@gmail.com", BOB, False),
        ("10001@qq.com", "10002@qq.com", BOB, False),
        ("10001@qq.com", "10001@qq.com", BOB, True),
        ("user.1@yahoo.co.uk", "user.2@yahoo.co.uk", BOB, False),
        ("49-170-1@corp.com", "49-170-2@corp.com", BOB, False),
        # Somebody else, or to somebody else.
        ("alice@corp.com", "alice@corp.com", "rob@ours.example", False),
        ("alice@corp.com", "alice@corp.com", "bob@theirs.example", False),
        ("alice@gmail.com", "carol@gmail.com", BOB, False),
        ("alice@gmail.com", "alice.x@gmail.com", BOB, False),
        ("alice@corp.com", "alice@other.com", BOB, False),
    ],
)
def test_an_address_answers_in_all_its_forms(
    settings: Settings, written_to: str, sender: str, recipient: str, is_answer: bool
) -> None:
    domain = sender.rpartition("@")[2].lower().rstrip(".").replace("bücher", "xn--bcher-kva")
    records = learnt(written_to, settings=settings)
    found = answers(records, sender, proven(domain), settings, recipient)
    assert (found is CorrespondenceForm.ADDRESS) is is_answer


@pytest.mark.parametrize("settings", [ADDRESS, PRIVATE])
@pytest.mark.parametrize(
    ("written_to", "user", "sender", "recipient"),
    [
        ("alice@corp.com", BOB, "alice@corp.com", BOB),
        ("alice@corp.com", BOB, "alice+x@corp.com", "bob+y@ours.example"),
        ("Order-4711+A@Corp.com", BOB, "order-4711+a@corp.com", BOB),
        ("alice@corp.com", "bob+y@ours.example", "alice@corp.com", "bob+y@ours.example"),
        ("10001@qq.com", BOB, "10001@qq.com", BOB),
    ],
)
def test_what_version_0_1_has_learnt_still_counts(
    settings: Settings, written_to: str, user: str, sender: str, recipient: str
) -> None:
    key = correspondence_key(written_to.encode(), user.encode(), settings)
    evidence = proven(sender.rpartition("@")[2])
    assert answers({key: b"%d" % T}, sender, evidence, settings, recipient)
    # And the other way round: a server of that version on the same store knows what is learnt now.
    assert key in learnt(written_to, user, settings)


# The organisation ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written_to", "sender", "evidence", "is_answer"),
    [
        ("alice@corp.com", "carol@corp.com", proven("corp.com"), True),
        ("alice@mail.corp.com", "carol@corp.com", proven("corp.com"), True),
        ("alice@corp.com", "carol@team.corp.com", proven("corp.com"), True),
        ("alice@corp.co.uk", "carol@corp.co.uk", proven("corp.co.uk"), True),
        ("alice@corp.com", "carol@corp.com", proven("hoster.com", "corp.com"), True),
        # Nobody has proved it, or another organisation.
        ("alice@corp.com", "carol@corp.com", proven("corp.com", speaks=False), False),
        ("alice@corp.com", "carol@corp.com", NO_EVIDENCE, False),
        ("alice@corp.com", "carol@other.com", proven("other.com"), False),
        ("alice@corp.co.uk", "carol@other.co.uk", proven("other.co.uk"), False),
        ("alice@corp.com", "carol@corp.com", proven("corp.com", signals=["no_ptr"]), False),
        ("alice@corp.com", "carol@corp.com", proven("corp.com", signals=["generic_name"]), True),
        # The users of a mailbox provider have nothing to do with each other.
        ("alice@gmail.com", "carol@gmail.com", proven("gmail.com"), False),
        ("alice@outlook.com", "carol@outlook.com", proven("outlook.com"), False),
        ("alice@hotmail.co.uk", "carol@hotmail.co.uk", proven("hotmail.co.uk"), False),
        ("alice@yahoo.com.br", "carol@yahoo.com.br", proven("yahoo.com.br"), False),
        ("alice@gmx.de", "carol@gmx.de", proven("gmx.de"), False),
        ("alice@web.de", "carol@web.de", proven("web.de"), False),
        ("alice@icloud.com", "carol@icloud.com", proven("icloud.com"), False),
        ("10001@qq.com", "10002@qq.com", proven("qq.com"), False),
        ("alice@mail.ru", "carol@mail.ru", proven("mail.ru"), False),
        ("alice@vip.qq.com", "carol@vip.qq.com", proven("qq.com"), False),
        # Customers below a private suffix are organisations of their own.
        ("alice@one.blogspot.com", "carol@two.blogspot.com", proven("two.blogspot.com"), False),
    ],
)
def test_a_colleague_answers_only_with_the_option_and_for_his_own_organisation(
    written_to: str, sender: str, evidence: Evidence, is_answer: bool
) -> None:
    for settings in (ORGANISATION, PRIVATE):
        evidence_of_sender = replace(
            evidence,
            identities=tuple(
                replace(each, speaks_for_sender=False)
                if each.organisation == b"hoster.com"
                else each
                for each in evidence.identities
            ),
        )
        found = answers(learnt(written_to, settings=settings), sender, evidence_of_sender, settings)
        assert (found is CorrespondenceForm.ORGANISATION) is is_answer
    assert answers(learnt(written_to, settings=ADDRESS), sender, evidence, ADDRESS) is None


def test_a_listed_organisation_answers_nobody() -> None:
    identity = ProvenIdentity(b"corp.com", "spf", speaks_for_sender=True, is_listed=True)
    for sender in ("alice@corp.com", "carol@corp.com", ""):
        assert keys_of_answer(sender.encode(), BOB.encode(), Evidence((identity,)), ADDRESS) == ()


def test_a_customer_answers_for_an_address_and_not_for_its_provider() -> None:
    records = learnt("alice@hoster.com")
    customer = ProvenIdentity(b"hoster.com", "name", speaks_for_sender=True, may_be_customer=True)
    assert answers(records, "alice@hoster.com", Evidence((customer,)))
    assert answers(records, "root@vps7.hoster.com", Evidence((customer,))) is None
    hoster = replace(customer, may_be_customer=False)
    assert answers(records, "root@vps7.hoster.com", Evidence((hoster,)))


def test_an_organisation_answers_only_the_user_who_wrote_to_it() -> None:
    records = learnt("alice@corp.com")
    evidence = proven("corp.com")
    assert answers(records, "carol@corp.com", evidence, recipient="bob+x@ours.example")
    assert not answers(records, "carol@corp.com", evidence, recipient="rob@ours.example")


# Bounces ------------------------------------------------------------------------------------------

OUTLOOK = (b"corp-com.mail.protection.outlook.com",)


@pytest.mark.parametrize("settings", [ADDRESS, ORGANISATION, PRIVATE])
@pytest.mark.parametrize(
    ("written_to", "exchangers", "evidence", "is_bounce"),
    [
        ("alice@corp.com", (), proven("corp.com", speaks=False), True),
        ("alice@mail.corp.com", (), proven("corp.com", speaks=False), True),
        ("alice@corp.com", (), proven("other.com", "corp.com", speaks=False), True),
        ("alice@web.de", (), proven("web.de", speaks=False), True),
        ("alice@corp.com", OUTLOOK, proven("outlook.com", speaks=False), True),
        ("alice@corp.com", OUTLOOK, proven("corp.com", speaks=False), True),
        ("alice@corp.com", (), proven("outlook.com", speaks=False), False),
        ("alice@corp.com", OUTLOOK, proven("google.com", speaks=False), False),
        ("alice@corp.com", OUTLOOK, NO_EVIDENCE, False),
        ("alice@corp.com", OUTLOOK, proven("outlook.com", signals=["ptr_mismatch"]), False),
    ],
)
def test_a_bounce_comes_from_where_the_user_has_written(
    settings: Settings,
    written_to: str,
    exchangers: Sequence[bytes],
    evidence: Evidence,
    is_bounce: bool,
) -> None:
    records = learnt(written_to, settings=settings, exchangers=exchangers)
    expected = CorrespondenceForm.BOUNCE if is_bounce else None
    assert answers(records, "", evidence, settings) is expected
    batv = "prvs=1234567890=bob@ours.example"
    assert answers(records, "", evidence, settings, batv) is expected
    assert answers(records, "", evidence, settings, "rob@ours.example") is None
    late = 5 * DAY
    assert answers(records, "", evidence, settings, seconds=late) is expected
    assert answers(records, "", evidence, settings, seconds=late + 1) is None


def test_an_exchanger_s_own_users_are_no_colleagues() -> None:
    records = learnt("alice@corp.com", exchangers=[b"mx.filter-service.com"])
    assert answers(records, "", proven("filter-service.com"))
    assert not answers(records, "mallory@filter-service.com", proven("filter-service.com"))


# Keys ---------------------------------------------------------------------------------------------

EXCHANGERS = [b"mx1.one.com", b"mx2.one.com", b"mx.two.com", b"mx.three.com", b"localhost", b""]


def test_the_keys_are_few_and_tell_nobody_s_name() -> None:
    keys = keys_to_learn(
        b"bob+x@ours.example", b"alice-1+y@mail.corp.com", ORGANISATION, EXCHANGERS
    )
    assert len(keys) == 6
    assert [each.key.partition(b"~")[0] for each in keys] == [
        b"{mail.corp.com}", b"{mail.corp.com}", b"{corp.com}", b"{corp.com}", b"{one.com}",
        b"{two.com}",
    ]  # fmt: skip
    assert not any(name in each.key for each in keys for name in (b"alice", b"bob", b"ours"))
    private = keys_to_learn(b"bob@ours.example", b"alice@corp.com", PRIVATE, EXCHANGERS)
    assert all(each.key.startswith(b"~") for each in private)
    evidence = proven("corp.com", "one.com", "two.com")
    for sender in (b"", b"alice-1+y@mail.corp.com"):
        assert len(keys_of_answer(sender, b"bob+x@ours.example", evidence, ORGANISATION)) == 3
    assert (
        keys_of_answer(b"", b"bob@ours.example", evidence, replace(ADDRESS, learn_outbound=False))
        == ()
    )


def test_a_correspondent_of_one_form_has_one_key_for_the_address() -> None:
    assert len(keys_to_learn(b"bob@ours.example", b"alice@corp.com", ADDRESS)) == 2
    assert len(keys_to_learn(b"bob@ours.example", b"alice@localhost", ORGANISATION)) == 1


def test_bounces_are_kept_five_days_and_correspondents_max_age() -> None:
    lives = {
        each.form: note_correspondence(each, T).ttl_seconds
        for each in keys_to_learn(b"bob@ours.example", b"alice@corp.com", ORGANISATION)
    }
    assert lives == {
        CorrespondenceForm.ADDRESS: 35 * DAY + HOUR,
        CorrespondenceForm.ORGANISATION: 35 * DAY + HOUR,
        CorrespondenceForm.BOUNCE: 5 * DAY + HOUR,
    }


@pytest.mark.parametrize("text", [b"", b"x", b"-", b"99999999999999999"])
def test_a_record_that_is_none_answers_nothing(text: bytes) -> None:
    keys = keys_of_answer(b"alice@corp.com", BOB.encode(), proven("corp.com"), ADDRESS)
    assert answered_key(keys, {keys[0].key: text}, T) is None


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_addresses_have_keys_and_a_form_that_stays(one: bytes, other: bytes) -> None:
    assert 1 <= len(keys_to_learn(one, other, ORGANISATION, [one])) <= 6
    assert len(keys_of_answer(one, other, proven("corp.com"), ORGANISATION)) <= 3
    assert user_form(one).count(b"@") == one.count(b"@")
    assert correspondent_form(one).rpartition(b"@")[2] == user_form(one).rpartition(b"@")[2]
