"""Settings: every option means the same wherever it is written, and a wrong one says what to do."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greyd.config.errors import SettingsError
from greyd.config.option import Arity, Option
from greyd.config.options import OPTIONS
from greyd.config.recipient_domains import RecipientDomain
from greyd.config.sender_groups import SenderGroup
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import (
    from_arguments,
    from_environment,
    from_postgrey,
    from_table,
    from_words,
)
from greyd.config.vocabulary import (
    DAY,
    GREYLIST_TEXT,
    HEADER,
    HOUR,
    METRICS_ENDPOINT,
    Endpoint,
    Zone,
)
from tests.corpus import cases

if TYPE_CHECKING:
    from collections.abc import Callable


def of_arguments(*arguments: str) -> Settings:
    """Return the settings of a command line alone."""
    given_, _ = from_arguments(arguments)
    return merge_settings(given_)


def of_environment(**variables: str) -> Settings:
    """Return the settings of environment variables alone."""
    return merge_settings(from_environment(variables)[0])


def of_toml(text: str) -> Settings:
    """Return the settings of a TOML file alone."""
    return merge_settings(from_table(tomllib.loads(text), "greyd.toml"))


# The table ----------------------------------------------------------------------------------------

VALUES: dict[str, tuple[str, Any]] = {
    "inet": ("192.0.2.1:10023", (Endpoint("192.0.2.1", 10023),)),
    "unix": ("/run/greyd.sock", (Path("/run/greyd.sock"),)),
    "socketmode": ("0660", 0o660),
    "listen-queue-size": ("77", 77),
    "exim": ("yes", True),
    "delay": ("60", 60),
    "max-age": ("7", 7 * DAY),
    "retry-window": ("6h", 6 * HOUR),
    "auto-whitelist-clients": ("9", 9),
    "preset": ("recommended", "recommended"),
    "identity": ("name,spf", ("name", "spf")),
    "auto-whitelist-identities": ("4", 4),
    "identity-age": ("3", 3 * DAY),
    "greylist": ("suspicious", "suspicious"),
    "signals": ("no_ptr,spf_fail", ("no_ptr", "spf_fail")),
    "own-domains": ("example.com", ("example.com",)),
    "dnsbl": ("Zen.example=60;weight=0.5", (Zone("zen.example", 60, weight=0.5),)),
    "rhsbl": ("dbl.example", (Zone("dbl.example"),)),
    "dnswl": ("white.example=low", (Zone("white.example", trust=1),)),
    "list-override": ("/etc/o", (Path("/etc/o"),)),
    "learn-outbound": ("yes", True),
    "correspondents": ("organisation", "organisation"),
    "outbound-senders": ("domain", "domain"),
    "sender-logins": ("/etc/s", (Path("/etc/s"),)),
    "lookup-by-subnet": ("yes", True),
    "lookup-by-host": ("yes", True),
    "ipv4cidr": ("20", 20),
    "ipv6cidr": ("48", 48),
    "mode": ("learn", "learn"),
    "whitelist-clients": ("/etc/w", (Path("/etc/w"),)),
    "whitelist-recipients": ("/etc/r", (Path("/etc/r"),)),
    "whitelist-senders": ("/etc/s", (Path("/etc/s"),)),
    "never-auto-whitelist": ("/etc/n", (Path("/etc/n"),)),
    "sender-group": (
        "Big=192.0.2.0/24,Out.Example.com",
        (SenderGroup("big", ("192.0.2.0/24",), ("out.example.com",)),),
    ),
    "recipient-domain": (
        "Example.ORG;delay=60;mode=learn",
        (RecipientDomain("example.org", 60, (), "learn"),),
    ),
    "shadow": ("delay=60", (("delay", "60"),)),
    "greylist-action": ("450 4.7.1", "450 4.7.1"),
    "greylist-text": ("Wait %s, ü", "Wait %s, ü"),
    "x-greylist-header": ("X-G: %t", "X-G: %t"),
    "hostname": ("mx.example.org", "mx.example.org"),
    "store": ("redis://127.0.0.1/3", "redis://127.0.0.1/3"),
    "store-password-file": ("/run/secrets/redis", Path("/run/secrets/redis")),
    "sentinel-user": ("mail", "mail"),
    "sentinel-password-file": ("/etc/sentinel", Path("/etc/sentinel")),
    "dbdir": ("/srv/greyd", Path("/srv/greyd")),
    "max-store-size": ("500M", 500 * 2**20),
    "store-timeout": ("0.25", 0.25),
    "store-connect-timeout": ("7.5", 7.5),
    "on-store-failure": ("defer", "defer"),
    "key-prefix": ("mx1:", "mx1:"),
    "privacy": ("yes", True),
    "privacy-key": ("/etc/secret", Path("/etc/secret")),
    "resolver": ("[::1]:5353", (Endpoint("::1", 5353),)),
    "dns-timeout": ("2.5", 2.5),
    "daemonize": ("yes", True),
    "pidfile": ("/run/greyd.pid", Path("/run/greyd.pid")),
    "run-dir": ("/run/greyd-2", Path("/run/greyd-2")),
    "user": ("nobody", "nobody"),
    "group": ("nogroup", "nogroup"),
    "workers": ("3", 3),
    "config": ("/etc/other.toml", Path("/etc/other.toml")),
    "test-time": ("yes", True),
    "metrics": ("192.0.2.9:1234", Endpoint("192.0.2.9", 1234)),
    "metrics-host": ("MX1.example.org.", ("mx1.example.org",)),
    "status-details": ("yes", True),
    "log-format": ("json", "json"),
    "syslog-facility": ("local3", 19),
    "syslog-ident": ("mx", "mx"),
    "quiet": ("yes", True),
    "verbose": ("yes", True),
}
"""Of each option a text that is not its default, and what it means."""

NEEDS = {
    "privacy-key": ("privacy", "yes"),
    "store-password-file": ("store", "redis://db/0"),
    "sentinel-user": ("store", "redis+sentinel://db/mail/0"),
    "sentinel-password-file": ("store", "redis+sentinel://db/mail/0"),
    "auto-whitelist-identities": ("identity", "spf"),
    "learn-outbound": ("identity", "spf"),
}
"""What an option is refused without: another option's name and value."""

