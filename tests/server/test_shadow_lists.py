"""The shadow reads lists of its own if its settings name other files than the server's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from greyd.config.settings import Settings
from greyd.server.evidence.shadow import has_own_whitelists

LISTS = [
    "whitelist_clients",
    "whitelist_recipients",
    "whitelist_senders",
    "never_auto_whitelist",
    "list_override",
]


@pytest.mark.parametrize("name", LISTS)
def test_each_other_list_makes_the_shadow_read_its_own(name: str) -> None:
    settings = Settings()
    shadow = replace(settings, **{name: (Path("/tmp/list"),)})
    assert has_own_whitelists(replace(settings, shadow_settings=shadow))


def test_other_settings_leave_the_lists_of_the_server() -> None:
    settings = Settings()
    shadow = replace(settings, delay_seconds=60)
    assert not has_own_whitelists(replace(settings, shadow_settings=shadow))
    assert not has_own_whitelists(settings)
