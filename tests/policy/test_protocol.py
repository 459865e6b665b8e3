"""The policy protocol: bytes in, requests out, however they are split into packets."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greyd.policy.protocol import (
    MAX_LINE_BYTES,
    MAX_VALUE_BYTES,
    ProtocolError,
    RequestParser,
    encode_reply,
)
from greyd.rules.request import Request
from tests.corpus import cases

PACKET = 64 * 1024


def parsed(*packets: bytes) -> list[Request]:
    """Return the requests that one connection's packets hold."""
    parser = RequestParser()
    return [request for packet in packets for request in parser.feed(packet)]


def parsed_until_error(packets: list[bytes]) -> tuple[list[Request], bool]:
    """Return the requests up to the first protocol error, and whether there was one."""
    parser = RequestParser()
    requests = []
    try:
        for packet in packets:
            for request in parser.feed(packet):
                requests.append(request)  # noqa: PERF402 - what came before the error counts
    except ProtocolError:
        return requests, True
    return requests, False


# What a request is --------------------------------------------------------------------------------


def test_all_attributes_that_greyd_uses_arrive_as_they_were_sent() -> None:
    raw = (
        b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.7\n"
        b"client_name=mail.example.com\nsender=alice@example.com\nrecipient=bob@example.org\n"
        b"instance=1.2.3\nqueue_id=4AbC\nsasl_username=carol\netrn_domain=x\n"
        b"policy_test_time=1700000000\n\n"
    )
    assert parsed(raw) == [
        Request(
            request=b"smtpd_access_policy",
            client_address=b"192.0.2.7",
            client_name=b"mail.example.com",
            sender=b"alice@example.com",
            recipient=b"bob@example.org",
            instance=b"1.2.3",
            queue_id=b"4AbC",
            sasl_username=b"carol",
            etrn_domain=b"x",
            policy_test_time=b"1700000000",
        )
    ]


def test_the_order_of_attributes_does_not_matter() -> None:
    assert parsed(b"sender=a\nrecipient=b\n\n") == parsed(b"recipient=b\nsender=a\n\n")


def test_an_empty_attribute_is_not_an_absent_one() -> None:
    assert parsed(b"sender=\n\n") == [Request(sender=b"")]
    assert parsed(b"request=x\n\n") == [Request(request=b"x")]


def test_the_last_of_a_repeated_attribute_counts() -> None:
    assert parsed(b"sender=first\nsender=last\n\n") == [Request(sender=b"last")]


def test_a_value_may_hold_equals_signs() -> None:
    assert parsed(b"sender=prvs=0123456789=a@b=c\n\n") == [Request(sender=b"prvs=0123456789=a@b=c")]


@pytest.mark.parametrize("value", [b"  a@b", b"a@b \t ", b"a\0b", b"\xff\xfe@b", b"a\rb"])
def test_space_and_odd_bytes_belong_to_the_value(value: bytes) -> None:
    assert parsed(b"sender=" + value + b"\n\n") == [Request(sender=value)]


@pytest.mark.parametrize("name", [b"SENDER", b" sender", b"sender ", b"sen der", b"sender\0"])
def test_names_are_taken_to_the_letter(name: bytes) -> None:
    assert parsed(name + b"=a@b\n\n") == [Request()]


def test_unknown_attributes_are_ignored() -> None:
    assert parsed(b"garbage=x\nnosuch=1\ngarbage_line=2\nsender=a\n\n") == [Request(sender=b"a")]


def test_an_empty_line_alone_is_an_empty_request() -> None:
    assert parsed(b"\n\n\n") == [Request()] * 3


def test_a_request_without_its_end_is_none_yet() -> None:
    assert parsed(b"request=smtpd_access_policy\nsender=a@b\n") == []


@pytest.mark.parametrize(
    "line", [b"no equals sign", b"foo: bar", b"=value", b"=", b" ", b"\t", b"\0", b"=sender=x"]
)
def test_a_line_that_is_no_attribute_is_told_and_counts_for_nothing(line: bytes) -> None:
    assert parsed(b"sender=a\n" + line + b"\nrecipient=b\n\n") == [
        Request(sender=b"a", recipient=b"b", garbage=line)
    ]