every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def test_each_option_is_tried_here() -> None:
    assert sorted(VALUES) == sorted(option.name for option in OPTIONS)


@every_option
def test_no_value_tried_here_is_the_default(option: Option) -> None:
    if option.name != "lookup-by-subnet":
        assert getattr(Settings(), option.field) != VALUES[option.name][1]


@every_option
def test_an_option_means_the_same_in_all_its_spellings(option: Option) -> None:
    text, value = VALUES[option.name]
    names = [f"--{option.name}", f"-{option.name}"]
    names += [f"-{name}" if len(name) == 1 else f"--{name}" for name in option.spellings]
    for name in names:
        flag = option.kind is Arity.FLAG
        ways = [(name,)] if flag else [(f"{name}={text}",), (name, text)]
        all_needed = ["--privacy", "--store=redis+sentinel://db/mail/0", "--identity=spf"]
        needed = all_needed if option.name in NEEDS else []
        for way in ways:
            settings = of_arguments(*needed, *way)
            assert getattr(settings, option.field) == value, way
            assert settings.warnings == ()


@every_option
def test_an_option_means_the_same_in_the_environment(option: Option) -> None:
    text, value = VALUES[option.name]
    variables = {"GREYD_" + option.name.replace("-", "_").upper(): text}
    if option.name in NEEDS:
        name, needed = NEEDS[option.name]
        variables["GREYD_" + name.upper()] = needed
    assert getattr(of_environment(**variables), option.field) == value


@pytest.mark.parametrize(
    # A file does not name another.
    "option",
    [each for each in OPTIONS if each.name != "config"],
    ids=lambda each: each.name,
)
def test_an_option_means_the_same_in_a_toml_file(option: Option) -> None:
    text, value = VALUES[option.name]
    more = '{} = "{}"\n'.format(*NEEDS[option.name]) if option.name in NEEDS else ""
    for key in {option.name, option.name.replace("-", "_")}:
        assert getattr(of_toml(f'{more}{key} = "{text}"'), option.field) == value


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("delay = 60", "delay_seconds", 60),
        ("delay = -5", "delay_seconds", -5),
        ("store-timeout = 0.25", "store_timeout_seconds", 0.25),
        ("inet = 10023", "inet", (Endpoint("localhost", 10023),)),
        ("quiet = true", "quiet", True),
        ("quiet = false", "quiet", False),
        ("metrics = 0", "metrics", None),
        ("auto_whitelist_clients = 0", "auto_whitelist_clients", 0),
        (
            'inet = ["127.0.0.1:10023", 10024]',
            "inet",
            (Endpoint("127.0.0.1", 10023), Endpoint("localhost", 10024)),
        ),
        ("inet = []", "inet", ()),
    ],
)
def test_a_toml_file_may_use_toml_s_own_types(text: str, field: str, value: object) -> None:
    assert getattr(of_toml(text), field) == value


def test_nothing_given_is_the_defaults() -> None:
    assert merge_settings([], [], []) == Settings()
    assert Settings().greylist_text == GREYLIST_TEXT
    assert Settings().header == HEADER
    assert Settings().metrics == METRICS_ENDPOINT


