"""The pictures of the tour: there, shown, of bounded size, without traces of a machine."""

from __future__ import annotations

import getpass
import re
import socket
import struct
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.pages.blocks import CHECKOUT, DOCS

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = DOCS / "pictures"
PICTURES = sorted(FOLDER.iterdir())
MAX_BYTES = 300_000
MAX_ALL_BYTES = 800_000

PICTURE = re.compile(r"!\[(?P<text>[^]]+)\]\((?P<path>[^)]*pictures/[^)]+)\)")


def shown_in(page: Path) -> dict[str, str]:
    """Return the texts of the pictures that a page shows, by their file's name."""
    found = {}
    for match in PICTURE.finditer(page.read_text()):
        path = page.parent / match["path"]
        assert path.exists(), path
        found[path.name] = match["text"]
    return found


@pytest.mark.parametrize("page", [CHECKOUT / "README.md", DOCS / "index.md"], ids=str)
def test_the_tour_shows_each_picture_once_and_says_what_it_is(page: Path) -> None:
    shown = shown_in(page)
    assert sorted(shown) == [each.name for each in PICTURES]
    assert len(shown) == 5
    assert all(len(text) > 20 for text in shown.values())


@pytest.mark.parametrize("picture", PICTURES, ids=lambda each: each.name)
def test_a_picture_is_of_bounded_size(picture: Path) -> None:
    assert 1000 < picture.stat().st_size < MAX_BYTES
    assert sum(each.stat().st_size for each in PICTURES) < MAX_ALL_BYTES


@pytest.mark.parametrize("picture", PICTURES, ids=lambda each: each.name)
def test_a_picture_has_no_trace_of_the_machine_on_which_it_was_made(picture: Path) -> None:
    data = picture.read_bytes()
    checkout = re.escape(str(CHECKOUT).encode())
    traces = [rb"/tmp/", checkout, rb"/home/", rb"/root", rb"\.venv", rb"site-packages"]
    if picture.suffix == ".svg":
        names = [each for each in (socket.gethostname(), getpass.getuser()) if len(each) > 2]
        traces += [rb"\b%b\b" % re.escape(name.encode()) for name in names]
    assert [each for each in traces if re.search(each, data)] == []


SVGS = [each for each in PICTURES if each.suffix == ".svg"]
PNGS = [each for each in PICTURES if each.suffix == ".png"]


@pytest.mark.parametrize("picture", SVGS, ids=lambda each: each.name)
def test_an_svg_is_valid_and_loads_nothing(picture: Path) -> None:
    text = picture.read_text()
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    urls = set(re.findall(r"https?://[^\s\"')<]+", text))
    # The namespace, the names of rich and Textual, and what the terminal shows.
    known = ("http://www.w3.org/", "https://textualize.io", "https://www.textualize.io",
             "http://127.0.0.1:9923", "http://postgrey.schweikert.ch/help/")  # fmt: skip
    assert [url for url in urls if not url.startswith(known)] == []
    assert "@font-face" not in text
    assert "<script" not in text
    assert "<image" not in text


@pytest.mark.parametrize("picture", PNGS, ids=lambda each: each.name)
def test_a_png_has_only_the_picture(picture: Path) -> None:
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    kinds, place = [], 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kinds.append(data[place + 4 : place + 8])
        place += 12 + length
    assert {
        kind for kind in kinds if kind in {b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"tIME"}
    } == set()
