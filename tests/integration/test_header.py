"""The header of mail that has waited: off, and only texts that Postfix adds as a header."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from greyd.config.values.header_text import parse_header
from tests.integration.postfix import Client, attempt, postfix
from tests.processes import greyd, open_to_other_users

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

TEXTS = [
    "X-Greylist: delayed 300 seconds", "X-Greylist : a space", "x!#$%&'*+-^_`|~9: y", "X-G: ü",
    "delayed 300 seconds", "X-Greylist delayed: 300", "X-Greylist", ": no name", "X-Grün: a",
]  # fmt: skip


def is_header(text: str) -> bool:
    """Whether greyd accepts a text as a header."""
    try:
        parse_header(text)
    except ValueError:
        return False
    return True


def test_greyd_accepts_the_texts_that_postfix_adds_as_a_header(tmp_path: Path) -> None:
    open_to_other_users(tmp_path)
    table = tmp_path / "texts"
    lines = [f"/^text{number}@/ PREPEND {text}\n" for number, text in enumerate(TEXTS)]
    # "$" introduces a substring in such a table.
    table.write_text("".join(lines).replace("$", "$$"))
    with postfix(tmp_path, plain=f"check_recipient_access regexp:{table}") as mta:
        added = []
        for number, text in enumerate(TEXTS):
            tried = attempt(
                mta.ports["plain"], Client("192.0.2.7"), "a@example.com",
                f"text{number}@example.org",
            )  # fmt: skip
            (delivered,) = mta.sink.wait_for(tried.subject)
            name = text.partition(":")[0].strip()
            added.append(bool(name) and name in [key.strip() for key in delivered.message])
        assert added == [is_header(text) for text in TEXTS]


def test_without_a_header_mail_passes_unchanged(tmp_path: Path) -> None:
    with (
        greyd(tmp_path, "--delay=1s", "--x-greylist-header=none") as policy,
        postfix(tmp_path, plain=f"check_policy_service inet:127.0.0.1:{policy.port}") as mta,
    ):
        mail = (mta.ports["plain"], Client("192.0.2.7"), "alice@example.com", "bob@example.org")
        assert attempt(*mail).replies[0].startswith("450 4.2.0")
        time.sleep(2.1)
        tried = attempt(*mail)
        assert tried.taken
        (delivered,) = mta.sink.wait_for(tried.subject)
        assert delivered.greylist_headers == []
        assert "warning" not in mta.maillog.read_text()
        assert "action=pass, reason=triplet found, delay=" in policy.log()