# Which of several counts --------------------------------------------------------------------------


def test_the_command_line_counts_more_than_the_environment_and_that_more_than_the_file() -> None:
    line, _ = from_arguments(["--delay=1"])
    variables, _ = from_environment({"GREYD_DELAY": "2", "GREYD_MAX_AGE": "2"})
    table = from_table({"delay": 3, "max_age": 3, "ipv4cidr": 30}, "f")
    settings = merge_settings(line, variables, table)
    assert settings.delay_seconds == 1
    assert settings.max_age_seconds == 2 * DAY
    assert settings.ipv4cidr == 30


def test_the_default_written_on_the_command_line_still_beats_the_file() -> None:
    line, _ = from_arguments(["--delay=300", "--auto-whitelist-clients", "--delay=0"])
    settings = merge_settings(line, from_table({"delay": 3, "auto_whitelist_clients": 7}, "f"))
    assert (settings.delay_seconds, settings.auto_whitelist_clients) == (300, 5)


def test_of_an_option_given_twice_the_last_counts() -> None:
    assert of_arguments("--delay=1", "--delay", "2").delay_seconds == 2
    assert of_arguments("-v", "-v").verbose


def test_listeners_and_whitelists_add_up() -> None:
    settings = of_arguments(
        "--inet=1", "-i", "[::]:2", "--unix=/a", "-u", "/b",
        "--whitelist-clients=/c", "--whitelist-clients", "/d", "--whitelist-recipients=/e",
    )  # fmt: skip
    assert settings.inet == (Endpoint("localhost", 1), Endpoint("::", 2))
    assert settings.unix == (Path("/a"), Path("/b"))
    assert settings.whitelist_clients == (Path("/c"), Path("/d"))
    assert settings.whitelist_recipients == (Path("/e"),)


def test_a_list_of_a_better_source_replaces_the_others() -> None:
    line, _ = from_arguments(["--inet=1"])
    settings = merge_settings(line, from_table({"inet": [2, 3]}, "f"))
    assert settings.inet == (Endpoint("localhost", 1),)


def test_a_variable_may_list_several_values() -> None:
    settings = of_environment(GREYD_INET="127.0.0.1:1 [::1]:2", GREYD_UNIX="/a\n/b")
    assert settings.inet == (Endpoint("127.0.0.1", 1), Endpoint("::1", 2))
    assert settings.unix == (Path("/a"), Path("/b"))


