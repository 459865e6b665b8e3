"""What the pages show is run, page by page, each on a machine of its own (see tests/pages)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import only_as_root
from tests.pages.blocks import PAGES, Page
from tests.pages.machine import PROGRAMS, enter
from tests.processes import program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _all_it_takes() -> None:
    only_as_root()
    for name in PROGRAMS:
        program(name)


with_blocks = [path for path in PAGES if "```" in path.read_text() or path.name == "README.md"]


@pytest.mark.parametrize("path", with_blocks, ids=lambda path: path.name)
def test_what_a_page_shows_works(path: Path) -> None:
    done = enter(Page(path))
    assert done.returncode == 0, done.stdout + done.stderr


MAIN_CF = '```cf title="/etc/postfix/main.cf"\n'
UNIT = '```ini title="/etc/systemd/system/a.service"\n[Service]\n'
WRONG = {
    "a command fails": ("```sh\nfalse\n```", "false\nstatus 1"),
    "another answer": ("```console\n$ echo one\ntwo\n```", "answers\none\n\nand not\ntwo"),
    "a wrong option": ("```sh\ngreyd serve --dealy=60\n```", "--dealy: unknown option"),
    "a warning": ("```sh\ngreyd serve --delay=0\n```", "warns: "),
    "an unknown parameter": (MAIN_CF + "smtpd_restrictoins = a\n```", "unused parameter"),
    "no greylisting": (MAIN_CF + "smtpd_recipient_restrictions =\n```", "250 delivered"),
    "an unknown unit": ("```sh\nsystemctl restart no-such-unit\n```", "no unit no-such-unit"),
    "a wrong unit": (UNIT + "Type=odd\nExecStart=/bin/true\n```", "parse service type"),
    "an unknown package": ("```sh\napt install no-such-package\n```", "status 100"),
    "an unknown setting": ('```toml title="a.toml"\ndealy = 60\n```', "dealy: unknown setting"),
    "a bad whitelist": ('```text title="whitelist_clients"\n/(/\n```', "without its )"),
    "an unknown reason": ("```log\naction=pass, reason=good mood\n```", "does not say that"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_work_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{text}\n")
    done = enter(Page(page))
    assert done.returncode != 0, done.stdout
    assert said in done.stdout + done.stderr
