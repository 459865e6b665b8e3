"""The site's own domains, as options and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings

if TYPE_CHECKING:
    from pathlib import Path


def own_domains(*values: str) -> tuple[str, ...]:
    return read_settings([f"--own-domains={each}" for each in values], {}).own_domains


def test_domains_are_normal_names_whatever_their_form() -> None:
    assert own_domains("Example.COM", ".example.org", "example.net.", "bücher.example") == (
        "example.com", "example.org", "example.net", "bücher.example",
    )  # fmt: skip


def test_a_file_may_be_a_table_of_postfix(tmp_path: Path) -> None:
    file = tmp_path / "relay_domains"
    file.write_text(
        "# ours\n\nexample.com OK\n  Example.ORG\trelay:[10.0.0.1] # west\n.a.example\n"
    )
    assert own_domains("b.example", str(file), "example.com") == (
        "b.example", "example.com", "example.org", "a.example",
    )  # fmt: skip


def test_they_may_be_a_list_in_toml(tmp_path: Path) -> None:
    config = tmp_path / "greyd.toml"
    config.write_text('own_domains = ["example.com", "example.org"]\n')
    settings = read_settings([f"--config={config}"], {})
    assert settings.own_domains == ("example.com", "example.org")
    assert read_settings([], {"GREYD_OWN_DOMAINS": "example.com"}).own_domains == ("example.com",)


@pytest.mark.parametrize(
    "value",
    ["", "com", "localhost", "a b.example", "x@example.com", "a..example", "*.example.com/8"],
)
def test_anything_else_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(SettingsError, match=r"\A--own-domains=.*expected a domain") as refused:
        own_domains(value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["example", "bob@example.com", "/etc/passwd", "a..b", "\x00.com"])
def test_a_line_without_a_domain_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "domains"
    file.write_text(f"example.com\n{line} OK\n")
    with pytest.raises(SettingsError, match=r"domains:2: .*write a domain, such as example.com"):
        own_domains(str(file))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SettingsError, match=f"--own-domains={file}: "):
            own_domains(str(file))


def test_a_shadow_may_have_other_domains(tmp_path: Path) -> None:
    file = tmp_path / "domains"
    file.write_text("example.com\n")
    settings = read_settings([f"--shadow=own-domains={file}", "--own-domains=example.org"], {})
    assert settings.own_domains == ("example.org",)
    assert settings.shadow_settings is not None
    assert settings.shadow_settings.own_domains == ("example.com",)