# postgrey's values, the odd ones too --------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("--delay=+5", "delay_seconds", 5),
        ("--delay=010", "delay_seconds", 10),
        ("--delay=1_000", "delay_seconds", 1000),
        ("--delay=-5", "delay_seconds", -5),
        ("--delay=99999999999", "delay_seconds", 99999999999),
        ("--max-age=99999999999", "max_age_seconds", 36_525 * DAY),
        ("--ipv4cidr=+20", "ipv4cidr", 20),
        ("--ipv4cidr=020", "ipv4cidr", 20),
        ("--ipv4cidr=32", "ipv4cidr", 32),
        ("--ipv6cidr=1", "ipv6cidr", 1),
        ("--retry-window=02", "retry_window_seconds", 2 * DAY),
        ("--retry-window=1", "retry_window_seconds", DAY),
        ("--retry-window=6H", "retry_window_seconds", 6 * HOUR),
        ("--retry-window=06h", "retry_window_seconds", 6 * HOUR),
        ("--retry-window=999999999", "retry_window_seconds", 36_525 * DAY),  # a century is enough
        ("--retry-window=0", "retry_window_seconds", 0),
        ("--retry-window=00", "retry_window_seconds", 0),
        ("--retry-window=0h", "retry_window_seconds", 0),
        ("--auto-whitelist-clients=02", "auto_whitelist_clients", 2),
        ("--auto-whitelist-clients=+2", "auto_whitelist_clients", 2),
        ("--auto-whitelist-clients=0", "auto_whitelist_clients", 0),
        ("--auto-whitelist-clients=", "auto_whitelist_clients", 5),
        ("--greylist-action= x ", "greylist_action", " x "),
        ("--greylist-text=00", "greylist_text", "00"),
        ("--inet=10023", "inet", (Endpoint("localhost", 10023),)),
        ("--inet=localhost:10023", "inet", (Endpoint("localhost", 10023),)),
        ("--inet=[::1]:10023", "inet", (Endpoint("::1", 10023),)),
        ("--inet=::1:10023", "inet", (Endpoint("::1", 10023),)),
        ("--inet=:10023", "inet", (Endpoint("", 10023),)),
        ("--inet=*:10023", "inet", (Endpoint("", 10023),)),
        ("--inet=[::]:10023", "inet", (Endpoint("::", 10023),)),
        ("--inet=0", "inet", (Endpoint("localhost", 0),)),
        ("--socketmode=666", "socket_mode", 0o666),
        ("--socketmode=0o600", "socket_mode", 0o600),
        ("--metrics=0", "metrics", None),
        ("--resolver=192.0.2.1", "resolvers", (Endpoint("192.0.2.1", 53),)),
        ("--resolver=192.0.2.1:5353", "resolvers", (Endpoint("192.0.2.1", 5353),)),
        ("--resolver=[2001:db8::1]", "resolvers", (Endpoint("2001:db8::1", 53),)),
        ("--metrics=9000", "metrics", Endpoint("127.0.0.1", 9000)),
        ("--syslogfacility=daemon", "syslog_facility", 3),
        ("--facility=LOCAL7", "syslog_facility", 23),
    ],
)
def test_a_value_that_postgrey_starts_with_means_the_same(
    argument: str, field: str, value: object
) -> None:
    settings = of_arguments(argument)
    assert getattr(settings, field) == value
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ((), 5),
        (("--auto-whitelist-clients",), 5),
        (("--auto-whitelist-clients", "--exim"), 5),
        (("--auto-whitelist-clients", ""), 5),
        (("--auto-whitelist-clients", "2"), 2),
        (("--auto-whitelist-clients", "0"), 0),
        (("-auto-whitelist-clients", "3"), 3),
    ],
)
def test_the_auto_whitelist_s_number_may_be_left_out(
    arguments: tuple[str, ...], count: int
) -> None:
    assert of_arguments(*arguments).auto_whitelist_clients == count


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ("delay", "delay_seconds"),
        ("max-age", "max_age_seconds"),
        ("ipv4cidr", "ipv4cidr"),
        ("ipv6cidr", "ipv6cidr"),
        ("listen-queue-size", "listen_queue_size"),
        ("socketmode", "socket_mode"),
        ("greylist-action", "greylist_action"),
        ("greylist-text", "greylist_text"),
        ("x-greylist-header", "header"),
    ],
)
def test_nought_is_the_default_and_said_so(option: str, field: str) -> None:
    default = getattr(Settings(), field)
    for settings in (
        of_arguments(f"--{option}=0"),
        of_environment(**{"GREYD_" + option.upper().replace("-", "_"): "0"}),
        of_toml(f"{option} = 0"),
    ):
        assert getattr(settings, field) == default
        (warning,) = settings.warnings
        assert "default" in warning
        assert option in warning.lower().replace("_", "-")


@pytest.mark.parametrize("hostname", ["", "0"])
def test_a_host_name_is_taken_as_it_is(hostname: str) -> None:
    # Measured: postgrey's header then says "at ;" and "at 0;".
    settings = of_arguments("--hostname", hostname)
    assert settings == Settings(hostname=hostname)


@pytest.mark.parametrize("option", ["greylist-text", "greylist-action", "x-greylist-header"])
def test_an_empty_text_is_the_default_as_debian_s_unit_may_pass_it(option: str) -> None:
    for arguments in ((f"--{option}=",), (f"--{option}", "")):
        settings = of_arguments(*arguments)
        assert settings == Settings(warnings=settings.warnings)
        assert len(settings.warnings) == 1


def test_a_mandatory_value_may_begin_with_a_dash() -> None:
    assert of_arguments("--greylist-text", "--delay=60").greylist_text == "--delay=60"


@pytest.mark.parametrize("short", ["i", "u"])
def test_postgrey_takes_a_short_name_after_two_dashes(short: str) -> None:
    assert of_arguments(f"--{short}=/10023:1") == of_arguments(f"-{short}", "/10023:1")


@pytest.mark.parametrize("short", ["v", "q", "d"])
def test_postgrey_takes_a_short_flag_after_two_dashes(short: str) -> None:
    assert of_arguments(f"--{short}") == of_arguments(f"-{short}")


@pytest.mark.parametrize(
    ("arguments", "ignored"),
    [
        (["--delay=60", "--", "--delay=1"], ["--delay=1"]),
        (["--delay=60", "word", "--delay=1"], ["word", "--delay=1"]),
        (["--delay=60", "-", "--delay=1"], ["-", "--delay=1"]),
        (["--delay=60", "+delay=1"], ["+delay=1"]),
        (["--delay=60", "/delay=1"], ["/delay=1"]),
    ],
)
def test_options_end_at_the_first_word_that_is_none(
    arguments: list[str], ignored: list[str]
) -> None:
    given_, rest = from_arguments(arguments)
    assert merge_settings(given_).delay_seconds == 60
    assert rest == ignored


def test_the_empty_argument_of_debian_s_init_script_is_passed_over() -> None:
    given_, rest = from_arguments(["--delay=60", "", "--exim"])
    assert rest == []
    assert merge_settings(given_).exim