def test_of_several_garbage_lines_the_first_is_told() -> None:
    assert parsed(b"one\ntwo\n\nthree\n\n\n") == [
        Request(garbage=b"one"),
        Request(garbage=b"three"),
        Request(),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_cr_lf_ends_a_line_as_lf_does(end: bytes) -> None:
    lines = [b"request=x", b"sender=a@b", b"", b"sender=c@d", b"", b""]
    assert parsed(end.join(lines)) == [Request(request=b"x", sender=b"a@b"), Request(sender=b"c@d")]


def test_both_line_ends_may_be_mixed() -> None:
    assert parsed(b"sender=a\r\nrecipient=b\n\r\nsender=c\n\n") == [
        Request(sender=b"a", recipient=b"b"),
        Request(sender=b"c"),
    ]


def test_a_line_end_may_fall_between_two_packets() -> None:
    assert parsed(b"sender=a\r", b"\n\r", b"\n") == [Request(sender=b"a")]


def test_several_requests_in_one_packet_are_several_requests() -> None:
    raw = b"".join(b"sender=%d@example.com\n\n" % number for number in range(200))
    assert parsed(raw) == [Request(sender=b"%d@example.com" % number) for number in range(200)]


def test_nothing_of_a_request_leaks_into_the_next() -> None:
    full = b"".join(b"%b=x\n" % name.encode() for name in Request._fields if name != "garbage")
    assert parsed(full + b"no attribute\n\nsender=a\n\n")[1:] == [Request(sender=b"a")]


def test_a_reply_ends_with_an_empty_line_and_has_lf_only() -> None:
    assert encode_reply(b"DUNNO") == b"action=DUNNO\n\n"


# What is bounded ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [511, 512, 513, 1024, 1025, 1026, 70_000])
def test_a_value_is_cut_at_512_bytes(length: int) -> None:
    value = b"s" * length
    assert parsed(b"sender=" + value + b"\nrecipient=r\n\n") == [
        Request(sender=value[:MAX_VALUE_BYTES], recipient=b"r")
    ]


def test_what_is_told_of_a_garbage_line_is_cut_too() -> None:
    assert parsed(b"g" * 5000 + b"\n\n") == [Request(garbage=b"g" * MAX_VALUE_BYTES)]


def test_a_name_that_only_begins_like_an_attribute_is_none() -> None:
    assert parsed(b"sender" + b"x" * 600 + b"=a\n\n") == [Request()]


@pytest.mark.parametrize("cut", [100, 1024, 1025, 1026, 1100, 1101, 1105])
def test_a_line_with_a_name_that_is_cut_means_the_same_wherever_it_is_split(cut: int) -> None:
    line = b"a" * 1100 + b"=value that goes on"
    assert parsed(line[:cut], line[cut:] + b"\n\n") == parsed(line + b"\n\n")


def held_bytes(packets: list[bytes]) -> tuple[list[Request], int]:
    """Feed a parser and measure the most that it keeps from one packet to the next."""
    tracemalloc.start()
    try:
        parser = RequestParser()
        before = tracemalloc.get_traced_memory()[0]
        most = 0
        requests = []
        for packet in packets:
            requests += list(parser.feed(packet))
            most = max(most, tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    return requests, most


@pytest.mark.parametrize(
    "line",
    [b"a=b\n", b"x" * 300 + b"=" + b"y" * 700 + b"\n", b"sender=" + b"s" * 5000 + b"\n", b"g\n"],
    ids=["short", "long", "used", "garbage"],
)
def test_a_request_of_five_megabytes_is_answered_and_costs_less_than_64_kib(line: bytes) -> None:
    raw = line * (5 * 2**20 // len(line)) + b"request=smtpd_access_policy\n\n"
    packets = [raw[start : start + PACKET] for start in range(0, len(raw), PACKET)]
    requests, data = held_bytes(packets)
    assert [request.request for request in requests] == [b"smtpd_access_policy"]
    assert data < 64 * 1024


def test_an_endless_line_costs_less_than_64_kib_until_it_is_given_up() -> None:
    _, data = held_bytes([b"x" * PACKET] * (MAX_LINE_BYTES // PACKET))
    assert data < 64 * 1024


@pytest.mark.parametrize("packet", [997, 16 * 1024, PACKET, 3 * 2**20])
def test_a_line_without_an_end_is_given_up(packet: int) -> None:
    packets = [b"x" * packet] * (2 * MAX_LINE_BYTES // packet + 1)
    with pytest.raises(ProtocolError, match=str(MAX_LINE_BYTES)):
        parsed(*packets)


def test_a_line_as_long_as_is_allowed_is_taken() -> None:
    value = b"x" * (MAX_LINE_BYTES - len(b"sender="))
    assert parsed(b"sender=" + value + b"\n\n") == [Request(sender=b"x" * MAX_VALUE_BYTES)]


def test_requests_before_an_endless_line_are_still_requests() -> None:
    raw = b"sender=a\n\nsender=b\n\n" + b"x" * (2 * MAX_LINE_BYTES)
    assert parsed_until_error([raw]) == ([Request(sender=b"a"), Request(sender=b"b")], True)


def test_long_lines_that_end_are_never_too_many() -> None:
    line = b"sender=" + b"x" * (MAX_LINE_BYTES // 2) + b"\n"
    assert len(parsed(line * 5 + b"\n")) == 1


# Whatever comes -----------------------------------------------------------------------------------

names = st.sampled_from([name.encode() for name in Request._fields]) | st.binary(max_size=20)
values = st.binary(max_size=60) | st.integers(500, 3000).map(lambda length: b"v" * length)
lines = (
    st.tuples(names, st.just(b"="), values).map(b"".join)
    | st.just(b"")
    | st.binary(max_size=30)
    | st.integers(1000, 1100).map(lambda length: b"n" * length + b"=")
)
ends = st.sampled_from([b"\n", b"\r\n", b"\r", b"\r\r\n"])
streams = st.lists(st.tuples(lines, ends).map(b"".join), max_size=12).map(b"".join)


@given(streams, st.lists(st.integers(0, 5000), max_size=8))
@example(b"sender=" + b"s" * 3000 + b"\r\n\r\n", [1024, 1025, 1026, 3007, 3008])
@example(b"n" * 1040 + b"=" + b"x" * 50 + b"\n\n", [1050])
def test_any_split_into_packets_gives_the_same_requests(raw: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    packets = [raw[start:end] for start, end in itertools.pairwise(places)]
    assert parsed(*packets) == parsed(raw)


@pytest.mark.parametrize("length", range(508, 518))
def test_a_cr_where_a_value_is_cut_is_no_part_of_a_line_s_end(length: int) -> None:
    # Long enough that the first packet is not kept as it is.
    first = b"size=1\n" * 2000 + b"sender=" + b"s" * length + b"\r" + b"s" * 9000
    assert parsed(first, b"\n\n") == parsed(first + b"\n\n")
    ends = b"size=1\n" * 2000 + b"sender=" + b"s" * length + b"\r"
    assert parsed(ends, b"\n\r\n") == parsed(ends + b"\n\r\n")


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_no_bytes_raise_anything_but_a_protocol_error(packets: list[bytes]) -> None:
    requests, _ = parsed_until_error(packets)
    for request in requests:
        assert all(value is None or len(value) <= MAX_VALUE_BYTES for value in request)


@pytest.mark.parametrize("raw", cases("protocol"))
def test_what_was_found_once_stays_found(raw: bytes) -> None:
    whole = parsed_until_error([raw])
    assert parsed_until_error([raw[at : at + 1] for at in range(len(raw))]) == whole
    for cut in range(0, len(raw), 97):
        assert parsed_until_error([raw[:cut], raw[cut:]]) == whole
