"""Values: durations, words in any case, words that disable an option, empty variables, headers."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from greyd.config import loading
from greyd.config.durations import parse_duration
from greyd.config.errors import SettingsError
from greyd.config.option import Arity
from greyd.config.options import BY_NAME, OPTIONS
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments, from_environment, from_table
from greyd.config.vocabulary import DAY, HOUR, METRICS_ENDPOINT
from tests.config.test_settings import VALUES

NEEDED = {"identity": "spf"}


def from_everywhere(option: str, text: str) -> list[Settings]:
    """Return the settings with a value from the command line, the environment, and a TOML file."""
    needed = from_table(NEEDED, "needed") if option != "identity" else []
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return [
        merge_settings(given, needed)
        for given in (
            from_arguments([f"--{option}={text}"])[0],
            from_environment({"GREYD_" + option.upper().replace("-", "_"): text})[0],
            from_table(tomllib.loads(f'{option} = "{quoted}"'), "greyd.toml"),
        )
    ]


# Durations ----------------------------------------------------------------------------------------

DURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "delay": (
        "delay_seconds",
        {"300": 300, "90s": 90, "5m": 300, "5min": 300, "2H": 2 * HOUR, "1h30m": 5400, "-5": -5},
    ),
    "max-age": (
        "max_age_seconds",
        {"35": 35 * DAY, "35d": 35 * DAY, "5w": 35 * DAY, "12h": 12 * HOUR, "90m": 5400},
    ),
    "retry-window": (
        "retry_window_seconds",
        {"2": 2 * DAY, "2d": 2 * DAY, "6h": 6 * HOUR, "6H": 6 * HOUR, "90m": 5400, "1w": 7 * DAY},
    ),
    "identity-age": ("identity_age_seconds", {"1": DAY, "12h": 12 * HOUR, "2d": 2 * DAY}),
    "store-timeout": ("store_timeout_seconds", {"0.3": 0.3, "250ms": 0.25, "2s": 2, "1m": 60}),
    "store-connect-timeout": ("store_connect_timeout_seconds", {"5": 5, "7s": 7, "1.5s": 1.5}),
    "dns-timeout": ("dns_timeout_seconds", {"1.5": 1.5, "800ms": 0.8, "2S": 2}),
}


@pytest.mark.parametrize(
    ("option", "text"), [(name, text) for name, (_, texts) in DURATIONS.items() for text in texts]
)
def test_a_time_is_a_duration_or_a_number_in_postgrey_s_unit(option: str, text: str) -> None:
    field, texts = DURATIONS[option]
    for settings in from_everywhere(option, text):
        assert getattr(settings, field) == texts[text]
        assert settings.warnings == ()


def test_these_tests_cover_each_option_that_takes_a_time() -> None:
    times = {each.name for each in OPTIONS if each.field.endswith("_seconds")}
    assert times == set(DURATIONS)


def test_the_delays_of_lists_and_recipient_domains_are_durations_too() -> None:
    for settings in (
        merge_settings(
            from_arguments(
                ["--dnsbl=zen.example=1h", "--rhsbl=dbl.example;delay=90s",
                 "--recipient-domain=example.org;delay=5m"]
            )[0]
        ),
        merge_settings(
            from_table(
                tomllib.loads(
                    'dnsbl = [{zone = "zen.example", delay = "1h"}]\n'
                    'rhsbl = ["dbl.example=90s"]\n[recipient_domain."example.org"]\ndelay = "5m"'
                ),
                "f",
            )
        ),
    ):  # fmt: skip
        assert settings.dnsbl[0].delay_seconds == HOUR
        assert settings.rhsbl[0].delay_seconds == 90
        assert settings.recipient_domains[0].delay_seconds == 300


def test_four_delays_may_be_durations() -> None:
    for settings in from_everywhere("delay", "0,1m,5m,1h"):
        assert settings.delays == (0, 60, 300, 3600)
    table = tomllib.loads('[recipient_domain."example.org"]\ndelay = [0, "1m", "5m", "1h"]')
    settings = merge_settings(from_table(table, "f"))
    assert settings.recipient_domains[0].delays == (0, 60, 300, 3600)


@pytest.mark.parametrize("option", ["delay", "max-age"])
@pytest.mark.parametrize("text", ["0", "0s", "0h"])
def test_zero_means_the_default_as_with_postgrey(option: str, text: str) -> None:
    for settings in from_everywhere(option, text):
        assert (settings.delay_seconds, settings.max_age_seconds) == (300, 35 * DAY)
        assert len(settings.warnings) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (" 90s ", 90),
        ("10 m", 600),
        ("1h30m", 5400),
        ("1 d 2 h", 26 * HOUR),
        ("1W", 7 * DAY),
        ("1.5h", 5400),
        ("1000ms", 1),
    ],
)
def test_the_commands_accept_durations_with_spaces(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


TIMES = [
    "delay", "max-age", "retry-window", "identity-age", "store-timeout", "store-connect-timeout",
    "dns-timeout",
]  # fmt: skip


def test_each_option_that_takes_a_duration_is_tried_here() -> None:
    assert sorted(TIMES) == sorted(each.name for each in OPTIONS if each.metavar == "DURATION")


@pytest.mark.parametrize("option", TIMES)
@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90 s", 90), ("1m30s", 90), ("1M 30S", 90), ("1.5m", 90), ("90000ms", 90)],
)
def test_the_options_of_the_server_accept_the_durations_of_the_commands(
    option: str, text: str, seconds: int
) -> None:
    assert parse_duration(text) == seconds
    for settings in from_everywhere(option, text):
        assert getattr(settings, BY_NAME[option].field) == seconds


@pytest.mark.parametrize("option", TIMES)
@pytest.mark.parametrize(
    "text", ["1 0", "m", "-5m", "5x", "5m!", "1h-5m", "9" * 30, "５m", "5\u017f"]
)
def test_an_option_refuses_what_is_not_a_duration(option: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|number|seconds"):
        BY_NAME[option].read(text)


@pytest.mark.parametrize("name", [each.name for each in OPTIONS if each.default])
def test_the_default_that_the_help_shows_can_be_typed(name: str) -> None:
    option = BY_NAME[name]
    value = option.read(option.default)
    if name == "config":
        assert value == loading.DEFAULT_CONFIG
    elif option.kind is not Arity.MANY:
        assert value == getattr(Settings(), option.field)


@pytest.mark.parametrize(
    "text", ["", "1 0", "m", "-5m", "0.5s", "1.5", "5x", "5m!", "1h-5m", "9" * 30, "５m", "5\u017f"]
)
def test_text_that_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration, such as 90s"):
        parse_duration(text)


# Words --------------------------------------------------------------------------------------------

WORDS = (
    "preset", "identity", "greylist", "signals", "correspondents", "outbound-senders", "mode",
    "on-store-failure", "log-format", "syslog-facility", "dnswl", "shadow", "recipient-domain",
)  # fmt: skip
"""Options whose values are words."""


@pytest.mark.parametrize("option", WORDS)
@pytest.mark.parametrize("change", [str.upper, str.title], ids=["upper", "title"])
def test_a_word_may_be_in_any_case(option: str, change: Any) -> None:
    text, expected = VALUES[option]
    (field,) = [each.field for each in OPTIONS if each.name == option]
    for settings in from_everywhere(option, change(text)):
        assert getattr(settings, field) == expected


@pytest.mark.parametrize("option", [each for each in OPTIONS if each.kind is Arity.FLAG])
@pytest.mark.parametrize("text", ["ON", "True", "YES"])
def test_a_truth_value_may_be_in_any_case(option: Any, text: str) -> None:
    settings = merge_settings(
        from_environment({option.variable: text})[0], from_table(NEEDED, "needed")
    )
    assert getattr(settings, option.field) is True


@pytest.mark.parametrize("text", ["0", "off", "OFF", "no", "none", "False"])
def test_off_disables_whatever_0_disables(text: str) -> None:
    for settings in from_everywhere("metrics", text):
        assert settings.metrics is None
    for settings in from_everywhere("auto-whitelist-clients", text):
        assert settings.auto_whitelist_clients == 0
    for settings in from_everywhere("auto-whitelist-identities", text):
        assert settings.auto_whitelist_identities == 0


def test_toml_s_false_disables_and_true_enables() -> None:
    assert merge_settings(from_table({"metrics": False}, "f")).metrics is None
    assert merge_settings(from_table({"metrics": True}, "f")).metrics == METRICS_ENDPOINT
    assert merge_settings(from_table({"x_greylist_header": False}, "f")).header == ""


@pytest.mark.parametrize("text", ["of", "localhost", "127.0.0.1", "9923:"])
def test_an_error_about_metrics_has_an_example_of_metrics(text: str) -> None:
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:9923, or off$"):
        merge_settings(from_environment({"GREYD_METRICS": text})[0])


# Empty variables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_variable_is_not_set(option: Any, text: str) -> None:
    given, unknown = from_environment({option.variable: text})
    assert (given, unknown) == ([], [])


def test_the_file_applies_if_a_variable_is_empty() -> None:
    given, _ = from_environment({"GREYD_DELAY": "", "GREYD_QUIET": ""})
    settings = merge_settings(given, from_table({"delay": 60, "quiet": True}, "f"))
    assert (settings.delay_seconds, settings.quiet) == (60, True)


def test_an_empty_value_elsewhere_is_an_error_with_a_remedy() -> None:
    for given in (from_arguments(["--delay="])[0], from_table({"delay": ""}, "greyd.toml")):
        with pytest.raises(SettingsError, match=r"delay=: expected .*; omit it"):
            merge_settings(given)


# The header ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["none", "NONE", "off", "no"])
def test_none_turns_the_header_off(text: str) -> None:
    for settings in from_everywhere("x-greylist-header", text):
        assert settings.header == ""
        assert settings.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "X-Greylist: delayed %t seconds", "X-Greylist:", "X-G: a: b", "X-%h: %t",
        "x!#$%&'*+-^_`|~9: y",
        "X-Greylist : spaces before the colon", "X-G: ü %d", "Greylisted-For: %t",
    ],
)  # fmt: skip
def test_a_header_is_taken_as_it_is(text: str) -> None:
    for settings in from_everywhere("x-greylist-header", text):
        assert settings.header == text
        assert settings.warnings == ()


@pytest.mark.parametrize(
    "text",
    [
        "delayed %t seconds", "X-Greylist delayed", "X-Greylist delayed: %t", ": value", " X-G: a",
        "X-Gr\u00fcn: a", "X-%d: a", "X-G\x01: a", "X-G: a\x7fb", "X-G: a\nX-H: b", "X-G: a\r\nb",
        "X-G: \x1b[31m", "X-G: a\tb", "nothing", "X-G\uff1a a", "X-G: \udcff",
    ],
)  # fmt: skip
def test_a_text_that_postfix_would_not_add_is_a_one_line_error(text: str) -> None:
    for given in (
        from_arguments([f"--x-greylist-header={text}"])[0],
        from_environment({"GREYD_X_GREYLIST_HEADER": text})[0],
        from_table({"x_greylist_header": text}, "greyd.toml"),
    ):
        with pytest.raises(SettingsError) as error:
            merge_settings(given)
        assert str(error.value).isprintable()
        assert "a header" in str(error.value)


def test_a_header_that_another_replaces_is_not_checked() -> None:
    given, _ = from_arguments(
        ["--x-greylist-header=the last one counts", "--x-greylist-header=X-G: %t"]
    )
    assert merge_settings(given).header == "X-G: %t"
    assert merge_settings([*given, given[-1]]).header == "X-G: %t"
