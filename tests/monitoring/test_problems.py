"""What looks wrong with a server, and what does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from greyd.config.settings import Settings
from greyd.monitoring.activity.counter_history import (
    INTERNAL_ERRORS,
    PASSES,
    PROTOCOL_ERRORS,
    REQUESTS,
    SERIES,
    STORE_ERRORS,
    CountedPeriod,
    Series,
)
from greyd.monitoring.activity.usual import UsualHour
from greyd.monitoring.health.problems import (
    MAX_PROBLEMS,
    HealthProblem,
    ProblemLevel,
    ServerState,
    find_problems,
    load_problems,
)
from greyd.monitoring.mode_in_force import ModeInForce
from greyd.rules.control import ModeOverride

NOW = 1_700_000_000
NEW = (REQUESTS, "greylist", "new")
PASSED = (REQUESTS, "pass", "triplet found")
UP: dict[Series, float] = {
    ("greyd_store_up",): 1,
    ("greyd_whitelist_last_read_successful",): 1,
    ("greyd_dns_source_up", "resolver"): 1,
    ("greyd_dns_source_up", "zen.example"): 1,
    ("greyd_store_size_bytes",): 10,
    ("greyd_store_max_size_bytes",): 100,
    ("greyd_open_fds",): 30,
    ("greyd_max_fds",): 1024,
}


def problems(
    totals: dict[Series, float] | None = None,
    hour: dict[Series, float] | None = None,
    hour_seconds: float = 3600,
    **changes: Any,
) -> list[HealthProblem]:
    state: dict[str, Any] = {
        "settings": Settings(),
        "mode": ModeInForce.of("on", None),
        "totals": UP | (totals or {}),
        "hour": CountedPeriod(hour_seconds, dict.fromkeys(SERIES, 0.0) | (hour or {})),
    }
    return find_problems(ServerState(**(state | changes)))


def test_a_server_in_order_has_no_problem() -> None:
    assert problems() == []
    assert problems(hour={PASSED: 5000, (PROTOCOL_ERRORS,): 9}) == []


@pytest.mark.parametrize(
    ("totals", "hour", "level", "text"),
    [
        ({("greyd_store_up",): 0}, {}, "error", "the store does not answer: mail passes without"),
        ({}, {(STORE_ERRORS, "transact"): 1}, "warning", "the store failed 1 request in the last"),
        ({("greyd_store_size_bytes",): 80}, {}, "warning", "the store is 80 % full"),
        ({("greyd_store_size_bytes",): 100}, {}, "error", "the store is full: new triplets pass"),
        ({("greyd_dns_source_up", "resolver"): 0}, {}, "warning", "the DNS resolver is out of"),
        ({("greyd_dns_source_up", "zen.example"): 0}, {}, "warning", "zen.example is out of order"),
        ({}, {(INTERNAL_ERRORS,): 2}, "error", "2 internal errors in the last hour: see the log"),
        (
            {},
            {(REQUESTS, "pass", "missing attribute"): 3},
            "warning",
            "3 requests in the last hour lacked an attribute, and passed",
        ),
        (
            {},
            {(REQUESTS, "pass", "client address"): 1},
            "warning",
            "1 request in the last hour had an invalid client address, and passed",
        ),
        ({}, {(PROTOCOL_ERRORS,): 10}, "warning", "10 protocol errors in the last hour"),
        ({}, {(PROTOCOL_ERRORS,): 50, PASSED: 5000}, "warning", "50 protocol errors in the"),
        ({("greyd_whitelist_last_read_successful",): 0}, {}, "warning", "a whitelist file could"),
        ({("greyd_open_fds",): 930}, {}, "warning", "91 % of the file descriptors are in use"),
        (
            {("greyd_redis_memory_bytes",): 99, ("greyd_redis_max_memory_bytes",): 100},
            {},
            "warning",
            "99 % of Redis's memory is in use (maxmemory)",
        ),
    ],
)
def test_each_fault_is_one_problem_with_a_command_to_run(
    totals: dict[Series, float], hour: dict[Series, float], level: str, text: str
) -> None:
    (found,) = problems(totals, hour)
    assert found.level == level
    assert found.text.startswith(text)
    assert not found.text.endswith(".")
    assert found.remedy


def test_what_happens_to_mail_without_the_store_depends_on_the_option() -> None:
    settings = Settings(on_store_failure="defer")
    (found,) = problems({("greyd_store_up",): 0}, settings=settings)
    assert "mail is deferred until it does" in found.text


def test_redis_without_a_limit_is_never_nearly_full() -> None:
    assert problems({("greyd_redis_memory_bytes",): 99, ("greyd_redis_max_memory_bytes",): 0}) == []


@pytest.mark.parametrize(
    ("configured", "override", "text", "remedy"),
    [
        ("off", None, "mode off, as configured: all mail passes, nothing is", "greyd mode on"),
        (
            "on",
            ModeOverride("learn", 0, "alice@mx1", NOW),
            "mode learn until it is reset, by alice@mx1 at 2023-11-",
            "greyd mode reset",
        ),
        (
            "on",
            ModeOverride("off", NOW + 7200, "root@mx1", NOW),
            "mode off until 2023-11-",
            "greyd mode reset",
        ),
    ],
)
def test_a_mode_other_than_on_is_a_warning_that_names_who_and_until_when(
    configured: str, override: ModeOverride | None, text: str, remedy: str
) -> None:
    (found,) = problems(mode=ModeInForce.of(configured, override))
    assert found.level is ProblemLevel.WARNING
    assert found.text.startswith(text)
    assert found.remedy == remedy


def test_a_mode_on_that_somebody_has_set_is_no_problem() -> None:
    assert problems(mode=ModeInForce.of("off", ModeOverride("on", 0, "alice@mx1", NOW))) == []


def test_a_dns_fault_that_is_known_says_what_is_wrong() -> None:
    faults = {"zen.example": "zen.example answers 127.255.255.254, which is an error code"}
    (found,) = problems({("greyd_dns_source_up", "zen.example"): 0}, dns_faults=faults)
    assert found.text == faults["zen.example"]


@pytest.mark.parametrize(
    ("hour", "usual", "text"),
    [
        (
            {},
            UsualHour(5, requests=240),
            "no requests in the last hour; 240 are usual at this time",
        ),
        ({}, UsualHour(5, requests=49), ""),
        ({PASSED: 1}, UsualHour(5, requests=240), ""),
        ({NEW: 300}, UsualHour(5, 300, first_contacts=100), "300 first contacts in the last hour"),
        ({NEW: 299}, UsualHour(5, 300, first_contacts=100), ""),
        ({NEW: 49}, UsualHour(5, 300, first_contacts=1), ""),
        ({NEW: 300}, UsualHour(0), ""),
    ],
)
def test_an_hour_far_from_the_usual_one_is_a_warning(
    hour: dict[Series, float], usual: UsualHour, text: str
) -> None:
    found = problems(hour=hour, usual=usual)
    assert [each.level for each in found] == (["warning"] if text else [])
    assert all(each.text.startswith(text) for each in found)
    # After a start, and in another mode, the hour is not comparable.
    assert problems(hour=hour, usual=usual, hour_seconds=1800) == []
    off = problems(hour=hour, usual=usual, mode=ModeInForce.of("off", None))
    assert [each.text[:8] for each in off] == ["mode off"]


@pytest.mark.parametrize(
    ("counts", "hours", "is_error"),
    [
        ({NEW: 50}, 6, True),
        ({NEW: 50}, 5, False),
        ({NEW: 49}, 24, False),
        ({NEW: 5000, (PASSES,): 1}, 24, False),
    ],
)
def test_that_no_first_contact_comes_back_is_an_error(
    counts: dict[Series, float], hours: int, is_error: bool
) -> None:
    day = CountedPeriod(hours * 3600, dict.fromkeys(SERIES, 0.0) | counts)
    assert [each.level for each in problems(day=day)] == (["error"] if is_error else [])


def test_errors_come_first() -> None:
    found = problems({("greyd_store_up",): 0}, mode=ModeInForce.of("off", None))
    assert [each.level for each in found] == ["error", "warning"]
    found = problems({("greyd_dns_source_up", "resolver"): 0}, {(INTERNAL_ERRORS,): 1})
    assert [each.level for each in found] == ["error", "warning"]


def test_problems_are_read_as_they_were_written_and_are_bounded() -> None:
    found = problems({("greyd_store_up",): 0}, mode=ModeInForce.of("off", None))
    given = json.loads(json.dumps([asdict(each) for each in found]))
    assert list(load_problems(given)) == found
    long = {"level": "error", "text": "x" * 5000, "remedy": ""}
    read = load_problems([long] * 5000)
    assert (len(read), len(read[0].text)) == (MAX_PROBLEMS, 500)


@pytest.mark.parametrize(
    "given", [None, {}, [3], [{}], [{"level": "fatal", "text": "x", "remedy": ""}],
              [{"level": "error", "text": 3, "remedy": ""}]]
)  # fmt: skip
def test_anything_else_is_no_problems(given: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        load_problems(given)
