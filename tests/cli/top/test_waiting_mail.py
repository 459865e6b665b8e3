"""The list of waiting mail: bounded, sorted and filtered."""

from __future__ import annotations

import pytest

from greyd.cli.top.waiting_mail import MAX_LISTED, MailList, Order
from tests.cli.top.mails import HOSTILE_SENDERS, MAIL, NOW, SETTINGS, key_of, record, waiting

CAROL = key_of(b"carol@example.net", b"dave@example.org", "198.51.100.7")
BOUNCE = key_of(b"", b"postmaster@example.org", "203.0.113.7")


def mails() -> MailList:
    found = MailList(SETTINGS)
    found.begin_scan()
    found.add([record(key, value) for key, value in MAIL.items()], NOW)
    found.end_scan()
    return found


@pytest.mark.parametrize("order", list(Order))
def test_each_order_has_all_the_waiting_mail(order: Order) -> None:
    assert len(mails().sorted(order)) == len(MAIL) - 1
    assert all(mail.sender != "passed@example.net" for mail in mails().sorted(order))


@pytest.mark.parametrize(
    ("order", "first"),
    [
        (Order.NEWEST, key_of()),
        (Order.OLDEST, CAROL),
        (Order.PASSES_NEXT, CAROL),
        (Order.CLIENT, None),
        (Order.RECIPIENT, None),
        (Order.SENDER, BOUNCE),
    ],
)
def test_the_orders_sort(order: Order, first: bytes | None) -> None:
    found = mails().sorted(order)
    if first is not None:
        assert found[0].key == first
    assert order.next() in Order
    if order is Order.CLIENT:
        assert [mail.client for mail in found] == sorted(mail.client for mail in found)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("", len(MAIL) - 1),
        ("carol", 1),
        ("CAROL dave", 1),
        ("carol bob", 0),
        ("198.51.100.0/24", 1),
        ("[red]", 1),
        ("evil", 4),
        ("\x1b", 1),
        ("%1b[2j", 1),
        (".*", 0),
    ],
)
def test_a_filter_finds_words_anywhere(pattern: str, count: int) -> None:
    assert len(mails().sorted(Order.NEWEST, pattern)) == count


def test_what_a_sender_chooses_is_printable_ascii_in_the_list() -> None:
    found = mails().sorted(Order.NEWEST)
    texts = [text for mail in found for text in (mail.client, mail.sender, mail.recipient)]
    assert all(text.isascii() and text.isprintable() for text in texts)
    assert len(found) >= len(HOSTILE_SENDERS)


def test_a_million_mails_are_a_list_of_the_newest_thousand() -> None:
    found = MailList(SETTINGS)
    found.begin_scan()
    for start in range(0, 5000, 500):
        group = [
            record(key_of(b"s%d@example.com" % number), waiting(number + 1))
            for number in range(start, start + 500)
        ]
        found.add(group, NOW)
        assert len(found.sorted(Order.NEWEST)) <= MAX_LISTED
    found.end_scan()
    ages = [NOW - mail.entry.first_seen for mail in found.sorted(Order.OLDEST)]
    assert ages == list(range(MAX_LISTED, 0, -1))


def test_what_has_passed_or_gone_leaves_the_list() -> None:
    found = mails()
    found.add([record(CAROL, b"%d,%d,%d" % (NOW - 900, NOW, NOW))], NOW)
    found.remove(BOUNCE)
    keys = {mail.key for mail in found.sorted(Order.NEWEST)}
    assert keys == MAIL.keys() - {CAROL, BOUNCE, key_of(b"passed@example.net")}
    found.begin_scan()
    found.add([record(key_of(), waiting())], NOW)
    found.end_scan()
    assert [mail.key for mail in found.sorted(Order.NEWEST)] == [key_of()]
