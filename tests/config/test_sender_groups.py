"""Groups of senders: what may be written, and what each mistake is answered with."""

from __future__ import annotations

import tomllib

import pytest

from greyd.config.errors import SettingsError
from greyd.config.sender_groups import MAX_GROUP_MEMBERS, MAX_SENDER_GROUPS, SenderGroup
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments, from_table


def of_toml(text: str) -> Settings:
    return merge_settings(from_table(tomllib.loads(text), "greyd.toml"))


def group(text: str, name: str = "big") -> str:
    return f'[[sender_group]]\nname = "{name}"\n{text}\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('networks = ["192.0.2.0/24"]', SenderGroup("big", ("192.0.2.0/24",))),
        ('networks = ["192.0.2.7"]', SenderGroup("big", ("192.0.2.7/32",))),
        ('networks = ["2001:DB8::/32"]', SenderGroup("big", ("2001:db8::/32",))),
        ('names = ["Out.Example.com."]', SenderGroup("big", names=("out.example.com",))),
        ('names = ["bücher.example"]', SenderGroup("big", names=("bücher.example",))),
        (
            'networks = ["192.0.2.0/25", "198.51.100.0/24"]\nnames = ["a.example", "b.example"]',
            SenderGroup("big", ("192.0.2.0/25", "198.51.100.0/24"), ("a.example", "b.example")),
        ),
    ],
)
def test_a_table_is_a_group(text: str, expected: SenderGroup) -> None:
    assert of_toml(group(text)).sender_groups == (expected,)


def test_both_spellings_of_the_key_and_texts_as_on_the_command_line_mean_the_same() -> None:
    expected = (SenderGroup("big", ("192.0.2.0/24", "2001:db8::/32"), ("out.example.com",)),)
    text = "big=192.0.2.0/24,2001:db8::/32,out.example.com"
    assert merge_settings(from_arguments(["--sender-group", text])[0]).sender_groups == expected
    for key in ("sender_group", "sender-group"):
        assert of_toml(f'{key} = "{text}"').sender_groups == expected
        assert of_toml(f'{key} = ["{text}"]').sender_groups == expected
        tables = group(
            'networks = ["192.0.2.0/24", "2001:db8::/32"]\nnames = ["out.example.com"]'
        ).replace("sender_group", key)
        assert of_toml(tables).sender_groups == expected


WRONG_TABLES = [
    (group('network = ["192.0.2.0/24"]'), '"big": network: unknown key; the keys are name, net'),
    (group(""), '"big": has no members; give it networks or names'),
    (group("networks = []\nnames = []"), '"big": has no members'),
    (group('networks = "192.0.2.0/24"'), '"big": networks: use a list of strings'),
    (group("networks = [1]"), '"big": networks: use a list of strings'),
    (group("names = true"), '"big": names: use a list of strings'),
    (group('networks = ["192.0.2.5/24"]'), "/24: has host bits; write 192.0.2.0/24"),
    (group('networks = ["192.0.2"]'), "networks: 192.0.2: expected a network, such as"),
    (group('networks = ["192.0.2.0/33"]'), "expected a network"),
    (group('networks = ["10.*"]'), "expected a network"),
    (group('networks = ["out.example.com"]'), "networks: out.example.com: expected a network"),
    (group('networks = ["0.0.0.0/0"]'), "too wide for one sender; write networks of /8 or longer"),
    (group('networks = ["12.0.0.0/7"]'), "too wide"),
    (group('networks = ["2000::/3"]'), "too wide for one sender; write networks of /16 or"),
    (group('names = ["192.0.2.1"]'), "names: 192.0.2.1: expected a domain"),
    (group('names = ["*.example.com"]'), "no wildcards; write example.com, which includes all"),
    (group('names = [".example.com"]'), "no wildcards; write example.com, which includes all"),
    (group('names = ["bob@example.com"]'), "names: .*a mail address; write the client"),
    (group('names = ["unknown"]'), "names: unknown: expected a domain"),
    (group('names = ["com"]'), "names: com: expected a domain"),
    (group('names = ["a.example,b.example"]'), "names: .*expected a domain"),
    (group('names = ["a.example"]', "Big Group"), "Big Group: expected a name of up to 40"),
    (group('names = ["a.example"]', ""), "expected a name of up to 40"),
    (group('names = ["a.example"]', "x" * 41), "expected a name of up to 40"),
    (group('names = ["a.example"]', "a}b"), "expected a name of up to 40"),
    ('[[sender_group]]\nnetworks = ["192.0.2.0/24"]', "write a table with a name for each group"),
    ("[[sender_group]]\nname = 5", "write a table with a name for each group"),
    ("sender_group = 5", "write a table with a name for each group"),
    (
        group('names = ["a.example"]') + group('names = ["b.example"]', "BIG"),
        "two groups have the name big",
    ),
    (
        group('names = ["a.example"]') + group('names = ["A.example"]', "small"),
        '"small": a.example is also a member of big',
    ),
    (
        group('networks = ["192.0.2.0/24"]') + group('networks = ["192.0.2.0/24"]', "small"),
        '"small": 192.0.2.0/24 is also a member of big',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG_TABLES)
def test_a_mistake_is_one_line_with_the_file_and_the_key(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        of_toml(text)
    line = str(raised.value)
    assert line.startswith("greyd.toml: sender_group")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("big", "--sender-group=big: expected NAME=MEMBER,…, such as"),
        ("big=", "--sender-group=big=: expected NAME=MEMBER"),
        ("=192.0.2.0/24", r"--sender-group: \(empty\): expected a name"),
        ("big=192.0.2.5/24", "--sender-group: 192.0.2.5/24: has host bits"),
        ("big=300.0.2.5/24", "--sender-group: 300.0.2.5/24: expected a network"),
        ("big=*.example.com", "--sender-group: .*no wildcards"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as raised:
        merge_settings(from_arguments([f"--sender-group={text}"])[0])
    assert "\n" not in str(raised.value)


def test_the_numbers_of_groups_and_of_members_have_limits() -> None:
    groups = [f"g{place}=h{place}.example" for place in range(MAX_SENDER_GROUPS + 1)]
    members = ",".join(f"h{place}.example" for place in range(MAX_GROUP_MEMBERS + 1))
    assert merge_settings(from_table({"sender_group": groups[:-1]}, "f")).sender_groups
    with pytest.raises(SettingsError, match="sender groups; at most 200"):
        merge_settings(from_table({"sender_group": groups}, "f"))
    with pytest.raises(SettingsError, match="1001 members; at most 1000"):
        merge_settings(from_table({"sender_group": f"big={members}"}, "f"))


def test_groups_alone_ask_no_dns() -> None:
    assert not merge_settings(from_arguments(["--sender-group=a=b.example"])[0]).needs_evidence