# What is wrong ------------------------------------------------------------------------------------

WRONG: list[tuple[str, str]] = [
    ("--nosuch", "--help"),
    ("--nosuch=1", "--help"),
    ("--del=60", "--help"),
    ("--Delay=60", "--help"),
    ("--lookup_by_host", "--help"),
    ("--lookup-by-h", "--help"),
    ("-vq", "--help"),
    ("-V", "--help"),
    ("--no-quiet", "--help"),
    ("-i10023", "--help"),
    ("--quiet=1", "no value"),
    ("--exim=1", "no value"),
    ("--delay", "--delay=DURATION"),
    ("--inet", "--inet=[HOST:]PORT"),
    ("--delay=", "whole number"),
    ("--delay=abc", "whole number"),
    ("--delay=1.5", "whole number"),
    ("--delay=1e3", "whole number"),
    ("--delay=0x10", "whole number"),
    ("--delay= 5", "whole number"),
    ("--delay=5 ", "whole number"),
    ("--delay=1y", "5m"),
    ("--delay=1.5s", "5m"),
    ("--delay=m", "5m"),
    ("--delay=-5m", "5m"),
    ("--delay=9999999999w", "5m"),
    ("--max-age=5 weeks", "35d"),
    ("--delay=９", "whole number"),
    ("--max-age=abc", "whole number"),
    ("--listen-queue-size=x", "whole number"),
    ("--auto-whitelist-clients=abc", "whole number"),
    ("--ipv4cidr=33", "0 to 32"),
    ("--ipv4cidr=-1", "0 to 32"),
    ("--ipv6cidr=129", "0 to 128"),
    ("--retry-window=6 hours", "6h"),
    ("--retry-window=6hours", "6h"),
    ("--retry-window=1.5", "6h"),
    ("--retry-window=-1", "6h"),
    ("--retry-window=h", "6h"),
    ("--retry-window=+6h", "6h"),
    ("--retry-window=", "6h"),
    ("--inet=localhost", "127.0.0.1:10023"),
    ("--inet=127.0.0.1:", "127.0.0.1:10023"),
    ("--inet=127.0.0.1:abc", "127.0.0.1:10023"),
    ("--inet=99999", "127.0.0.1:10023"),
    ("--inet=", "127.0.0.1:10023"),
    ("--metrics=x", "127.0.0.1:"),
    ("--resolver=", "127.0.0.1:53"),
    ("--resolver=localhost", "127.0.0.1:53"),
    ("--resolver=192.0.2.1:0", "127.0.0.1:53"),
    ("--resolver=192.0.2.1:65536", "127.0.0.1:53"),
    ("--resolver=192.0.2.256", "127.0.0.1:53"),
    ("--resolver=2001:db8::1", "[::1]:53"),
    ("--resolver=[192.0.2.1]", "127.0.0.1:53"),
    ("--dns-timeout=0", "more than 0"),
    ("--socketmode=abc", "0660"),
    ("--socketmode=-1", "0660"),
    ("--socketmode=8", "0660"),
    ("--syslog-facility=nonsense", "local0"),
    ("--mode=maybe", "on, learn, off"),
    ("--on-store-failure=panic", "pass, defer"),
    ("--log-format=xml", "postgrey, json"),
    ("--store-timeout=0", "more than 0"),
    ("--store-timeout=-1", "more than 0"),
    ("--store-timeout=nan", "more than 0"),
    ("--store-timeout=soon", "more than 0"),
    ("--workers=0", "1 to 64"),
    ("--workers=65", "1 to 64"),
    ("--greylist-text=a\x07b", "control characters"),
    ("--privacy-key=/f", "--privacy"),
    ("--store-password-file=/f", "--store=redis://"),
    ("--sentinel-user=mail", "--store=redis+sentinel://"),
    ("--sentinel-password-file=/f", "--store=redis+sentinel://"),
]


def one_line_about(error: pytest.ExceptionInfo[SettingsError]) -> str:
    """Return the text of an error, which is one printable line."""
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


