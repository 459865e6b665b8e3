"""Restriction lists are parsed as smtpd parses them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from greyd.doctor.postfix.config.restrictions import (
    Restriction,
    parse_restrictions,
    parse_time,
    policy_calls,
    reachable_count,
    split_words,
)


def test_lists_are_split_as_smtpd_does() -> None:
    text = "a, b\n c {d, e {f}} , check_x_access { g h },,"
    assert split_words(text) == ["a", "b", "c", "{d, e {f}}", "check_x_access", "{ g h }"]
    assert parse_restrictions("check_sender_access hash:/a hash:/b", {}) == [
        Restriction("check_sender_access", "hash:/a"),
        Restriction("check_map", "hash:/b"),
    ]


@given(some.text(alphabet="ab {},=:\n\t"), some.text(alphabet="ab {},"))
def test_any_text_is_parsed_without_an_error(text: str, of_class: str) -> None:
    listed = parse_restrictions(f"{text} check_policy_service", {"a": of_class, "b": text})
    assert reachable_count(listed) <= len(listed)
    assert (
        len(policy_calls({"recipient": parse_restrictions(f"x, check_policy_service {text}", {})}))
        <= 1
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("10s", 10), ("2M", 120), ("1h", 3600), ("1d", 86400), ("1w", 604800),
     ("", None), ("ten", None), ("1.5s", None)],
)  # fmt: skip
def test_times_are_parsed_as_postfix_does(text: str, number: int | None) -> None:
    assert parse_time(text) == number
