"""The request behind one line: of greyd, postgrey, Postfix or Exim, in every usual wrapping."""

from __future__ import annotations

import json
import textwrap

import pytest

from greyd.maillog.errors import MailLogError
from greyd.maillog.single_line import read_log_line

_POSTFIX = (
    "mail.example.com[192.0.2.7]: 450 4.2.0 <bob@example.org>: Recipient address rejected:"
    " Greylisted; from=<alice@example.com> to=<bob@example.org> proto=ESMTP helo=<mx.example.com>"
)
_REQUEST = {
    "client_name": "mail.example.com",
    "client_address": "192.0.2.7",
    "sender": "alice@example.com",
    "recipient": "bob@example.org",
    "protocol_name": "ESMTP",
    "helo_name": "mx.example.com",
}


def _read(line: str) -> dict[str, str]:
    attributes = read_log_line(line).attributes
    return {name: value.decode() for name, value in attributes.items()}


@pytest.mark.parametrize(
    ("line", "different"),
    [
        (f"NOQUEUE: reject: RCPT from {_POSTFIX}", {}),
        (f"Nov 24 18:05:35 mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from {_POSTFIX}", {}),
        (f"2026-11-24T18:05:35.1+01:00 mx1 postfix/smtpd[9]: 4XyZ12: reject: RCPT from {_POSTFIX}",
         {}),
        (f"NOQUEUE: reject_warning: RCPT from {_POSTFIX}", {}),
        (f"reject: RCPT from {_POSTFIX.replace('7]:', '7]:51234:')}", {}),
        (f"reject: RCPT from {_POSTFIX.replace('ESMTP', 'SMTP')}", {"protocol_name": "SMTP"}),
        (f"reject: RCPT from {_POSTFIX.replace('mail.example.com[', 'unknown[')}",
         {"client_name": "unknown"}),
        (f"reject: RCPT from {_POSTFIX.replace('192.0.2.7', '2001:db8::7')}",
         {"client_address": "2001:db8::7"}),
        (f"reject: RCPT from {_POSTFIX.replace('<mx.example.com>', '<[192.0.2.7]>')}",
         {"helo_name": "[192.0.2.7]"}),
        (f"reject: RCPT from {_POSTFIX.replace('<alice@example.com>', '<>')}", {"sender": ""}),
        (f"reject: RCPT from {_POSTFIX.replace('alice@example.com', 'info@bücher.example')}",
         {"sender": "info@bücher.example"}),
        (f"reject: RCPT from {_POSTFIX.replace('bob@example.org', 'jürgen@bücher.example')}",
         {"recipient": "jürgen@bücher.example"}),
        (f"reject: RCPT from {_POSTFIX} sasl_method=PLAIN sasl_username=alice",
         {"sasl_username": "alice"}),
        (f"reject: RCPT from {_POSTFIX.replace('alice@example.com', 'a> to=<b@example.net')}",
         {"sender": "a> to=<b@example.net"}),
        (f"reject: RCPT from {_POSTFIX.replace('alice@example.com', 'a action=pass, reason=x')}",
         {"sender": "a action=pass, reason=x"}),
    ],
)  # fmt: skip
def test_a_rejection_by_postfix_has_the_request(line: str, different: dict[str, str]) -> None:
    assert _read(line) == {**_REQUEST, **different}
    for name, wrapped in (("MESSAGE", line), ("log", f"{line}\n")):
        assert _read(json.dumps({name: wrapped})) == {**_REQUEST, **different}
    assert _read(json.dumps({"MESSAGE": list(line.encode())})) == {**_REQUEST, **different}


def test_a_rejection_without_helo_and_protocol_has_the_rest_of_the_request() -> None:
    line = f"reject: RCPT from {_POSTFIX}".partition(" proto=")[0]
    expected = {each: _REQUEST[each] for each in _REQUEST if each[:5] not in ("proto", "helo_")}
    assert _read(line) == expected


def test_a_rejection_by_postscreen_has_no_client_name() -> None:
    line = (
        "Nov 24 18:05:35 mx1 postfix/postscreen[9]: NOQUEUE: reject: RCPT from"
        " [192.0.2.7]:51234: 450 4.3.2 Service currently unavailable; from=<alice@example.com>,"
        " to=<bob@example.org>, proto=ESMTP, helo=<mx.example.com>"
    )
    assert _read(line) == {each: _REQUEST[each] for each in _REQUEST if each != "client_name"}