@pytest.mark.parametrize(("argument", "remedy"), WRONG)
def test_an_error_is_one_line_that_names_the_place_and_what_to_do(
    argument: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as error:
        of_arguments(argument)
    text = one_line_about(error)
    assert argument.partition("=")[0] in text
    assert remedy in text


WHOLE_NUMBERS = {
    # delay: with less than 0 all mail passes at once, as with postgrey.
    "delay": (-(10**12), 10**12),
    "max-age": (0, 10**12),
    "retry-window": (0, 10**10 - 1),
    "auto-whitelist-clients": (0, 10**12),
    "auto-whitelist-identities": (0, 10**12),
    "identity-age": (0, 10**12),
    "listen-queue-size": (0, 2**31 - 1),
    "ipv4cidr": (0, 32),
    "ipv6cidr": (0, 128),
    "workers": (1, 64),
    "dnsbl": (0, 10**12),
    "rhsbl": (0, 10**12),
}
"""Of each option that takes a whole number the least and the greatest."""


@pytest.mark.parametrize(("option", "bounds"), WHOLE_NUMBERS.items())
def test_a_whole_number_has_bounds(option: str, bounds: tuple[int, int]) -> None:
    before = "zen.example=" if option in ("dnsbl", "rhsbl") else ""
    for number in bounds:
        of_arguments(
            *(["--identity=spf"] if "ident" in option else []), f"--{option}={before}{number}"
        )
    for number in (bounds[0] - 1, bounds[1] + 1, -(2**63), 2**63, 2**64, 10**4000):
        with pytest.raises(SettingsError) as error:
            of_arguments("--identity=spf", f"--{option}={before}{number}")
        assert "expected" in one_line_about(error)


@pytest.mark.parametrize("text", ["abc", "1.5"])
def test_an_error_names_the_variable_or_the_file_and_the_value(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        of_environment(GREYD_DELAY=text)
    assert one_line_about(error).startswith(f"GREYD_DELAY={text}")
    with pytest.raises(SettingsError) as error:
        of_toml(f'delay = "{text}"')
    assert one_line_about(error).startswith(f"greyd.toml: delay={text}")


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 4301])
@pytest.mark.parametrize(
    "option",
    ["delay", "ipv4cidr", "inet", "workers", "store-timeout", "max-store-size", "resolver"],
)
def test_a_number_of_thousands_of_digits_is_an_error_like_others(option: str, number: str) -> None:
    with pytest.raises(SettingsError) as error:
        of_arguments(f"--{option}={number}")
    assert "expected" in one_line_about(error)
    assert "limit" not in str(error.value)


@pytest.mark.parametrize("odd", ["a\nb", "a\rb", "\x1b[31m", "a\tb", "\udcff"])
@pytest.mark.parametrize("option", ["delay", "store", "greylist-text", "nosuch", "mode"])
def test_no_control_character_of_a_value_gets_into_an_error(option: str, odd: str) -> None:
    for arguments in ([f"--{option}={odd}"], [f"--{odd}{option}"]):
        with pytest.raises(SettingsError) as error:
            of_arguments(*arguments)
        one_line_about(error)


@pytest.mark.parametrize(
    "key", ["unix", "whitelist-clients", "dbdir", "privacy-key", "pidfile", "user", "store"]
)
def test_a_name_that_nothing_can_have_is_an_error_at_once(key: str) -> None:
    with pytest.raises(SettingsError, match=rf"^greyd\.toml: {key}="):
        of_toml(f'privacy = true\n{key} = "/a\\u0000b"')


