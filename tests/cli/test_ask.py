"""``greyd ask`` without a server: the requests it sends, and what it makes of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.cli.ask.answer import meaning_of
from greyd.cli.ask.requests import Request, build_requests, encode
from greyd.cli.errors import CommandError
from greyd.config.settings import Settings
from greyd.policy.reply import STORE_AWAY

if TYPE_CHECKING:
    from pathlib import Path


def request(*words: str, **options: str) -> Request:
    (built,) = build_requests(words, options)
    return built


def test_without_arguments_it_sends_what_postfix_would() -> None:
    text = encode(request())
    assert text.startswith(b"request=smtpd_access_policy\nprotocol_state=RCPT\n")
    assert b"\nclient_address=192.0.2.7\n" in text
    assert b"\nsender=alice@example.com\nrecipient=bob@example.org\n" in text
    assert text.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["198.51.100.9"], ("198.51.100.9", "alice@example.com", "bob@example.org")),
        (["198.51.100.9", "c@example.net"], ("198.51.100.9", "c@example.net", "bob@example.org")),
        (["2001:db8::1", "<>", "<d@example.org>"], ("2001:db8::1", "", "d@example.org")),
        (["recipient=d@example.org"], ("192.0.2.7", "alice@example.com", "d@example.org")),
        (
            ["mx.example.net[198.51.100.9]"],
            ("198.51.100.9", "alice@example.com", "bob@example.org"),
        ),
    ],
)
def test_words_are_client_sender_and_recipient(
    words: list[str], expected: tuple[str, str, str]
) -> None:
    built = request(*words)
    names = ("client_address", "sender", "recipient")
    assert tuple(built[name].decode() for name in names) == expected


def test_options_override_words_and_a_name_is_also_the_default_of_the_others() -> None:
    built = request("198.51.100.9", client_address="198.51.100.10", client_name="mx.example.net")
    assert built["client_address"] == b"198.51.100.10"
    assert built["helo_name"] == built["reverse_client_name"] == b"mx.example.net"
    assert request(client_name="mx.example.net", helo_name="x")["helo_name"] == b"x"
    assert request(policy_context="outbound")["policy_context"] == b"outbound"


def test_one_word_that_names_a_file_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request").write_text("sender=a@example.com\n\nsender=b@example.com\n")
    built = build_requests(["request"], {"recipient": "c@example.org"})
    assert [each["sender"] for each in built] == [b"a@example.com", b"b@example.com"]
    assert {each["recipient"] for each in built} == {b"c@example.org"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a b"], "198|not an address"),
        (["192.0.2.7", "a@example.com", "b@example.org", "x"], "too many arguments"),
        (["action=greylist, reason=new, client_address=192.0.2.7"], "greyd explain reads lines"),
        (["/nowhere/at/all"], "No such file"),
        (["mx.example.net"], "192.0.2.7|IP address"),
    ],
)
def test_what_is_no_request_is_an_error(words: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        build_requests(words, {})


@pytest.mark.parametrize(
    ("action", "meaning"),
    [
        ("DUNNO", "passes: Postfix continues"),
        ("PREPEND X-Greylist: delayed 301 seconds", "passes after its delay"),
        (
            "DEFER_IF_PERMIT 4.2.0 Greylisted, see",
            "an attempt passes 5\N{NO-BREAK SPACE}min or more after the first",
        ),
        (STORE_AWAY.decode(), "the store does not answer"),
        ("REJECT go away", "not an answer of these settings"),
        ("", "not an answer of these settings"),
    ],
)
def test_the_answer_is_put_in_words(action: str, meaning: str) -> None:
    assert meaning in meaning_of(action, Settings())


def test_an_own_action_is_recognised_and_a_varying_delay_is_not_promised() -> None:
    settings = Settings(greylist_action="450", delays=(0, 60, 300, 3600))
    meaning = meaning_of("450 4.2.0 Greylisted", settings)
    assert meaning.startswith("greylisted: ")
    assert "min" not in meaning
