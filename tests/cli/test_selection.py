"""Which entries a command is about."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.entries.selection import parse_selection
from greyd.cli.errors import CommandError
from greyd.config.sender_groups import SenderGroup
from greyd.config.settings import Settings
from greyd.config.vocabulary import HOUR
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.entries import EntryState, StoredEntry, interpret
from greyd.rules.keys import request_keys
from greyd.rules.transaction import Record
from tests.evidence import evidence_for
from tests.fake_dns import address_of

NOW = 1_700_000_000
SETTINGS = Settings()

if TYPE_CHECKING:
    from greyd.cli.entries.selection import Selection


def selects_all(selection: Selection) -> bool:
    return not (selection.names_somebody or selection.states or selection.since)


def entry(
    client: str = "192.0.2.7",
    sender: str = "alice@example.com",
    recipient: str = "bob@example.org",
    settings: Settings = SETTINGS,
    *,
    what: str = "triplet",
    seen: int = NOW,
) -> StoredEntry:
    evidence = evidence_for(b"example.com", speaks=False)
    names = request_keys(
        address_of(client), sender.encode(), recipient.encode(), settings, evidence
    )
    value = {"client": b"7,%d", "identity": b"7,%d,1"}.get(what, b"%d") % seen
    key = {
        "triplet": names.triplet,
        "client": names.client,
        "identity_triplet": names.identities[0].triplet,
        "identity": names.identities[0].identity,
    }[what]
    found = interpret(Record(key, value, 60), NOW, settings)
    assert found is not None
    return found


def takes(found: StoredEntry, settings: Settings = SETTINGS, **options: str) -> bool:
    selection = parse_selection(
        options.get("client"), options.get("sender"), options.get("recipient")
    )
    assert not selects_all(selection)
    assert selection.names_somebody
    return selection.matches(found, settings)


@pytest.mark.parametrize(
    ("client", "taken"),
    [
        ("192.0.2.7", True),
        ("192.0.2.200", True),  # its mail shares the triplet
        ("::ffff:192.0.2.7", True),
        ("64:ff9b::192.0.2.7", True),
        ("64:ff9b::192.0.3.7", False),
        ("192.0.2.0/24", True),
        ("192.0.2.128/25", True),
        ("192.0.0.0/16", True),
        ("0.0.0.0/0", True),
        ("192.0.3.7", False),
        ("2001:db8::7", False),
        ("::/0", False),
    ],
)
def test_a_triplet_is_of_its_whole_network(client: str, taken: bool) -> None:
    assert takes(entry(), client=client) is taken


@pytest.mark.parametrize(
    ("client", "taken"),
    [("64:ff9b:1::192.0.2.9", True), ("64:ff9b:1::/48", True), ("64:ff9b:1::192.0.3.7", False)],
)
def test_behind_a_translator_a_network_is_one_of_ipv4(client: str, taken: bool) -> None:
    assert takes(entry("64:ff9b:1::192.0.2.7"), client=client) is taken


@pytest.mark.parametrize(
    ("client", "taken"), [("192.0.2.7", True), ("192.0.2.0/29", True), ("192.0.2.8", False)]
)
def test_a_client_is_of_its_address_alone(client: str, taken: bool) -> None:
    assert takes(entry(what="client"), client=client) is taken
    by_host = Settings(lookup_by_host=True)
    assert takes(entry(settings=by_host), by_host, client=client) is taken


@pytest.mark.parametrize(
    ("client", "taken"), [("2001:db8::9", True), ("2001:db8::/32", True), ("2001:db8:1::7", False)]
)
def test_networks_of_ipv6_are_as_wide_as_the_settings_say(client: str, taken: bool) -> None:
    assert takes(entry("2001:db8::7"), client=client) is taken


def test_a_name_is_that_of_an_identity_and_what_is_below() -> None:
    for what in ("identity", "identity_triplet"):
        assert takes(entry(what=what), client="example.com")
        assert not takes(entry(what=what), client="mail.example.com")
        assert not takes(entry(what=what), client="192.0.2.7")


def test_a_name_stands_for_its_addresses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, *_: object, **__: object) -> list[Any]:
        addresses = {"mail.example.com": ["192.0.2.7", "2001:db8::7"]}.get(name, [])
        return [(None, None, 0, "", (address, 0)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    for address in ("192.0.2.7", "2001:db8::7"):
        assert takes(entry(address, what="client"), client="mail.example.com")
        assert takes(entry(address), client="mail.example.com")
        assert not takes(entry(address), client="mail.example.net")
    assert not takes(entry("192.0.2.8", what="client"), client="mail.example.com")


@pytest.mark.parametrize(
    "client", ["x", "192.0.2", "192.0.2.0/33", "192.0x2", "a b.c", "\x1b[31m.c", "\udcff"]
)
def test_a_client_that_is_none_is_refused_in_one_harmless_line(client: str) -> None:
    with pytest.raises(CommandError) as refused:
        parse_selection(client, None, None)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("sender", "taken"),
    [
        ("alice@example.com", True),
        ("<Alice@Example.COM>", True),
        ("alice+news@example.com", True),
        ("example.com", True),
        ("@example.com", True),
        ("com", True),
        ("lice@example.com", False),
        ("ample.com", False),
        ("alice", False),
        ("<>", False),
    ],
)
def test_a_sender_is_an_address_or_all_of_a_domain(sender: str, taken: bool) -> None:
    assert takes(entry(), sender=sender) is taken


def test_a_sender_is_known_without_what_changes_from_mail_to_mail() -> None:
    found = entry(sender="bounce-1234@example.com")
    assert takes(found, sender="bounce-99@example.com")
    assert not takes(found, sender="bounce@example.com")


@pytest.mark.parametrize(
    ("recipient", "taken"),
    [
        ("bob@example.org", True),
        ("<BOB@example.org>", True),
        ("example.org", True),
        ("bob+x@example.org", False),
        ("example.com", False),
    ],
)
def test_a_recipient_is_an_address_or_all_of_a_domain(recipient: str, taken: bool) -> None:
    assert takes(entry(), recipient=recipient) is taken


def test_the_sender_of_bounces_is_written_in_brackets() -> None:
    assert takes(entry(sender=""), sender="<>")
    assert takes(entry(sender="", what="identity_triplet"), sender="<>")
    assert not takes(entry(), sender="<>")
    assert not takes(entry(what="client"), sender="<>")
    private = Settings(privacy=True)
    assert not takes(entry(sender="", settings=private), private, sender="<>")


def test_odd_bytes_are_taken_as_they_are() -> None:
    key = b"{192.0.2.0}/\xff@example.com/bob@example.org"
    found = interpret(Record(key, b"%d" % NOW, 60), NOW, SETTINGS)
    assert found is not None
    assert takes(found, sender="\udcff@example.com")


def test_a_correspondence_is_of_the_domain_that_was_written_to() -> None:
    key = correspondence_key(b"carol@example.net", b"bob@example.org", SETTINGS)
    found = interpret(Record(key, b"%d" % NOW, 60), NOW, SETTINGS)
    assert found is not None
    assert takes(found, sender="example.net")
    assert not takes(found, sender="example.com")


def test_all_that_is_said_has_to_hold() -> None:
    assert takes(entry(), client="192.0.2.7", sender="example.com", recipient="example.org")
    assert not takes(entry(), client="192.0.2.7", sender="example.com", recipient="example.net")


def test_states_and_times_select_without_naming_anybody() -> None:
    waiting = parse_selection(None, None, None, {EntryState.WAITING})
    assert not selects_all(waiting)
    assert not waiting.names_somebody
    assert waiting.matches(entry(), SETTINGS)
    assert not waiting.matches(entry(what="client"), SETTINGS)
    lately = parse_selection(None, None, None, since=NOW - HOUR)
    assert not selects_all(lately)
    assert lately.matches(entry(seen=NOW - HOUR), SETTINGS)
    assert not lately.matches(entry(seen=NOW - HOUR - 1), SETTINGS)


def test_nothing_said_is_every_entry() -> None:
    everything = parse_selection(None, None, None)
    assert selects_all(everything)
    assert everything.matches(entry(), SETTINGS)
    assert everything.matches(entry(settings=Settings(privacy=True)), SETTINGS)


# One triplet --------------------------------------------------------------------------------------


@pytest.mark.parametrize("privacy", [False, True])
@pytest.mark.parametrize("sender", ["alice@example.com", "<>"])
def test_address_sender_and_recipient_name_one_triplet(sender: str, privacy: bool) -> None:
    settings = Settings(privacy=privacy)
    selection = parse_selection("192.0.2.7", sender, "Bob@example.org")
    expected = entry(sender="" if sender == "<>" else sender, settings=settings)
    found = selection.exact_keys(settings)
    assert found is not None
    assert found.triplet == expected.key
    assert found.client == entry(settings=settings, what="client").key


@pytest.mark.parametrize(
    ("client", "sender", "recipient"),
    [
        ("192.0.2.0/24", "alice@example.com", "bob@example.org"),
        (None, "alice@example.com", "bob@example.org"),
        ("192.0.2.7", None, "bob@example.org"),
        ("192.0.2.7", "example.com", "bob@example.org"),
        ("192.0.2.7", "@example.com", "bob@example.org"),
        ("192.0.2.7", "alice@example.com", None),
        ("192.0.2.7", "alice@example.com", "example.org"),
        ("192.0.2.7", "alice@example.com", "@example.org"),
    ],
)
def test_less_names_no_single_triplet(
    client: str | None, sender: str | None, recipient: str | None
) -> None:
    assert parse_selection(client, sender, recipient).exact_keys(SETTINGS) is None


# Sender groups ------------------------------------------------------------------------------------

GROUPED = Settings(sender_groups=(SenderGroup("big", ("192.0.2.0/24",)),))


@pytest.mark.parametrize(
    ("client", "taken"),
    [("group:big", True), ("Group:BIG", True), ("group:bi", False), ("192.0.2.7", False)],
)
def test_a_sender_group_is_selected_by_the_name_of_its_identity(client: str, taken: bool) -> None:
    evidence = evidence_for(b"group:big", "group", speaks=False)
    keys = request_keys(
        address_of("192.0.2.7"), b"alice@example.com", b"bob@example.org", GROUPED, evidence
    )
    found = interpret(Record(keys.identities[0].triplet, b"%d" % NOW, 60), NOW, GROUPED)
    assert found is not None
    assert takes(found, GROUPED, client=client) == taken


@pytest.mark.parametrize("privacy", [False, True])
def test_a_single_triplet_is_also_that_of_its_client_s_group(*, privacy: bool) -> None:
    settings = replace(GROUPED, privacy=privacy)
    evidence = evidence_for(b"group:big", "group", speaks=False)
    for address, is_member in (("192.0.2.7", True), ("198.51.100.7", False)):
        selection = parse_selection(address, "alice@example.com", "bob@example.org")
        keys = request_keys(
            address_of(address), b"alice@example.com", b"bob@example.org", settings, evidence
        )
        of_group = keys.identities[0].triplet
        assert (of_group in selection.exact_triplets(settings)) == is_member