@pytest.mark.parametrize("value", ["{}", "[1]", "1979-05-27", "{ a = 1 }", "[[1]]"])
def test_a_toml_value_of_a_type_that_means_nothing_is_an_error(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^greyd\.toml: delay: use a string, a number"):
        of_toml(f"delay = {value}")


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize(
    "key",
    ["unix", "whitelist_clients", "list_override", "dbdir", "pidfile", "run_dir", "store", "user",
     "hostname", "greylist_text", "key_prefix", "syslog_ident"],
)  # fmt: skip
def test_a_truth_value_is_neither_a_path_nor_a_text(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^greyd\.toml: {key}={value}: expected a string"):
        of_toml(f"{key} = {value}")


@pytest.mark.parametrize("value", ["0", "5", "5.5", "nan"])
@pytest.mark.parametrize("key", ["unix", "whitelist_clients", "dbdir", "pidfile", "store"])
def test_a_number_is_not_a_path(key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^greyd\.toml: {key}={value}: expected a string"):
        of_toml(f"{key} = {value}")


@pytest.mark.parametrize("line", ["greylist_text = 450", 'dbdir = "5"', 'hostname = "true"'])
def test_numbers_may_be_texts_and_strings_may_be_paths(line: str) -> None:
    assert of_toml(line).given


@pytest.mark.parametrize("text", ["5m", "5m ", " 5m", "5m\r", "5M\r\n"])
@pytest.mark.parametrize("variable", ["GREYD_DELAY", "POSTGREY_DELAY"])
def test_spaces_and_line_ends_around_a_variable_are_not_part_of_it(
    variable: str, text: str
) -> None:
    sources = (from_environment({variable: text})[0], from_postgrey({variable: text})[0])
    assert merge_settings(*sources).delay_seconds == 300
    sources = from_environment({"GREYD_MODE": "learn\r", "GREYD_DBDIR": "/a\r"})
    assert merge_settings(sources[0]).mode == "learn"
    assert merge_settings(sources[0]).dbdir == Path("/a")


@pytest.mark.parametrize("key", ["nosuch", "Delay", "config", "inet2"])
def test_an_unknown_key_ends_the_start(key: str) -> None:
    with pytest.raises(SettingsError, match=rf"^greyd\.toml: {key}: unknown setting"):
        of_toml(f"{key} = 1")


def test_an_unknown_variable_is_told_but_no_error() -> None:
    given_, unknown = from_environment({"GREYD_NOSUCH": "1", "HOME": "/", "GREYD_DELAY": "7"})
    assert unknown == ["GREYD_NOSUCH"]
    assert merge_settings(given_).delay_seconds == 7


def test_workers_can_t_share_a_memory_of_one_process() -> None:
    with pytest.raises(SettingsError, match="memory://"):
        of_arguments("--store=memory://", "--workers=2")
    assert of_arguments("--store=memory://", "--workers=1").workers == 1


def test_two_stores_on_one_command_line_are_an_error() -> None:
    with pytest.raises(SettingsError, match="two different stores"):
        of_arguments("--store=redis://:geheim@a/0", "--store=sqlite:/b")
    assert of_arguments("--store=sqlite:/a", "--store=sqlite:/a").store == "sqlite:/a"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--store=redis://:geheim@db/0\n"],
        ["--store=redis://:geheim@a/0", "--store=sqlite:/b"],
        ["--store", "redis://u:geheim@db/0\x07"],
        ["--store=redis://:geheim@db/0", "--delay=x"],
        ["--stroe=redis://:geheim@db/0"],
        ["--privacy=redis://:geheim@db/0"],
    ],
)
def test_no_error_shows_the_password_of_a_store(arguments: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        of_arguments(*arguments)
    assert "geheim" not in str(error.value)


def test_the_privacy_key_is_not_shown_with_the_settings() -> None:
    assert "geheim" not in repr(Settings(privacy=True, privacy_key=b"geheim"))


def test_the_store_s_password_is_not_shown_with_the_settings() -> None:
    assert "geheim" not in repr(Settings(store="redis://db/0", store_password="geheim"))


# Whatever is given --------------------------------------------------------------------------------

words = st.text(max_size=12) | st.sampled_from(
    ["", "0", "-1", "5", "abc", "6h", "--", "-", "redis://:geheim@h/0", "memory://", "10023", "\n"]
)
spellings = st.sampled_from(
    [f"{dash}{name}" for option in OPTIONS for name in (option.name, *option.spellings)
     for dash in ("-", "--")]
)  # fmt: skip
arguments_lists = st.lists(
    words | spellings | st.tuples(spellings, words).map("=".join), max_size=8
)


def error_in(read: Callable[[], object]) -> str:
    """Return what is said of settings that are wrong, nothing if they are right."""
    try:
        read()
    except SettingsError as error:
        return str(error)
    return ""


def settings_or_one_line(arguments: list[str]) -> None:
    """Read a command line; what is wrong with it is one line without a password."""
    error = error_in(lambda: of_arguments(*arguments))
    assert error.isprintable()
    assert "geheim" not in error


@given(arguments_lists)
@example(["--delay=a\nb"])
@example(["--\n"])
def test_no_command_line_raises_anything_but_a_settings_error(arguments: list[str]) -> None:
    settings_or_one_line(arguments)


@pytest.mark.parametrize("raw", cases("settings"))
def test_what_was_found_once_stays_found(raw: bytes) -> None:
    settings_or_one_line(json.loads(raw))


toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
toml_keys = st.sampled_from([option.name for option in OPTIONS]) | st.text(max_size=8)


@given(st.dictionaries(toml_keys, toml_values, max_size=4))
def test_no_table_raises_anything_but_a_settings_error(table: dict[str, object]) -> None:
    assert error_in(lambda: merge_settings(from_table(table, "greyd.toml"))).isprintable()


@given(st.dictionaries(st.sampled_from([option.variable for option in OPTIONS]), words, max_size=4))
def test_no_environment_raises_anything_but_a_settings_error(variables: dict[str, str]) -> None:
    assert error_in(lambda: of_environment(**variables)).isprintable()


# Knowing who sends --------------------------------------------------------------------------------


def test_the_preset_turns_on_what_it_stands_for() -> None:
    settings = of_arguments("--preset=recommended")
    assert settings.identity == ("spf", "name")
    assert settings.auto_whitelist_identities == 3
    assert settings.greylist == "suspicious"
    assert [zone.name for zone in settings.dnsbl] == ["zen.spamhaus.org"]
    assert [zone.name for zone in settings.rhsbl] == ["dbl.spamhaus.org"]
    assert [zone.name for zone in settings.dnswl] == ["list.dnswl.org"]
    assert settings.learn_outbound
    assert settings.needs_evidence
    assert not Settings().needs_evidence


def test_what_is_set_by_itself_counts_more_than_the_preset() -> None:
    settings = of_arguments("--greylist=all", "--dnsbl=other.example", "--preset=recommended")
    assert settings.greylist == "all"
    assert settings.dnsbl == (Zone("other.example"),)
    assert settings.rhsbl[0].name == "dbl.spamhaus.org"


def test_a_delay_may_be_four() -> None:
    settings = of_arguments("--delay=0,60,300,3600")
    assert settings.delays == (0, 60, 300, 3600)
    assert settings.delay_seconds == 60
    assert settings.longest_delay_seconds == 3600
    assert settings.delay_varies
    assert settings.needs_evidence


def test_a_zone_in_the_toml_file_may_be_a_table() -> None:
    settings = of_toml(
        'dnsbl = [{zone = "zen.example", delay = 60, weight = 0.5,'
        ' codes = ["127.0.0.2-127.0.0.11", "127.0.0.99"]}, "other.example=30"]'
    )
    codes = ((0x7F000002, 0x7F00000B), (0x7F000063, 0x7F000063))
    assert settings.dnsbl == (Zone("zen.example", 60, codes, 0.5), Zone("other.example", 30))


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ("--delay=1,2,3", "CLEAN,UNSURE,SUSPICIOUS,LISTED"), ("--delay=0,60,-1,3", "CLEAN"),
        ("--identity=ptr", "some of spf, name, subnet"), ("--identity=", "some of"),
        ("--signals=nonsense", "no_ptr"), ("--dnsbl=localhost", "a DNS zone"),
        ("--dnsbl=a b.example", "a DNS zone"), ("--dnsbl=zen.example=x", "a whole number"),
        ("--dnsbl=zen.example=-1", "not less than 0"), ("--dnsbl=zen.example;x=1", "ZONE=SECONDS"),
        ("--dnsbl=zen.example;codes=127", "codes such as"),
        ("--dnsbl=zen.example;weight=0", "a weight, more than 0"),
        ("--dnswl=white.example=much", "none, low, medium, high"),
        ("--preset=other", "recommended"),
        ("--learn-outbound", "--identity=spf,name"),
        ("--auto-whitelist-identities=3", "--identity=spf,name"),
    ],
)  # fmt: skip
def test_what_can_t_be_is_said_in_one_line(argument: str, what: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(what)) as raised:
        of_arguments(argument)
    assert "\n" not in str(raised.value)


