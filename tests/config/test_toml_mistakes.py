"""Usual mistakes in the TOML file: the one-line error says what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.config.settings import Settings


def read(tmp_path: Path, text: str) -> Settings:
    """Return the settings of a TOML file with this text."""
    (tmp_path / "greyd.toml").write_text(text)
    return read_settings([f"--config={tmp_path / 'greyd.toml'}"], {})


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("mode = on", 'mode = "on"'),
        ("delay = 60\nmode = on   # for now\nmax_age = 7\n", 'mode = "on"'),
        ("mode=learn", 'mode = "learn"'),
        ("mode: on", 'mode = "on"'),
        ("mode on", 'mode = "on"'),
        ("mode = \u201con\u201d", 'mode = "on"'),
        ("delay = 5m", 'delay = "5m"'),
        ("delay = 60;", 'delay = "60"'),
        ("retry-window = 6h", 'retry_window = "6h"'),
        ("dbdir = /var/lib/greyd", 'dbdir = "/var/lib/greyd"'),
        ("metrics = 127.0.0.1:9923", 'metrics = "127.0.0.1:9923"'),
        ("metrics = off", 'metrics = "off"'),
        ("x_greylist_header = none", 'x_greylist_header = "none"'),
        ("inet = [127.0.0.1:10023, [::1]:10023]", '"127.0.0.1:10023"'),
        ("quiet = yes", "quiet = true"),
        ("quiet = False", "quiet = false"),
        ("delay =", "delete the line"),
        ("delay =\nmax_age = 7", "delete the line"),
        ('[recipient_domain."example.org"]\nmode = learn', 'mode = "learn"'),
        ('[recipient_domain."example.org"]\nsubdomains = yes', "subdomains = true"),
        ("[greyd]\ndelay = 60", "without [greyd]"),
        ("--delay = 60", "write delay"),
    ],
)
def test_a_usual_mistake_is_explained_in_one_line(text: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert message.isprintable()
    assert message.startswith(f"{tmp_path / 'greyd.toml'}: ")
    assert remedy in message


@pytest.mark.parametrize("text", ['mode = "on', "= 1", "\x00", "[", "a b c", "delay = 1 2 3 = 4"])
def test_other_mistakes_are_reported_in_one_line_too(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, text)
    assert str(error.value).isprintable()


def test_no_error_shows_a_password(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, "store = redis://greyd:geheim@db/0")
    assert "geheim" not in str(error.value)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffdelay = 60").delay_seconds == 60
