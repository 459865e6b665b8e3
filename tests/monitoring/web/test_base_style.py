"""The colours of the pages can be told apart, in a light browser and in a dark one."""

from __future__ import annotations

import re

import pytest

from greyd.monitoring.web.base_style import BASE_STYLE

SCHEMES = [
    dict(re.findall(r"--(\w+): (#[0-9a-f]{3,8})", scheme))
    for scheme in re.findall(r":root \{(.*?)\}", BASE_STYLE.replace("\\\n", ""), re.DOTALL)
]
TEXTS = ["ink", "soft", "bad"]
BARS = ["waited", "known", "new", "early", "bad"]


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.1)."""
    digits = colour[1:]
    if len(digits) == 3:
        digits = "".join(2 * each for each in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES, ids=["light", "dark"])
def test_texts_and_bars_have_the_contrast_of_wcag_aa(scheme: dict[str, str]) -> None:
    for ground in (scheme["ground"], scheme["card"]):
        assert [each for each in TEXTS if contrast(scheme[each], ground) < 4.5] == []
    assert [each for each in BARS if contrast(scheme[each], scheme["card"]) < 2.99] == []


def test_the_legend_s_colours_differ_from_each_other() -> None:
    for scheme in SCHEMES:
        assert len({scheme[each] for each in BARS}) == len(BARS)
