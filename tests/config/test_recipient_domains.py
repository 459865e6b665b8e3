"""Settings of a recipient domain: what may be written, and what each mistake is answered with."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.errors import SettingsError
from greyd.config.recipient_domains import MAX_RECIPIENT_DOMAINS, RecipientDomain
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments, from_table


def of_toml(text: str) -> Settings:
    return merge_settings(from_table(tomllib.loads(text), "greyd.toml"))


def table(text: str, domain: str = "example.com") -> str:
    return f'[recipient_domain."{domain}"]\n{text}\n'


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("delay = 60", RecipientDomain("example.com", 60)),
        ('delay = "60"', RecipientDomain("example.com", 60)),
        ("delay = [0, 60, 300, 3600]", RecipientDomain("example.com", 60, (0, 60, 300, 3600))),
        ('delay = "0,60,300,3600"', RecipientDomain("example.com", 60, (0, 60, 300, 3600))),
        ('mode = "off"', RecipientDomain("example.com", mode="off")),
        ('greylist = "suspicious"', RecipientDomain("example.com", greylist="suspicious")),
        (
            'mode = "on"\nsubdomains = true',
            RecipientDomain("example.com", mode="on", subdomains=True),
        ),
        (
            'mode = "on"\nsubdomains = false',
            RecipientDomain("example.com", mode="on", subdomains=False),
        ),
    ],
)
def test_a_table_is_the_settings_of_its_domain(text: str, domain: RecipientDomain) -> None:
    assert of_toml(table(text)).recipient_domains == (domain,)


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "bücher.example"),
        ("BÜCHER.example", "bücher.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a_b.example.com", "a_b.example.com"),
        ("1.example", "1.example"),
    ],
)
def test_a_domain_may_be_written_in_its_usual_forms(written: str, domain: str) -> None:
    (found,) = of_toml(table("delay = 1", written)).recipient_domains
    assert found.domain == domain


def test_both_spellings_of_the_key_and_texts_as_on_the_command_line_mean_the_same() -> None:
    expected = (RecipientDomain("example.com", 60, mode="learn", subdomains=True),)
    for key in ("recipient_domain", "recipient-domain"):
        text = f'[{key}."example.com"]\ndelay = 60\nmode = "learn"\nsubdomains = true'
        assert of_toml(text).recipient_domains == expected
        one = f'{key} = "example.com;delay=60;mode=learn;subdomains=yes"'
        assert of_toml(one).recipient_domains == expected
        assert of_toml(one.replace('= "', '= ["') + "]").recipient_domains == expected


IN_QUOTES = r'\[recipient_domain\."example\.com"\]'

WRONG_TABLES = [
    (table("deley = 60"), r'"example.com": deley: unknown key; the keys are delay, mode'),
    (table(""), r'"example.com": example.com: sets nothing; give it a delay'),
    (table("subdomains = true"), "sets nothing"),
    (table('delay = "soon"'), r'"example.com": delay=soon: expected a number of seconds|whole'),
    (table("delay = 0"), 'delay=0: expected a number of seconds, 1 or more; mode = "off"'),
    (table("delay = -5"), "delay=-5: expected a number of seconds, 1 or more"),
    (table("delay = true"), "delay=yes: expected"),
    (table("delay = 1.5"), r'"example.com": delay: use a string, a whole number'),
    (table("delay = [1, 2]"), "delay=1,2: expected a number of seconds, or 4 of them"),
    (table('delay = [1, "2", 3, 4]'), "delay: use a string, a whole number"),
    (table("delay = [0, 60, 300, -1]"), "delay=0,60,300,-1: expected"),
    (table('mode = "of"'), "mode=of: expected one of on, learn, off"),
    (table("mode = false"), "mode=no: expected one of on, learn, off"),
    (table('greylist = "some"'), "greylist=some: expected one of all, suspicious"),
    (table('subdomains = "perhaps"'), "subdomains=perhaps: expected yes or no"),
    (table('mode = "on;delay=5"'), "mode: use a string"),
    (table("delay = 2024-01-01"), "delay: use a string"),
    (table("delay = 60", "*.example.com"), r"no wildcards; write example.com and subdomains=yes"),
    (table("delay = 60", ".example.com"), r"no wildcards; write example.com and subdomains=yes"),
    (table("delay = 60", "mail*.example.com"), "no wildcards; name the domains one by one"),
    (table("delay = 60", "*"), "no wildcards; name the domains one by one"),
    (table("delay = 60", "bob@example.com"), "a mail address; write its domain"),
    (table("delay = 60", "@example.com"), "a mail address; write its domain"),
    (table("delay = 60", "com"), "expected a domain, such as example.com"),
    (table("delay = 60", "192.0.2.1"), "expected a domain"),
    (table("delay = 60", "exa mple.com"), "expected a domain"),
    (table("delay = 60", "example..com"), "expected a domain"),
    (table("delay = 60", "-a.example"), "expected a domain"),
    (table("delay = 60", ""), "expected a domain"),
    (table("delay = 60", "a.example;mode=off"), "expected a domain"),
    (table("delay = 60", f"{'a' * 254}.example"), "expected a domain"),
    ("[recipient_domain.example.com]\ndelay = 60", f"in quotation marks: {IN_QUOTES}"),
    ("[recipient_domain]\ndelay = 60", f"write a table for each domain: {IN_QUOTES}"),
    ("recipient_domain = 5", f"write a table for each domain: {IN_QUOTES}"),
    ("[[recipient_domain]]\ndelay = 60", f"write a table for each domain: {IN_QUOTES}"),
    (table("delay = 60") + table("delay = 60", "EXAMPLE.com"), "example.com is set twice"),
    (table("delay = 60") + table("delay = 90", "example.com."), "example.com is set twice"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_TABLES)
def test_a_mistake_is_one_line_with_the_file_and_the_key(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        of_toml(text)
    line = str(raised.value)
    assert line.startswith("greyd.toml: recipient_domain")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("example.com", "--recipient-domain: example.com: sets nothing"),
        ("example.com;delay", "--recipient-domain: delay: expected KEY=VALUE, with one of the"),
        ("example.com;deley=5", "--recipient-domain: deley=5: expected KEY=VALUE"),
        ("example.com;delay=5;delay=6", "--recipient-domain: delay: given twice"),
        ("*.example.com;delay=5", "--recipient-domain: .*no wildcards"),
        (";delay=5", "expected a domain"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        merge_settings(from_arguments([f"--recipient-domain={text}"])[0])
    assert "\n" not in str(raised.value)


def test_there_may_be_very_many_domains_but_not_without_end() -> None:
    one = "d{}.example;delay=5"
    table_ = {"recipient_domain": [one.format(place) for place in range(MAX_RECIPIENT_DOMAINS)]}
    assert len(merge_settings(from_table(table_, "f")).recipient_domains) == MAX_RECIPIENT_DOMAINS
    table_["recipient_domain"].append(one.format("x"))
    with pytest.raises(SettingsError, match="recipient domains; at most"):
        merge_settings(from_table(table_, "f"))


# What the server's settings as a whole are -------------------------------------------------------

BASE = Settings()
DOMAIN = RecipientDomain("example.com")


@pytest.mark.parametrize(
    ("domain", "longest", "varies", "signals"),
    [
        (replace(DOMAIN, mode="learn"), 300, False, False),
        (replace(DOMAIN, delay_seconds=60), 300, True, False),
        (replace(DOMAIN, delay_seconds=900), 900, True, False),
        (replace(DOMAIN, delay_seconds=60, delays=(0, 60, 300, 3600)), 3600, True, True),
        (replace(DOMAIN, greylist="suspicious"), 300, False, True),
        (replace(DOMAIN, greylist="all"), 300, False, False),
    ],
)
def test_delays_and_evidence_of_domains_count_for_the_whole_server(
    domain: RecipientDomain, longest: int, *, varies: bool, signals: bool
) -> None:
    settings = replace(BASE, recipient_domains=(domain,))
    assert settings.longest_delay_seconds == longest
    assert settings.delay_varies == varies
    assert settings.needs_signals == signals
    assert settings.needs_evidence == signals


# Whatever the file has ----------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from(["example.com", "on", "60", "192.0.2.0/24", "a=b.example", "delay"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.text(max_size=20),
                st.sampled_from(
                    ["example.com", "delay", "mode", "greylist", "subdomains", "name", "networks",
                     "names"]
                ),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(["recipient_domain", "sender_group"]), VALUES)
def test_any_value_is_read_or_refused_in_one_line(key: str, value: object) -> None:
    line = f"greyd.toml: {key}"
    try:
        merge_settings(from_table({key: value}, "greyd.toml"))
    except SettingsError as error:
        line = str(error)
    assert line.isprintable()
    assert line.startswith(f"greyd.toml: {key}")
