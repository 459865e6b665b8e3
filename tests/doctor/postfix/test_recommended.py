"""The recommended lines name an endpoint that Postfix can reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import Endpoint
from greyd.doctor.listeners import configured_listeners
from greyd.doctor.postfix.recommended import exim_acl, policy_endpoint
from tests.doctor.postfix.configs import (
    LISTENERS,
)


def test_the_acl_for_exim_is_that_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs/exim.md").read_text()
    block = page.partition('```exim title="/etc/exim4/greyd_acl"\n')[2].partition("```")[0]
    assert exim_acl(LISTENERS) == block
    assert "readsocket{/run/greyd/socket}" in exim_acl([Path("/run/greyd/socket")])


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (Settings(), "inet:127.0.0.1:10023"),
        (Settings(inet=(Endpoint("", 7),)), "inet:127.0.0.1:7"),
        (Settings(inet=(Endpoint("::", 7),)), "inet:[::1]:7"),
        (Settings(inet=(Endpoint("192.0.2.1", 7),)), "inet:192.0.2.1:7"),
        (Settings(unix=(Path("/var/spool/postfix/private/g"),)), "unix:private/g"),
        (Settings(unix=(Path("/run/g"),)), "unix:/run/g"),
        (Settings(inet=(Endpoint("::1", 7),), unix=(Path("/run/g"),)), "inet:[::1]:7"),
        (Settings(inet=(Endpoint("::1", 7),), unix=(Path("/var/spool/postfix/g"),)), "unix:g"),
    ],
)
def test_the_endpoint_is_one_that_postfix_can_reach(settings: Settings, place: str) -> None:
    assert policy_endpoint(configured_listeners(settings)) == place
