"""Real mail through a real Postfix: deferred, retried, delivered.

The tests hold for postgrey too: what a drop-in replaces is run beside it, on the same assertions.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.integration.postfix import Attempt, Client, Postfix, attempt, postfix
from tests.processes import Running, greyd, postgrey, program, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

# postgrey counts whole seconds: of two, at least one is left for the early retry.
DELAY_SECONDS = 2
DELAY = f"--delay={DELAY_SECONDS}"
HEADER = re.compile(r"delayed (\d+) seconds by \S+ at \S+; \w{3}, \d\d \w{3} \d{4} [\d:]{8} \S+")


def plain(policy: Running) -> str:
    """The restriction as most documentation writes it."""
    return f"check_policy_service inet:127.0.0.1:{policy.port}"


def with_fallback(policy: Running) -> str:
    """The restriction that lets mail pass where the policy server is away (Postfix 3.0)."""
    where = f"inet:127.0.0.1:{policy.port}"
    return f"check_policy_service {{ {where}, timeout=10s, default_action=DUNNO }}"


@contextlib.contextmanager
def policy_server(kind: str, folder: Path) -> Iterator[Running]:
    """Run one of the three servers that every test here holds for."""
    clients, recipients = folder / "whitelist_clients", folder / "whitelist_recipients"
    clients.write_text("friend.example.net\n")
    recipients.write_text("postmaster@\n")
    options = [DELAY, f"--whitelist-clients={clients}", f"--whitelist-recipients={recipients}"]
    with contextlib.ExitStack() as ends:
        if kind == "postgrey":
            yield ends.enter_context(postgrey(folder, *options))
            return
        if kind == "greyd-redis":
            redis = ends.enter_context(redis_server(folder))
            options.append(f"--store=redis://127.0.0.1:{redis.port}/0")
        yield ends.enter_context(greyd(folder, *options))


@pytest.fixture(scope="module", params=["postgrey", "greyd-sqlite", "greyd-redis"])
def mta(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Postfix]:
    folder = tmp_path_factory.mktemp(request.param)
    with (
        policy_server(request.param, folder) as policy,
        postfix(folder, plain=plain(policy), braced=with_fallback(policy)) as instance,
    ):
        yield instance


def wait_out_the_delay() -> None:
    """Real time is what greylisting is about; there is no condition to wait for instead."""
    time.sleep(DELAY_SECONDS + 0.1)


def assert_greylisted(tried: Attempt, *recipients: str) -> None:
    assert not tried.taken
    assert len(tried.replies) == len(recipients)
    for reply, recipient in zip(tried.replies, recipients, strict=True):
        domain = recipient.split("@")[1]
        assert reply == (
            f"450 4.2.0 <{recipient}>: Recipient address rejected: "
            f"Greylisted, see http://postgrey.schweikert.ch/help/{domain}.html"
        )


def assert_one_header(headers: list[str]) -> None:
    assert len(headers) == 1
    header = HEADER.fullmatch(headers[0])
    assert header is not None, headers
    assert DELAY_SECONDS <= int(header[1]) < 60


def headers_after(mta: Postfix, tried: Attempt) -> list[str]:
    """X-Greylist headers of the accepted message, once it has come out at the other end."""
    assert tried.taken, tried.replies
    (delivered,) = mta.sink.wait_for(tried.subject)
    return delivered.greylist_headers


def test_the_first_mail_is_deferred_with_450_and_the_retry_delivered_with_one_header(
    mta: Postfix,
) -> None:
    mail = (mta.ports["plain"], Client("192.0.2.7"), "alice@example.com", "bob@example.org")
    assert_greylisted(attempt(*mail), "bob@example.org")
    assert_greylisted(attempt(*mail), "bob@example.org")
    wait_out_the_delay()
    assert_one_header(headers_after(mta, attempt(*mail)))
    assert headers_after(mta, attempt(*mail)) == []


def test_a_message_to_three_recipients_carries_one_header_and_a_fourth_waits(mta: Postfix) -> None:
    port, client, sender = mta.ports["plain"], Client("192.0.20.7"), "dora@example.com"
    known = ("ann@example.org", "ben@example.org", "cleo@example.org")
    assert_greylisted(attempt(port, client, sender, *known), *known)
    wait_out_the_delay()
    tried = attempt(port, client, sender, *known, "new@example.org")
    assert [reply.split(" <")[0] for reply in tried.replies] == ["250 2.1.5 Ok"] * 3 + ["450 4.2.0"]
    assert_one_header(headers_after(mta, tried))
    assert mta.sink.about(tried.subject)[0].recipients == known


def test_mail_from_a_whitelisted_client_name_passes_at_once(mta: Postfix) -> None:
    client = Client("198.51.100.9", "mx1.friend.example.net")
    tried = attempt(mta.ports["plain"], client, "fred@example.net", "bob@example.org")
    assert headers_after(mta, tried) == []


def test_mail_to_postmaster_passes_at_once(mta: Postfix) -> None:
    client = Client("198.51.101.9")
    tried = attempt(mta.ports["plain"], client, "gina@example.com", "postmaster@example.org")
    assert headers_after(mta, tried) == []


def test_a_null_sender_is_deferred_and_passes_later(mta: Postfix) -> None:
    mail = (mta.ports["plain"], Client("198.51.102.9"), "", "bob@example.org")
    assert_greylisted(attempt(*mail), "bob@example.org")
    wait_out_the_delay()
    assert_one_header(headers_after(mta, attempt(*mail)))


def test_an_ipv6_neighbour_in_the_same_64_inherits_the_wait(mta: Postfix) -> None:
    port, sender, recipient = mta.ports["braced"], "hugo@example.com", "bob@example.org"
    first, neighbour = Client("2001:db8::1"), Client("2001:db8::beef:0:1")
    stranger = Client("2001:db8:0:1::1")
    assert_greylisted(attempt(port, first, sender, recipient), recipient)
    wait_out_the_delay()
    assert_greylisted(attempt(port, stranger, sender, recipient), recipient)
    assert_one_header(headers_after(mta, attempt(port, neighbour, sender, recipient)))


def test_a_user_with_swaks_is_deferred_and_delivered_on_the_retry(mta: Postfix) -> None:
    subject = f"swaks {uuid.uuid4()}"
    command = [
        program("swaks"), "--server", f"127.0.0.1:{mta.ports['braced']}",
        "--xclient", "ADDR=203.0.113.5 NAME=mail.example.com", "--helo", "mail.example.com",
        "--from", "ida@example.com", "--to", "bob@example.org", "--header", f"Subject: {subject}",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert first.returncode == 24, first.stdout + first.stderr  # swaks: no recipient was accepted
    assert "<** 450 4.2.0 <bob@example.org>: Recipient address rejected: Greylisted" in first.stdout
    wait_out_the_delay()
    second = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert second.returncode == 0, second.stdout + second.stderr
    (delivered,) = mta.sink.wait_for(subject)
    assert_one_header(delivered.greylist_headers)


def test_twenty_messages_over_four_sessions_are_each_deferred_and_each_delivered_later(
    mta: Postfix,
) -> None:
    sender, subject = "load@example.com", f"load {uuid.uuid4()}"
    # -N numbers the recipients, the same way each time, so that all twenty triplets are new,
    # however long the first round takes.
    command = [
        program("smtp-source"), "-A", "-N", "-s", "4", "-m", "20", "-M", "load.example.com",
        "-f", sender, "-t", "bob@example.org", "-S", subject, f"127.0.0.1:{mta.ports['plain']}",
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=30, check=True)
    rejections = mta.wait_for_rejections(sender, count=20)
    assert all(": 450 4.2.0 <" in line and "Greylisted" in line for line in rejections)
    wait_out_the_delay()
    subprocess.run(command, capture_output=True, timeout=30, check=True)
    delivered = mta.sink.wait_for(subject, count=20)
    assert len({one.recipients for one in delivered}) == 20
    for one in delivered:
        assert_one_header(one.greylist_headers)


def test_what_one_server_saw_passes_at_the_other_on_the_same_redis(tmp_path: Path) -> None:
    mail = (Client("192.0.2.7"), "alice@example.com", "bob@example.org")
    with redis_server(tmp_path) as redis:
        store = f"--store=redis://127.0.0.1:{redis.port}/0"
        with (
            greyd(tmp_path / "one", DELAY, store) as one,
            greyd(tmp_path / "two", DELAY, store) as two,
            postfix(tmp_path, one=plain(one), two=plain(two)) as mta,
        ):
            assert_greylisted(attempt(mta.ports["one"], *mail), "bob@example.org")
            assert_greylisted(attempt(mta.ports["two"], *mail), "bob@example.org")
            wait_out_the_delay()
            assert_one_header(headers_after(mta, attempt(mta.ports["two"], *mail)))
            assert headers_after(mta, attempt(mta.ports["one"], *mail)) == []


def test_with_the_server_stopped_only_the_default_action_decides(tmp_path: Path) -> None:
    mail = (Client("192.0.2.7"), "alice@example.com", "bob@example.org")
    with (
        greyd(tmp_path, DELAY) as policy,
        postfix(tmp_path, plain=plain(policy), braced=with_fallback(policy)) as mta,
    ):
        assert_greylisted(attempt(mta.ports["braced"], *mail), "bob@example.org")
        policy.stop()
        assert headers_after(mta, attempt(mta.ports["braced"], *mail)) == []
        refused = attempt(mta.ports["plain"], *mail)
        assert refused.replies[0].startswith("451 4.3.5 <bob@example.org>: Recipient address rej")
