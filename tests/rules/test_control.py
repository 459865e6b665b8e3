"""What an administrator tells all servers: the record, and what it lets pass."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.address import parse_address
from greyd.rules.control import (
    MAX_ACTIONS,
    MAX_WINDOWS,
    AdminAction,
    Control,
    ControlError,
    ExpectedMail,
    ExpectWindow,
    ModeOverride,
    change_control,
    window_key,
)
from greyd.rules.greylist import decide, decide_from_memory
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, RememberedRecords, Triplet
from greyd.rules.reserved_keys import CONTROL_KEY
from greyd.rules.triplets import CLOCK_SKEW, ReleaseOutcome, release

T = 1_700_000_000

texts = st.text(max_size=30)
times = st.integers(0, 2 * T)
controls = st.builds(
    Control,
    st.none()
    | st.builds(ModeOverride, st.sampled_from(["on", "learn", "off"]), times, texts, times),
    st.lists(st.builds(ExpectWindow, texts, texts, times), max_size=5).map(tuple),
    st.lists(st.builds(AdminAction, times, times, texts, texts), max_size=5).map(tuple),
    times,
)


# The record ---------------------------------------------------------------------------------------


@given(controls)
def test_what_is_written_is_read_again(control: Control) -> None:
    assert Control.load(control.dump()) == control


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["mode", "expected", "acts", "is", "until", "by", "at", "what"]), inner
        )
    ),
)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_record_can_be_read(text: bytes) -> None:
    control = Control.load(text).without_old(T)
    assert control.mode_at(T, "on") in ("on", "learn", "off")
    assert len(control.windows) <= MAX_WINDOWS


def test_one_bad_entry_does_not_hide_the_others() -> None:
    table = {
        "mode": {"is": "loud", "until": 0, "by": "x", "at": 0},
        "expected": [7, {"recipient": "a@b", "from": "", "until": T}, {"recipient": 1}],
        "acts": "none",
        "newer": {},
    }
    control = Control.load(json.dumps(table).encode())
    assert control == Control(None, (ExpectWindow("a@b", "", T),), ())


@pytest.mark.parametrize("number", ["1e999", "-1", "1.5", "true", '"7"', "9" * 30])
def test_a_number_that_is_no_time_is_left_out(number: str) -> None:
    text = f'{{"mode": {{"is": "off", "until": {number}, "by": "me", "at": 0}}}}'
    assert Control.load(text.encode()) == Control()


def test_a_record_that_is_too_large_is_left_alone() -> None:
    window = ExpectWindow("a@b", "", T)
    padded = Control(windows=(window,)).dump() + b" " * 70_000
    assert Control.load(padded) == Control()


def test_what_is_over_leaves_with_the_next_change() -> None:
    old = Control(
        ModeOverride("off", T, "me", T - 60),
        (ExpectWindow("a@b", "", T), ExpectWindow("c@d", "", T + 60)),
        (AdminAction(1, T - 2 * DAY, "me", "x"), AdminAction(2, T - 60, "me", "y")),
    )
    _, (change,) = change_control(lambda control: control, T)([old.dump()])
    assert change.key == CONTROL_KEY
    assert Control.load(change.value) == Control(None, old.windows[1:], old.acts[1:])


def test_a_mode_without_end_is_remembered_for_years_and_one_with_an_end_till_then() -> None:
    for_good = Control(ModeOverride("off", 0, "me", T))
    assert for_good.ttl_seconds(T) > 9 * 365 * DAY
    for_days = Control(ModeOverride("off", T + 3 * DAY, "me", T))
    assert 3 * DAY <= for_days.ttl_seconds(T) <= 3 * DAY + 2 * HOUR
    assert Control().ttl_seconds(T) >= DAY


def test_acts_are_numbered_upwards_also_when_all_older_ones_are_gone() -> None:
    first = Control().with_action("me", "a", T).with_action("me", "b", T)
    numbers = [act.number for act in first.acts]
    assert numbers[1] > numbers[0]
    without = replace(first, acts=())
    assert Control.load(without.dump()).with_action("me", "c", T).acts[0].number > numbers[1]
    assert Control().with_action("me", "c", T + 2).acts[0].number > numbers[1]


def test_acts_and_windows_are_bounded() -> None:
    control = Control()
    for number in range(MAX_ACTIONS + 10):
        control = control.with_action("me" * 500, "x" * 5000, T + number)
    assert len(control.acts) == MAX_ACTIONS
    assert control.acts[-1].at == T + MAX_ACTIONS + 9
    for number in range(MAX_WINDOWS):
        control = control.with_window(ExpectWindow(f"u{number}@example.org", "", T + 60))
    with pytest.raises(ControlError, match="greyd expect --close"):
        control.with_window(ExpectWindow("one@more.example", "", T))
    assert (
        len(control.with_window(ExpectWindow("u7@example.org", "", T + 90)).windows) == MAX_WINDOWS
    )
    assert len(control.dump()) < 64 * 1024


# The mode -----------------------------------------------------------------------------------------


def test_a_mode_holds_until_its_end() -> None:
    control = Control(ModeOverride("off", T, "me", T - 60))
    assert control.mode_at(T - 1, "on") == "off"
    assert control.mode_at(T, "learn") == "learn"
    assert Control(ModeOverride("off", 0, "me", 0)).mode_at(T, "on") == "off"


# Mail that is awaited -----------------------------------------------------------------------------


def expects(window: ExpectWindow, sender: bytes, recipient: bytes, now: int = T - 1) -> bool:
    return bool(ExpectedMail([window], Settings()).windows_for(sender, recipient, now))


def test_a_window_lets_mail_to_its_recipient_pass_till_it_closes() -> None:
    window = ExpectWindow("bob@example.org", "", T)
    assert expects(window, b"x@example.com", b"Bob@Example.org")
    assert expects(window, b"", b"bob@example.org")
    assert not expects(window, b"x@example.com", b"bob@example.org", now=T)
    assert not expects(window, b"x@example.com", b"rob@example.org")
    assert not expects(window, b"x@example.com", b"bob@mail.example.org")


def test_a_window_of_a_domain_is_for_all_who_are_in_it() -> None:
    window = ExpectWindow("@example.org", "", T)
    assert expects(window, b"x@example.com", b"bob@example.org")
    assert not expects(window, b"x@example.com", b"bob@sub.example.org")
    assert not expects(window, b"x@example.com", b"bob@example.com")


def test_a_window_may_be_for_one_senders_domain_and_what_is_below() -> None:
    window = ExpectWindow("bob@example.org", "example.com", T)
    assert expects(window, b"x@example.com", b"bob@example.org")
    assert expects(window, b"x@MAIL.example.com", b"bob@example.org")
    assert expects(window, b"x+4711@example.com.", b"bob@example.org")
    assert not expects(window, b"x@notexample.com", b"bob@example.org")


@pytest.mark.parametrize("sender", [b"", b"example.com", b"mail.example.com", b"@", b"x@"])
def test_a_sender_without_a_domain_claims_none(sender: bytes) -> None:
    assert not expects(
        ExpectWindow("bob@example.org", "example.com", T), sender, b"bob@example.org"
    )


@pytest.mark.parametrize(
    ("awaited", "recipient", "is_for"),
    [
        ("bob@example.org", b"bob+shop@example.org", True),
        ("bob@example.org", b"BOB+shop+2@example.org", True),
        ("bob+shop@example.org", b"bob+shop@example.org", True),
        ("bob+shop@example.org", b"bob@example.org", False),
        ("bob+shop@example.org", b"bob+bank@example.org", False),
        ("bob@example.org", b"bobby+shop@example.org", False),
        ("@example.org", b"bob+shop@example.org", True),
        ("@example.org", b"+shop@example.org", True),
    ],
)
def test_a_window_for_an_address_is_for_its_extensions_too(
    awaited: str, recipient: bytes, is_for: bool
) -> None:
    assert expects(ExpectWindow(awaited, "", T), b"x@example.com", recipient) is is_for


def test_under_privacy_a_window_names_nobody_and_works() -> None:
    settings = Settings(privacy=True, privacy_key=b"0123456789abcdef")
    key = window_key("bob@example.org", settings)
    assert "bob" not in key
    assert key != window_key("bob@example.org", Settings(privacy=True))
    expected = ExpectedMail([ExpectWindow(key, "", T)], settings)
    assert expected.windows_for(b"x@example.com", b"Bob@example.org", T - 1)
    assert expected.windows_for(b"x@example.com", b"bob+shop@example.org", T - 1)
    assert not expected.windows_for(b"x@example.com", b"rob@example.org", T - 1)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_can_be_asked_about(sender: bytes, recipient: bytes) -> None:
    windows = ExpectedMail([ExpectWindow("bob@example.org", "", T)], Settings())
    assert windows.windows_for(sender, recipient, T) == []


# Releasing ----------------------------------------------------------------------------------------

_ADDRESS = parse_address(b"192.0.2.7")
assert _ADDRESS is not None
_KEYS = request_keys(_ADDRESS, b"alice@example.com", b"bob@example.org", Settings())


def options(*words: str) -> Settings:
    return merge_settings(from_arguments(words)[0])


@pytest.mark.parametrize(
    "settings",
    [
        options(),
        options("--delay=3600"),
        options("--delay=0,300,600,86000"),
        options("--dnsbl=zen.example=7200"),
    ],
)
@given(
    age=st.integers(0, 86400),
    seen_after=st.integers(0, 86400),
    behind=st.integers(0, CLOCK_SKEW),
    later=st.integers(0, 3600),
)
def test_released_mail_passes_with_its_next_attempt_and_counts_as_a_first_pass(
    settings: Settings, age: int, seen_after: int, behind: int, later: int
) -> None:
    waiting = Triplet(T - age, T - age + min(seen_after, age, settings.delay_seconds - 1)).dump()
    _, changes = release(_KEYS.triplet, waiting, T, settings)
    record = changes[0].value if changes else waiting
    assert all(change.ttl_seconds > settings.retry_window_seconds for change in changes)
    decision, _ = decide(_KEYS, RememberedRecords(*[record, None]), T - behind + later, settings)
    assert decision.passes
    assert decision.first_pass
    assert decision.waited_seconds == max(age - behind + later, 0), "the true wait, for X-Greylist"


def test_what_has_passed_or_is_due_already_or_can_t_be_read_is_left_as_it_is() -> None:
    settings = Settings()
    change = partial(release, _KEYS.triplet, now=T, settings=settings)
    assert change(Triplet(T - 900, T - 100, T - 100).dump()) == (ReleaseOutcome.NOT_WAITING, ())
    assert change(Triplet(T - 400, T - 400).dump()) == (ReleaseOutcome.DELAY_OVER, ())
    assert change(Triplet(T - 3 * DAY, T - 3 * DAY).dump()) == (ReleaseOutcome.NOT_WAITING, ())
    assert change(b"garbage") == (ReleaseOutcome.NOT_WAITING, ())
    assert change(None) == (ReleaseOutcome.NOT_WAITING, ())


def test_a_second_release_changes_nothing() -> None:
    settings = Settings()
    outcome, (change,) = release(_KEYS.triplet, b"%d" % (T - 60), T, settings)
    assert outcome is ReleaseOutcome.RELEASED
    assert change.value == b"%d;released=%d" % (T - 60, T)
    again = release(_KEYS.triplet, change.value, T + 30, settings)
    assert again == (ReleaseOutcome.ALREADY_RELEASED, ())


@pytest.mark.parametrize("settings", [options(), options("--delay=0,300,600,86000")])
def test_a_released_triplet_that_has_passed_passes_again_and_counts_once(
    settings: Settings,
) -> None:
    _, (released,) = release(_KEYS.triplet, b"%d" % (T - 60), T, settings)
    first, changes = decide(_KEYS, RememberedRecords(released.value, None), T + 10, settings)
    stored = {change.key: change.value for change in changes}
    assert (first.passes, first.first_pass, first.waited_seconds) == (True, True, 70)
    assert Triplet.load(stored[_KEYS.triplet]) == Triplet(T - 60, T + 10, T + 10, T)
    for seconds in (20, HOUR + 20, DAY):
        remembered = RememberedRecords(stored[_KEYS.triplet], stored[_KEYS.client])
        again, changes = decide_from_memory(_KEYS, remembered, T + seconds, settings)
        assert again is not None
        assert (again.passes, again.first_pass) == (True, False)
        stored |= {change.key: change.value for change in changes}
        assert Triplet.load(stored[_KEYS.triplet]) == Triplet(T - 60, T + seconds, T + 10, T)
    assert Client.load(stored[_KEYS.client]) == Client(1, T + 10)


def test_a_release_is_valid_for_one_retry_window() -> None:
    settings = Settings()
    first_seen = T - settings.retry_window_seconds + 60
    long = options("--delay=200000", "--retry-window=2")
    outcome, (change,) = release(_KEYS.triplet, b"%d" % first_seen, T, long)
    assert outcome is ReleaseOutcome.RELEASED
    in_time, _ = decide(_KEYS, RememberedRecords(change.value, None), T + DAY, long)
    assert (in_time.passes, in_time.waited_seconds) == (True, T + DAY - first_seen)
    late, _ = decide(_KEYS, RememberedRecords(change.value, None), T + 3 * DAY, long)
    assert not late.passes


@pytest.mark.parametrize(
    "text",
    [
        b"100,200;released=",
        b"100,200;released=x",
        b"100,200 released=5",
        b"100,200;x=5",
        b"100,200;",
    ],
)
def test_unknown_text_after_the_numbers_is_ignored(text: bytes) -> None:
    assert Triplet.load(text) == Triplet(100, 200)


def test_a_version_that_does_not_know_releases_reads_the_rest_of_the_record() -> None:
    text = Triplet(100, 200, None, 300).dump()
    assert Triplet.load(text) == Triplet(100, 200, None, 300)
    assert Triplet.load(text.partition(b";")[0]) == Triplet(100, 200)