# Options in a variable ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # What systemd 252 makes of $POSTGREY_OPTS in these cases.
        ("--inet=10023 --delay=60", ["10023", "60"]),
        ("  --inet=10023\t--delay=60 ", ["10023", "60"]),
        ("--greylist-text='two  words' --hostname=\"x y\"", ["two  words", "x y"]),
        (r'--greylist-text="a\"b" --hostname=a\ b', ['a"b', "a b"]),
        ("--greylist-text=%s;$(date)&", ["%s;$(date)&"]),
        ("", []),
    ],
)
def test_options_in_a_variable_are_words_as_systemd_makes_them(text: str, words: list[str]) -> None:
    given_, ignored = from_words({"GREYD_OPTS": text}, "GREYD_OPTS")
    assert [each.text for each in given_] == words
    assert all(each.where.startswith("GREYD_OPTS: --") for each in given_)
    assert ignored == []


def test_a_quotation_mark_that_is_not_closed_is_an_error_of_that_variable() -> None:
    with pytest.raises(SettingsError) as error:
        from_postgrey({"POSTGREY_OPTS": "--greylist-text='Come back"})
    assert one_line_about(error).startswith("POSTGREY_OPTS: ")


def test_what_concerns_postgreys_process_is_told_apart() -> None:
    options = "--inet=10023 --user=postgrey --group=mail --dbdir=/a -d --pidfile=/b --privacy word"
    given_, of_process, ignored = from_postgrey({"POSTGREY_OPTS": options, "POSTGREY_TEXT": "Wait"})
    assert {each.option.name for each in given_} == {"inet", "privacy", "greylist-text"}
    assert {each.option.name for each in of_process} == {
        "user", "group", "dbdir", "daemonize", "pidfile",
    }  # fmt: skip
    assert ignored == ["word"]


@pytest.mark.parametrize("variables", [{}, {"POSTGREY_TEXT": ""}])
def test_an_empty_text_for_postgrey_is_none(variables: dict[str, str]) -> None:
    assert from_postgrey(variables) == ([], [], [])
