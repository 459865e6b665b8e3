"""``--shadow``: the settings of the second decision, wherever they are written."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings
from greyd.config.options import OPTIONS
from greyd.config.settings import Settings
from greyd.config.vocabulary import DECIDING_SETTINGS, Zone

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT_EFFECT_ON_DECISIONS = {
    "inet", "unix", "socketmode", "listen-queue-size", "exim", "lookup-by-subnet", "shadow",
    "greylist-action", "greylist-text", "x-greylist-header", "hostname", "store",
    "store-password-file", "sentinel-user", "sentinel-password-file", "dbdir", "max-store-size",
    "store-timeout", "store-connect-timeout", "on-store-failure", "key-prefix", "privacy",
    "privacy-key", "daemonize", "pidfile", "run-dir", "user", "group", "workers", "config",
    "test-time", "metrics", "metrics-host", "status-details", "log-format", "syslog-facility",
    "syslog-ident", "quiet", "verbose", "outbound-senders", "sender-logins",
}  # fmt: skip
"""Options that a shadow and a simulation can't change."""


def test_each_option_either_affects_decisions_or_not() -> None:
    names = {option.name for option in OPTIONS}
    assert names == {*DECIDING_SETTINGS, *WITHOUT_EFFECT_ON_DECISIONS}
    assert not WITHOUT_EFFECT_ON_DECISIONS & {*DECIDING_SETTINGS}


def read(*arguments: str, toml: str = "", folder: Path, **environment: str) -> Settings:
    file = folder / "greyd.toml"
    file.write_text(toml)
    return read_settings([f"--config={file}", *arguments], environment)


def shadow_of(settings: Settings) -> Settings:
    assert settings.shadow_settings is not None
    return settings.shadow_settings


def test_without_the_option_there_is_no_shadow(tmp_path: Path) -> None:
    settings = read("--delay=60", folder=tmp_path)
    assert (settings.shadow, settings.shadow_settings) == ((), None)


@pytest.mark.parametrize("source", ["arguments", "environment", "table", "list"])
def test_the_shadow_has_the_settings_of_the_server_with_the_changes(
    tmp_path: Path, source: str
) -> None:
    arguments: list[str] = []
    toml, environment = "", {}
    if source == "arguments":
        arguments = ["--shadow=delay=60", "--shadow", "dnsbl=a.example", "--shadow=dnsbl=b.example"]
    elif source == "environment":
        environment = {"GREYD_SHADOW": "delay=60 dnsbl=a.example  dnsbl=b.example"}
    elif source == "table":
        toml = '[shadow]\ndelay = 60\ndnsbl = ["a.example", "b.example"]\n'
    else:
        toml = 'shadow = ["delay=60", "dnsbl=a.example", "dnsbl=b.example"]\n'
    settings = read(
        "--max-age=7", "--ipv4cidr=20", *arguments, toml=toml, folder=tmp_path, **environment
    )
    shadow = shadow_of(settings)
    assert (settings.delay_seconds, settings.dnsbl) == (300, ())
    assert (shadow.delay_seconds, shadow.dnsbl) == (60, (Zone("a.example"), Zone("b.example")))
    same = [each.name for each in fields(Settings) if each.compare and each.name != "shadow"]
    changed = {name for name in same if getattr(settings, name) != getattr(shadow, name)}
    assert changed == {"delay_seconds", "dnsbl", "shadow_settings"}


def test_a_preset_leaves_the_explicit_settings_of_the_server(tmp_path: Path) -> None:
    shadow = shadow_of(read("--shadow=preset=recommended", "--rhsbl=r.example", folder=tmp_path))
    assert (shadow.greylist, shadow.identity) == ("suspicious", ("spf", "name"))
    assert shadow.rhsbl == (Zone("r.example"),)


@pytest.mark.parametrize(("mode", "expected"), [(None, "on"), ("learn", "learn"), ("off", "off")])
def test_the_mode_of_the_shadow_is_its_own(tmp_path: Path, mode: str | None, expected: str) -> None:
    more = [f"--shadow=mode={mode}"] if mode else []
    settings = read("--mode=learn", "--shadow=delay=60", *more, folder=tmp_path)
    assert (settings.mode, shadow_of(settings).mode) == ("learn", expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("delay=soon", "--shadow: delay=soon: expected a whole number"),
        ("delay", "--shadow=delay: expected a value: delay=VALUE"),
        ("store=redis://db/0", "expected NAME=VALUE, with a setting that affects decisions: delay"),
        ("shadow=delay=60", "expected NAME=VALUE, with a setting that affects decisions: delay"),
        ("learn-outbound=yes", "--learn-outbound requires --identity=spf,name; add it"),
    ],
)
def test_a_change_that_is_impossible_is_one_line(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(f"--shadow={change}", folder=tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_value_that_means_the_default_is_a_warning(tmp_path: Path) -> None:
    settings = read("--shadow=delay=0", "--max-age=0", folder=tmp_path)
    assert settings.warnings == (
        "--max-age=0: using the default (35d)",
        "--shadow: delay=0: using the default (5m)",
    )