@pytest.mark.parametrize(
    ("host", "client_name", "helo_name"),
    [
        ("mail.example.com (mx.example.com) [192.0.2.7]", "mail.example.com", "mx.example.com"),
        ("mail.example.com [192.0.2.7]", "mail.example.com", "mail.example.com"),
        ("mail.example.com [192.0.2.7]:51234 I=[198.51.100.1]:25", "mail.example.com",
         "mail.example.com"),
        ("(pc) [192.0.2.7]", "unknown", "pc"),
        ("([192.0.2.9]) [192.0.2.7] X=TLS1.3:TLS_AES_256_GCM_SHA384:256 CV=no", "unknown",
         "[192.0.2.9]"),
        ("[192.0.2.7]", "unknown", "[192.0.2.7]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["temporarily rejected", "rejected"])
@pytest.mark.parametrize("recipient", ["<bob@example.org>", "bob@example.org"])
def test_a_rejection_by_exim_has_the_request(
    host: str, client_name: str, helo_name: str, verb: str, recipient: str
) -> None:
    line = f"2026-11-24 18:05:35 H={host} F=<alice@example.com> {verb} RCPT {recipient}: Greylisted"
    expected = {each: _REQUEST[each] for each in _REQUEST if each != "protocol_name"}
    assert _read(line) == {**expected, "client_name": client_name, "helo_name": helo_name}
    assert _read(line.replace(" F=", " A=plain:alice F="))["sasl_username"] == "alice"
    assert _read(line.replace("alice@example.com", ""))["sender"] == ""


def test_a_decision_in_the_line_is_kept_and_a_rejection_has_none() -> None:
    line = (
        "action=greylist, reason=new, client_name=unknown, client_address=192.0.2.7,"
        " sender=reject: RCPT from x[192.0.2.9]: 450 x; from=<a@b> to=<c@d>,"
        " recipient=bob@example.org, helo=pc, reverse_client_name=dsl.example.net, signals=no_ptr"
    )
    logged = read_log_line(line)
    assert logged.decision is not None
    assert (logged.decision.action, logged.decision.signals) == ("greylist", b"no_ptr")
    assert logged.attributes["client_address"] == b"192.0.2.7"
    assert logged.attributes["reverse_client_name"] == b"dsl.example.net"
    rejection = read_log_line(f"reject: RCPT from {_POSTFIX}")
    assert rejection.decision is None
    # Postfix logs no unconfirmed name.
    assert (logged.is_complete, rejection.is_complete) == (True, False)
    assert not read_log_line(line.partition(", helo=")[0]).is_complete


@pytest.mark.parametrize(
    "line",
    [
        "NOQUEUE: reject: CONNECT from unknown[192.0.2.7]: 554 5.7.1 x; proto=SMTP",
        "NOQUEUE: reject: RCPT from unknown[unknown]: 450 x; from=<a@b> to=<c@d> proto=ESMTP",
        "H=x [192.0.2.7] rejected EHLO or HELO pc: syntactically invalid argument(s)",
        '{"MESSAGE": "hello"}',
        '{"MESSAGE": {"MESSAGE": 1}}',
    ],
)
def test_another_line_of_a_mail_server_is_refused(line: str) -> None:
    with pytest.raises(MailLogError, match="--log-line"):
        read_log_line(line)


_WRAPPED = {
    "postgrey": "Nov 24 12:00:00 mx1 postgrey[7]: action=greylist, reason=early-retry (38s"
    " missing), client_name=mx.example.com, client_address=192.0.2.7/32, sender=alice@example.com,"
    " recipient=bob@example.org",
    "greyd": "Nov 24 12:00:00 mx1 greyd[7]: action=greylist, reason=new,"
    " client_name=mx.example.com, client_address=2001:db8::7, sender=alice@example.com,"
    " recipient=bob@example.org, helo=mx.example.com, reverse_client_name=x.example.net,"
    " identity=example.com, signals=no_ptr+helo_is_ours",
    "Postfix": "Nov 24 12:00:00 mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from"
    " unknown[192.0.2.7]: 450 4.2.0 <bob@example.org>: Recipient address rejected: Greylisted, see"
    " http://x; from=<alice@example.com> to=<bob@example.org> proto=ESMTP helo=<mx.example.com>",
    "IPv6": "Nov 24 12:00:00 mx1 postfix/smtpd[9]: NOQUEUE: reject_warning: RCPT from"
    " unknown[IPv6:2001:db8::7]: 450 4.2.0 <bob@example.org>: Greylisted; from=<alice@example.com>"
    " to=<bob@example.org> proto=ESMTP helo=<[IPv6:2001:db8::7]>",
    "postscreen": "Nov 24 12:00:00 mx1 postfix/postscreen[9]: NOQUEUE: reject: RCPT from"
    " [192.0.2.7]:51234: 450 4.3.2 Service currently unavailable; from=<alice@example.com>,"
    " to=<bob@example.org>, proto=ESMTP, helo=<mx.example.com>",
    "Exim": "2026-11-24 18:05:35 H=mail.example.com (mx.example.com) [192.0.2.7] X=TLS1.3:AES:256"
    " CV=no F=<alice@example.com> temporarily rejected RCPT <bob@example.org>: Greylisted",
}


@pytest.mark.parametrize("joint", ["\n", "\r\n", " \n", "\n    ", "\n> "])
@pytest.mark.parametrize("width", [40, 62, 79, 80, 81, 99, 100, 120, 132])
@pytest.mark.parametrize("name", _WRAPPED)
def test_a_line_that_a_terminal_wrapped_is_read(name: str, width: int, joint: str) -> None:
    line = _WRAPPED[name]
    rows = [line[at : at + width] for at in range(0, len(line), width)]
    if joint == "\n> ":
        rows[0] = f"> {rows[0]}"
    for pasted in (joint.join(rows), joint.join(row.rstrip() for row in rows)):
        found = read_log_line(pasted)
        assert found.attributes == read_log_line(line).attributes
        assert found.is_complete == read_log_line(line).is_complete


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("name", _WRAPPED)
def test_a_line_that_was_wrapped_at_words_is_read(name: str, width: int) -> None:
    pasted = textwrap.fill(_WRAPPED[name], width, break_on_hyphens=False)
    assert read_log_line(pasted).attributes == read_log_line(_WRAPPED[name]).attributes


@pytest.mark.parametrize("verb", ["reject", "reject_warning", "milter-reject", "hold", "warn"])
@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("unknown[192.0.2.7]", "192.0.2.7"),
        ("unknown[192.0.2.7/32]", "192.0.2.7"),
        ("[192.0.2.7]:51234", "192.0.2.7"),
        ("unknown[2001:db8::7]", "2001:db8::7"),
        ("unknown[IPv6:2001:db8::7]", "2001:db8::7"),
        ("[IPv6:2001:db8::7]:51234", "2001:db8::7"),
        ("mx.example.com[ipv6:2001:db8::7]", "2001:db8::7"),
    ],
)
@pytest.mark.parametrize(
    "end", ["", "]", '"}', "#015", "\\n", "\x1b[0m", " sasl_method=PLAIN", "\r"]
)
def test_a_rejection_is_read_with_any_address_and_whatever_follows_it(
    verb: str, client: str, address: str, end: str
) -> None:
    line = (
        f"Nov 24 12:00:00 mx1 postfix/smtpd[9]: NOQUEUE: {verb}: RCPT from {client}: 450 4.2.0"
        " <bob@example.org>: Greylisted; from=<alice@example.com> to=<bob@example.org> proto=ESMTP"
        f" helo=<mx.example.com>{end}"
    )
    found = _read(line)
    assert found["client_address"] == address
    assert (found["recipient"], found["helo_name"]) == ("bob@example.org", "mx.example.com")


@pytest.mark.parametrize(
    "end",
    ["", "]", '"', '"}}', "}", "'", "#015", "#012", "#015#012", "\\015", "\\r\\n", "^M", "\x1b[0m",
     "#033[0m", "\r", '"}', "),", ";", " |"],
)  # fmt: skip
@pytest.mark.parametrize(
    "recipient", ["bob@example.org", "bob@[192.0.2.1]", '"bob smith"@e.org', "b"]
)
def test_what_follows_a_decision_does_not_join_the_recipient(recipient: str, end: str) -> None:
    line = f"{_WRAPPED['postgrey'].partition('bob@')[0]}{recipient}{end}"
    assert _read(line)["recipient"] == recipient


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            "NOQUEUE: reject: CONNECT from x[192.0.2.7]: 554 x; proto=SMTP",
            "CONNECT has no recipient",
        ),
        ("NOQUEUE: reject: MAIL from x[192.0.2.7]: 554 x; from=<a@b>", "MAIL has no recipient"),
        ("Nov 24 12:00:00 mx1 last message repeated 3 times", "the line before it"),
        (f"{_WRAPPED['postgrey']}\n{_WRAPPED['Postfix']}", "several lines"),
        ("x" * 20_000, "longer than"),
        ("", "expected a line"),
    ],
)
def test_a_refused_text_is_reported_with_the_reason(line: str, why: str) -> None:
    with pytest.raises(MailLogError, match=why):
        read_log_line(line)
