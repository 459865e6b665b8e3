"""What promtool says of the rules: they can be read, and each alert fires when it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.prometheus import promtool

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[2] / "prometheus"


def test_the_configuration_can_be_used_as_it_is() -> None:
    said = promtool("check", "config", str(FOLDER / "scrape.yml"))
    assert "2 rule files found" in said


@pytest.mark.parametrize("name", ["recording.rules.yml", "alert.rules.yml"])
def test_promtool_finds_nothing_wrong_with_the_rules(name: str) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", str(FOLDER / name))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.test.yml")), ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(path))
