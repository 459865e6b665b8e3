"""What a person types or pastes for an address, a domain, a client or a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greyd.cli.errors import CommandError
from greyd.cli.typed_address import options
from greyd.cli.typed_address.decoration import NotUnderstoodError
from greyd.cli.typed_address.forms import (
    ClientGroup,
    ClientNetwork,
    DomainName,
    MailAddress,
    NullSender,
    recognise,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BOB = MailAddress(b"bob", b"example.org")


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.org",
        " bob@example.org\n",
        "\tbob@example.org\r\n",
        "<bob@example.org>",
        "< bob@example.org >",
        "<bob@example.org",
        "bob@example.org>",
        "<<bob@example.org>>",
        "\\<bob@example.org\\>",
        "&lt;bob@example.org&gt;",
        "bob&#64;example.org",
        "\\u003cbob@example.org\\u003e",
        '"bob@example.org"',
        "'bob@example.org'",
        "`bob@example.org`",
        "“bob@example.org”",
        "„bob@example.org“",
        "‘bob@example.org’",
        "«bob@example.org»",
        "‹bob@example.org›",
        '"bob@example.org',
        'bob@example.org"',
        "'bob@example.org",
        "bob@example.org'",
        '\\"bob@example.org\\"',
        "bob@example.org,",
        "bob@example.org;",
        "bob@example.org.",
        "bob@example.org:",
        "bob@example.org)",
        "bob@example.org]",
        "bob@example.org}",
        "bob@example.org!",
        "bob@example.org?",
        "bob@example.org…",
        "bob@example.org.,;",
        'bob@example.org"}}',
        "bob@example.org#015",
        "bob@example.org\x1b[0m",
        "\x1b[1;31mbob@example.org\x1b[m",
        "bob@example.org#033[0m",
        "(bob@example.org)",
        "[bob@example.org]",
        "{bob@example.org}",
        "*bob@example.org*",
        "_bob@example.org_",
        "**bob@example.org**",
        "- bob@example.org",
        "• bob@example.org",
        "bob@example.org (Bob)",
        "(Bob) <bob@example.org>",
        "mailto:bob@example.org",
        "MAILTO:bob@example.org",
        "mailto:bob%40example.org",
        "mailto:b%6Fb@example.org?subject=Hello%20Bob&body=x@y.example",
        "<mailto:bob@example.org>",
        "<mailto:bob@example.org|bob@example.org>",
        "bob@example.org<mailto:bob@example.org>",
        "[bob@example.org](mailto:bob@example.org)",
        "bob@example.org?subject=hi",
        "recipient=bob@example.org",
        "recipient=bob@example.org,",
        "recipient=<bob@example.org>",
        "recipient = bob@example.org",
        '"recipient": "bob@example.org",',
        "'recipient': 'bob@example.org',",
        '{"recipient":"bob@example.org"}',
        "to=<bob@example.org>",
        "to=<bob@example.org>, relay=none, delay=0.1",
        "to=<bob@example.org> proto=ESMTP helo=<mail.example.com>"[:41],
        "orig_to=<bob@example.org>",
        "from=<bob@example.org>",
        "sender=bob@example.org",
        "envelope-from=bob@example.org",
        "smtp.mailfrom=bob@example.org;",
        "RCPT TO:<bob@example.org>",
        "MAIL FROM:<bob@example.org> SIZE=1234",
        "To: Bob <bob@example.org>",
        "Cc: bob@example.org",
        "Return-Path: <bob@example.org>",
        "Delivered-To: bob@example.org",
        "X-Original-To: bob@example.org",
        "user: bob@example.org",
        "e-mail: bob@example.org",
        "Bob <bob@example.org>",
        "Bob Smith<bob@example.org>",
        '"Bob, Jr." <bob@example.org>',
        '"Bob, Jr." <bob@example.org>,',
        '"bob@elsewhere.example" <bob@example.org>',
        "bob@example.org <bob@example.org>",
        "bob@EXAMPLE.ORG",
        "bob@Example.Org.",
        "bob\u200b@example.org",
        "\ufeffbob@example.org\u2060",
        "\u00a0bob@example.org\u00a0",
        "\u202abob@example.org\u202c",
        "bob@exam\u00adple.org",
        "bob＠example.org",
        "bob@example．org",
        "bob@example。org",
        "@relay.example:bob@example.org",
        "@a.example,@b.example:bob@example.org",
    ],
)
def test_a_decorated_address_is_that_address(text: str) -> None:
    assert recognise(text) == BOB


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("bob+shop@example.org", "bob+shop", "example.org"),
        ("o'brien@example.org", "o'brien", "example.org"),
        ("o’brien@example.org", "o'brien", "example.org"),
        ("a&b@example.org", "a&b", "example.org"),
        ("{x}@example.org", "{x}", "example.org"),
        ("Bob@example.org", "Bob", "example.org"),
        (".a..b.@docomo.example", ".a..b.", "docomo.example"),
        ("prvs=1234abcdef=user@example.org", "prvs=1234abcdef=user", "example.org"),
        ("SRS0=abcd=12=example.com=bob@fwd.example", "SRS0=abcd=12=example.com=bob", "fwd.example"),
        ("bounce-bob=example.org@list.example", "bounce-bob=example.org", "list.example"),
        ("user=example.org@list.example", "user=example.org", "list.example"),
        ("btv1==123==bob@example.org", "btv1==123==bob", "example.org"),
        ("a/b%c@example.org", "a/b%c", "example.org"),
        ('"bob smith"@example.org', "bob smith", "example.org"),
        ('to=<"bob smith"@example.org>', "bob smith", "example.org"),
        ('"a\\"b@c"@example.org', 'a"b@c', "example.org"),
        ("bob@[192.0.2.7]", "bob", "[192.0.2.7]"),
        ("<bob@[IPv6:2001:db8::1]>,", "bob", "[ipv6:2001:db8::1]"),
        ("bob@localhost", "bob", "localhost"),
        ("bob@BÜCHER.example", "bob", "xn--bcher-kva.example"),
        ("bob@bu\u0308cher.example", "bob", "xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob", "xn--bcher-kva.example"),
        ("bob@b%C3%BCcher.example", "bob", "xn--bcher-kva.example"),
        ("mailto:bob@b%c3%bccher.example", "bob", "xn--bcher-kva.example"),
        ("bob@xn--a.example", "bob", "xn--a.example"),
        ("bob@_dmarc.x_y.example", "bob", "_dmarc.x_y.example"),
        ("mailto:bob%2Bshop@example.org", "bob+shop", "example.org"),
    ],
)
def test_characters_that_belong_to_an_address_stay(text: str, local: str, domain: str) -> None:
    assert recognise(text) == MailAddress(local.encode(), domain.encode())


@pytest.mark.parametrize(
    "text", ["<>", " <> ", "<>,", "from=<>", "sender=", "sender=,", "MAILER-DAEMON <>", "'<>'",
             "Return-Path: <>", "MAIL FROM:<>"],
)  # fmt: skip
def test_the_null_sender_has_a_form_of_its_own(text: str) -> None:
    assert recognise(text) == NullSender()


@pytest.mark.parametrize(
    ("text", "name", "has_at"),
    [
        ("example.org", "example.org", False),
        ("Example.ORG.", "example.org", False),
        ("'example.org',", "example.org", False),
        ("<example.org>", "example.org", False),
        ("domain: example.org", "example.org", False),
        ("bücher.example", "xn--bcher-kva.example", False),
        ("BÜCHER。example", "xn--bcher-kva.example", False),
        ("https://example.org/login?x=y", "example.org", False),
        ("mail.example.org:25", "mail.example.org", False),
        ("helo=<mail.example.org>", "mail.example.org", False),
        ("client_name=mail.example.org,", "mail.example.org", False),
        ("@example.org", "example.org", True),
        ("<@example.org>", "example.org", True),
        ("*@example.org", "example.org", True),
        ("'@Example.org.'", "example.org", True),
        ("postmaster", "postmaster", False),
    ],
)
def test_a_domain(text: str, name: str, has_at: bool) -> None:
    assert recognise(text) == DomainName(name.encode(), has_at)


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("[192.0.2.7]", "192.0.2.7"),
        ("192.0.2.7,", "192.0.2.7"),
        ("192.0.2.7.", "192.0.2.7"),
        ("192.0.2.7:25", "192.0.2.7"),
        ("[192.0.2.7]:25", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("client_address=192.0.2.7", "192.0.2.7"),
        ("client_address=192.0.2.7/32,", "192.0.2.7"),
        ("client=mail.example.com[192.0.2.7]", "192.0.2.7"),
        ("client=mail.example.com[192.0.2.7]:41234, sasl_method=PLAIN", "192.0.2.7"),
        ("mail.example.com[192.0.2.7]:", "192.0.2.7"),
        ("unknown[192.0.2.7]", "192.0.2.7"),
        ("connect from unknown[192.0.2.7]:25", "192.0.2.7"),
        ("(mail.example.com [192.0.2.7])", "192.0.2.7"),
        ("H=(mail.example.com) [192.0.2.7]:4711", "192.0.2.7"),
        ("mail.example.com (192.0.2.7)", "192.0.2.7"),
        ("smtp://192.0.2.7:25", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:25", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.99/24", "192.0.2.0/24"),
        ("192.0.2.*", "192.0.2.0/24"),
        ("192.0.*.*", "192.0.0.0/16"),
        ("192.0.2.x", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.0/0.0.0.255", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:25", "2001:db8::1"),
        ("IPv6:2001:db8::1", "2001:db8::1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("mail.example.com[IPv6:2001:db8::1]:25", "2001:db8::1"),
        ("2001:db8::1,", "2001:db8::1"),
        ("2001:db8::1:", "2001:db8::1"),
        ("2001:db8::1/128", "2001:db8::1"),
        ("2001:db8::", "2001:db8::"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::/32,", "2001:db8::/32"),
        ("[2001:db8::]/32", "2001:db8::/32"),
        ("[IPv6:2001:db8::]/32", "2001:db8::/32"),
        ("fe80::1%eth0", "fe80::1"),
        ("cc::1", "cc::1"),
        ("::/0", "::/0"),
        ("::", "::"),
        ("192.0.2.7\u200b", "192.0.2.7"),
        ("１９２.0.2.7", None),
    ],
)
def test_a_client(text: str, client: str | None) -> None:
    if client is None:
        with pytest.raises(NotUnderstoodError):
            recognise(text)
        return
    found = recognise(text)
    assert isinstance(found, ClientNetwork)
    assert found.text.decode() == client


def test_a_sender_group_is_a_client_too() -> None:
    assert recognise("group:Big-Mailer") == ClientGroup(b"group:big-mailer")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\u200b", "empty"),
        ("bob@", "part of it is missing"),
        ("@", "part of it is missing"),
        ("bob@example..org", "example..org is not a domain"),
        ("bob@exa mple.org", "is not a domain"),
        ("bob@-", ""),
        ("bob smith@example.org", 'written in quotes: "bob smith"@example.org'),
        ("Bob bob@example.org", "written in quotes"),
        ("bob@alice@example.org", 'written in quotes: "bob@alice"@example.org'),
        ("bob@example.org, alice@example.com", "several addresses"),
        ("bob@example.org,alice@example.com", "several addresses"),
        ("bob@example.org alice@example.com", "several addresses"),
        ("mailto:bob@example.org,alice@example.com", "several addresses"),
        ("Bob <bob@example.org>, Al <alice@example.com>", "several addresses"),
        ("to=<bob@example.org>, orig_to=<info@example.org>", "several addresses"),
        ("from=<>, to=<bob@example.org>", "several addresses"),
        ("sender=alice@example.com, recipient=bob@example.org", "several addresses"),
        ("client=a[192.0.2.7], b[192.0.2.8]", "several addresses"),
        ("*.example.org", "write example.org"),
        (".example.org", "write example.org"),
        ("192.0.2", "for the network write 192.0.2.0/24"),
        ("10.1", "for the network write 10.1.0.0/16"),
        ("192.0.2.300", "not a valid IP address"),
        ("192.0.2.7/33", "not a valid IP address or network"),
        ("192.0.2.007", "not a valid IP address"),
        ("192.0.2.0/255.0.255.0", "not a valid IP address or network"),
        ("2001:db8::1::2", "not a valid IP address"),
        ("2001:db8::/129", "not a valid IP address or network"),
        ("mail example com", "not an address, domain or network"),
        ("a/b", "not an address, domain or network"),
        ("x" * 3000, "longer than 2000 characters"),
    ],
)
def test_ambiguous_or_invalid_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    if text == "bob@-":
        assert recognise(text) == MailAddress(b"bob", b"-")
        return
    with pytest.raises(NotUnderstoodError, match=r".") as error:
        recognise(text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (options.read_recipient, "example.org", "understood as the domain example.org"),
        (options.read_recipient, "<>", "understood as the null sender <>"),
        (options.read_recipient, "192.0.2.7", "understood as the client's address 192.0.2.7"),
        (options.read_recipient, "", "empty; expected a mail address"),
        (options.read_sender, "192.0.2.0/24", "understood as the network 192.0.2.0/24"),
        (options.read_sender_or_domain, "192.0.2.7", "understood as the client's address"),
        (options.read_domain, "<>", "understood as the null sender"),
        (options.read_domain, "bob@[192.0.2.7]", "understood as the mail address"),
        (options.read_client, "bob@example.org", "understood as the mail address bob@example.org"),
        (options.read_client, "@example.org", "understood as the domain example.org"),
        (options.read_client_address, "192.0.2.0/24", "understood as the network 192.0.2.0/24"),
        (options.read_client_address, "mail.example.com", "understood as the domain"),
        (options.read_client_address, "bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_value_of_another_form_is_refused_with_what_was_understood(
    read: Callable[[str, str], object], text: str, said: str
) -> None:
    with pytest.raises(CommandError) as error:
        read(text, "--option")
    assert str(error.value).startswith(f"--option={text if text.isascii() else ''}")
    assert said in str(error.value)
    assert "; expected " in str(error.value)


def test_a_sender_may_be_empty_and_a_domain_may_be_given_by_an_address() -> None:
    assert options.read_sender("", "--sender") == b""
    assert options.read_sender("from=<>", "--sender") == b""
    assert options.read_domain("Alice <alice@Example.com>", "--from") == b"example.com"
    assert options.read_domain("@example.com", "--from") == b"example.com"


GREYD_LINE = (
    "Nov 27 14:00:00 mx greyd[7]: action=greylist, reason=new, client_name=mail.example.com,"
    " client_address=192.0.2.7/32, sender=alice@example.com, recipient=bob@example.org"
)
POSTFIX_LINE = (
    "NOQUEUE: reject: RCPT from mail.example.com[192.0.2.7]: 450 4.2.0 <bob@example.org>:"
    " Recipient address rejected: Greylisted; from=<alice@example.com> to=<bob@example.org>"
    " proto=ESMTP helo=<mail.example.com>"
)
BOUNCE_LINE = "action=greylist, client_address=192.0.2.7, sender=, recipient=bob@example.org"
JSON_LINE = (
    '{"action": "greylist", "client_address": "192.0.2.7", "sender": "alice@example.com",'
    ' "recipient": "bob@example.org"}'
)
DELIVERY_LINE = "4F1: to=<bob@example.org>, orig_to=<info@example.org>, relay=none, delay=1"


@pytest.mark.parametrize("line", [GREYD_LINE, POSTFIX_LINE, JSON_LINE])
def test_an_option_takes_its_field_from_a_whole_log_line(line: str) -> None:
    assert options.read_client_address(line, "--client-address").text == b"192.0.2.7"
    assert options.read_client(line, "--client") == recognise("192.0.2.7")
    assert options.read_sender(line, "--sender") == b"alice@example.com"
    assert options.read_recipient(line, "--recipient") == b"bob@example.org"
    assert options.read_domain(line, "--from") == b"example.com"
    with pytest.raises(NotUnderstoodError):
        recognise(line)
    with pytest.raises(CommandError, match="several addresses"):
        options.read_address_or_domain(line, "--address")


def test_the_fields_of_other_lines() -> None:
    assert options.read_sender(BOUNCE_LINE, "--sender") == b""
    assert options.read_recipient(BOUNCE_LINE, "--recipient") == b"bob@example.org"
    assert options.read_recipient(DELIVERY_LINE, "--recipient") == b"bob@example.org"
    with pytest.raises(CommandError):
        options.read_sender(DELIVERY_LINE, "--sender")
    with pytest.raises(CommandError):
        options.read_client("from=<a@b.example> to=<c@d.example>", "--client")


# Properties --------------------------------------------------------------------------------------

local_parts = st.from_regex(r"\A[a-z0-9][a-z0-9.+=_'&-]{0,15}[a-z0-9]\Z")
domains = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z][a-z0-9]{1,6}){1,2}\Z")
wrappers: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([
    "<{}>".format, '"{}"'.format, "'{}'".format, "“{}”".format, "«{}»".format, "({})".format,
    "{},".format, "{};".format, "{}.".format, "{}:".format, "{})".format, " {}\u00a0".format,
    "\ufeff{}\u200b".format, "Bob <{}>".format, '"Bob, Jr." <{}>'.format,
    "{}#015".format, "\x1b[1m{}\x1b[0m".format,
])  # fmt: skip


labels: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([
    "{}".format, "recipient={}".format, "to=<{}>,".format, "From: {}".format, "sender={},".format,
    "mailto:{}".format, "RCPT TO:<{}>".format,
])  # fmt: skip


@given(local_parts, domains, st.lists(wrappers, max_size=4), labels)
@example("a", "example.org", ['"{}"'.format, '"Bob, Jr." <{}>'.format], "{}".format)
def test_cleaning_a_decorated_address_gives_it_back(
    local: str, domain: str, wraps: list[Callable[[str], str]], label: Callable[[str], str]
) -> None:
    text = f"{local}@{domain}"
    for wrap in wraps:
        text = wrap(text)
    text = label(text)
    assert recognise(text) == MailAddress(local.encode(), domain.encode())


client_wrappers: st.SearchStrategy[Callable[[str], str]] = st.sampled_from([
    "<{}>".format, '"{}"'.format, "'{}'".format, "“{}”".format, "({})".format, "{},".format,
    "{};".format, " {}\u00a0".format, "\ufeff{}\u200b".format,
    "{}#015".format,
])  # fmt: skip


@given(
    st.ip_addresses(),
    st.sampled_from(["{}", "[{}]", "[{}]:25", "mail.example.com[{}]:25", "IPv6:{}", "{}/full"]),
    st.lists(client_wrappers, max_size=4),
    st.sampled_from(["{}", "client_address={}", "client={},", "client: {}"]),
)
def test_cleaning_a_decorated_client_gives_it_back(
    address: object, form: str, wraps: list[Callable[[str], str]], label: str
) -> None:
    full = "/128" if ":" in str(address) else "/32"
    text = form.format(address).replace("/full", full)
    for wrap in wraps:
        text = wrap(text)
    text = label.format(text)
    found, plain = recognise(text), recognise(str(address))
    assert isinstance(found, ClientNetwork)
    assert found == plain
    assert found.is_address


@given(st.text(max_size=40) | st.from_regex(r"[<>@\"'()\[\]:=,. a-z0-9/-]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    reason = ""
    try:
        recognise(text)
    except NotUnderstoodError as error:
        reason = str(error)
    assert reason.isprintable()
