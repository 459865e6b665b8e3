"""greyd beside Debian's postgrey: the same options, the same requests, the same answers.

Postgrey takes its time from ``policy_test_time``, as greyd does with ``--test-time``, so a month
of mail takes a second. The header's ``%v`` and ``%d`` differ by nature; the rest is compared byte
for byte, replies and log lines alike. What greyd does otherwise on purpose has a test of its own.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.side_by_side import (
    Respondent,
    ask,
    assert_same_lines,
    decisions,
    postgrey_decisions,
)
from tests.integration.streams import (
    CONNECTIONS,
    DAY,
    HOUR,
    START,
    Asked,
    Pace,
    Stream,
)
from tests.processes import PolicyClient, encode, greyd, postgrey, redis_server, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

SEEDS = 4
LENGTH = 260

HEADER = "--x-greylist-header=X-Greylist: delayed %t seconds at %h"
HOSTNAME = "--hostname=gw.example.com"
# The tests share their machine, and a store that is away would answer otherwise.
PATIENCE = "--store-timeout=20"

REASONS = frozenset({"new", "early-retry", "triplet found", "client AWL"})
WITHOUT_AWL = REASONS - {"client AWL"}

DEFAULT_PACE = Pace()

CLIENTS_FILE = """\
# names and networks out of the streams' world
a.b.c.example
/^mX\\.example\\.NET$/   # both spellings
10.2
203.0.113
2001:db8:3::/48
300.1.2.3
/^b{,3}\\.example$/
"""
RECIPIENTS_FILE = "postmaster@\nc.example\n/^noat$/\n"


@dataclass(frozen=True)
class Case:
    """A set of options, the thresholds they bring, and the reasons that they must lead to."""

    name: str
    options: tuple[str, ...]
    pace: Pace = DEFAULT_PACE
    reasons: frozenset[str] = REASONS
    whitelists: bool = False
    header: str = HEADER
    seeds: int = SEEDS
    """The number of streams; enough to meet all reasons."""


CASES = (
    Case("defaults", ()),
    Case(
        "empty_and_zero_texts",
        (
            "--lookup-by-subnet", "--greylist-text", "", "--greylist-action", "0",
            "--auto-whitelist-clients=2", "--x-greylist-header=the last one counts",
        ),
        header="--x-greylist-header=X-Waited: %t %t %s %r %%t at %h%h",
    ),
    Case(
        "short_times",
        (
            HOSTNAME, "--delay=60", "--retry-window=6h", "--auto-whitelist-clients=2",
            "--greylist-text=%s seconds for %r, %s %r %t %%s",
        ),
        Pace(60, 6 * HOUR),
    ),
    Case(
        "negative_delay",
        (HOSTNAME, "--delay=-5", "--auto-whitelist-clients=3"),
        Pace(-5),
        reasons=frozenset({"triplet found", "client AWL"}),
    ),
    Case(
        "by_host_in_private",
        (HOSTNAME, "--lookup-by-host", "--ipv4cidr=8", "--privacy", "--auto-whitelist-clients=3"),
    ),
    Case(
        "wide_networks",
        (HOSTNAME, "--ipv4cidr=20", "--ipv6cidr=48", "--auto-whitelist-clients", "--privacy"),
    ),
    Case("whole_addresses", (HOSTNAME, "--ipv4cidr=32", "--ipv6cidr=128", "--quiet")),
    Case(
        "zeros_are_the_defaults",
        (
            HOSTNAME, "--ipv4cidr=0", "--ipv6cidr=0", "--max-age=0", "--delay=0",
            "--auto-whitelist-clients=0", "--greylist-text=4.7.1 wait %s",
            "--greylist-action=DEFER",
        ),
        reasons=WITHOUT_AWL,
    ),
    Case(
        "half_the_internet",
        (
            HOSTNAME, "--ipv4cidr=1", "--ipv6cidr=1", "--max-age=1", "--retry-window=3H",
            "--auto-whitelist-clients=4",
        ),
        Pace(300, 3 * HOUR, DAY),
        seeds=6,
    ),
    Case(
        "window_of_nothing",
        (HOSTNAME, "--retry-window=0", "--delay=5"),
        Pace(5, 0),
        reasons=frozenset({"new"}),
    ),
    Case(
        "window_shorter_than_delay",
        (HOSTNAME, "--retry-window=1h", "--delay=5000", "--greylist-text=%r"),
        Pace(5000, HOUR),
        reasons=frozenset({"new", "early-retry"}),
    ),
    Case("awl_at_once", (HOSTNAME, "--auto-whitelist-clients=1", "--greylist-text=5%s")),
    Case(
        "slow",
        (
            HOSTNAME, "--delay=86400", "--retry-window=365", "--max-age=1000",
            "--auto-whitelist-clients=2", "--greylist-action=450 4.7.1",
        ),
        Pace(DAY, 365 * DAY, 1000 * DAY),
    ),
    Case("exim", (HOSTNAME, "--exim", "--delay", "120"), Pace(120)),
    Case(
        "whitelists",
        (HOSTNAME, "--delay", "+0200", "--auto-whitelist-clients=2"),
        Pace(200),
        reasons=REASONS | {"client whitelist", "recipient whitelist"},
        whitelists=True,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_reply_and_every_log_line_is_postgreys(
    case: Case, tmp_path: Path, redis: Running
) -> None:
    options = [*case.options, case.header]
    if case.whitelists:
        (tmp_path / "clients").write_text(CLIENTS_FILE)
        (tmp_path / "recipients").write_text(RECIPIENTS_FILE)
        options.append(f"--whitelist-clients={tmp_path / 'clients'}")
        options.append(f"--whitelist-recipients={tmp_path / 'recipients'}")
    servers = all_servers(tmp_path, options, redis, case.name)
    with contextlib.ExitStack() as stack:
        respondents = [
            stack.enter_context(
                Respondent(
                    name, stack.enter_context(server), CONNECTIONS, closes="--exim" in options
                )
            )
            for name, server in servers.items()
        ]
        for seed in range(case.seeds):
            compare_stream(respondents, list(Stream(seed, case.pace).requests(LENGTH)), seed)
    reference, *others = respondents
    expected = postgrey_decisions(reference.server.log())
    for other in others:
        assert_same_lines(expected, decisions(other.server.log()), other.name)
    if "--quiet" not in options:
        assert case.reasons <= reasons(expected), "the stream is to lead everywhere"


def all_servers(
    folder: Path, options: Sequence[str], redis: Running, prefix: str
) -> dict[str, contextlib.AbstractContextManager[Running]]:
    """Return postgrey and greyd on each store, to be started with the same options."""
    ours = [*options, "--test-time", PATIENCE]
    address = f"redis://127.0.0.1:{redis.port}/0"
    return {
        "postgrey": postgrey(folder / "postgrey", *options),
        "greyd, SQLite": greyd(folder / "sqlite", *ours),
        "greyd, Redis": greyd(
            folder / "redis", *ours, f"--store={address}", f"--key-prefix={prefix}:"
        ),
        "greyd, memory": greyd(folder / "memory", *ours, "--store=memory://"),
    }


def compare_stream(respondents: Sequence[Respondent], stream: Sequence[Asked], seed: int) -> None:
    """Send a stream to all servers, and fail with the first reply that is not postgrey's."""
    for number, asked in enumerate(stream):
        expected, *found = ask(respondents, asked.attributes, asked.connection)
        assert expected is not None, f"postgrey closed the connection:\n{shown(asked)}"
        for respondent, reply in zip(respondents[1:], found, strict=True):
            if reply != expected:
                raise AssertionError(
                    f"seed {seed}, request {number}, {respondent.name}: {reply!r},"
                    f" postgrey: {expected!r}\n{story(stream, number)}"
                )


def story(stream: Sequence[Asked], number: int) -> str:
    """Show a request after those of the same triplet that came before it."""
    triplet = stream[number].triplet
    earlier = [
        f"{position:4}: {shown(asked)}"
        for position, asked in enumerate(stream[:number])
        if asked.triplet == triplet
    ]
    return "\n".join([*earlier[-12:], f"{number:4}: {shown(stream[number])}  <-"])


def shown(asked: Asked) -> str:
    attributes = dict(asked.attributes)
    seconds = int(attributes.pop("policy_test_time")) - START
    attributes.pop("request")
    return f"+{seconds}s " + " ".join(
        f"{name}={value!r}" for name, value in sorted(attributes.items())
    )


def reasons(log: Sequence[str]) -> set[str]:
    found = Counter(re.findall(r"reason=([^,(]*[^,( ])", "\n".join(log)))
    return {reason for reason, count in found.items() if count >= 10}


@pytest.mark.parametrize(
    "client",
    [
        {"client_address": "192.0.2.7"},
        {"client_address": "192.0.2.7", "client_name": ""},
        {"client_address": "192.0.2.7", "client_name": b"50%\xfc"},
    ],
    ids=["IPv4", "no name", "octets"],
)
def test_the_line_of_a_client_that_becomes_whitelisted_is_postgreys(
    tmp_path: Path, client: dict[str, str | bytes]
) -> None:
    option = "--auto-whitelist-clients=1"
    with (
        postgrey(tmp_path / "postgrey", option) as reference,
        greyd(tmp_path / "greyd", option, "--test-time", PATIENCE) as ours,
    ):
        for server in (reference, ours):
            with PolicyClient(server.port) as asks:
                for seconds in (0, 300):
                    asks.ask(at(seconds, **client))
    lines = [
        [line for line in server.log().splitlines() if line.startswith("whitelisted: ")]
        for server in (reference, ours)
    ]
    assert len(lines[0]) == 1
    assert lines[1] == [line.replace("%%", "%") for line in lines[0]]


@pytest.mark.parametrize("options", [("--hostname", ""), ("--hostname=0",), ("--hostname= x ",)])
def test_a_host_name_is_written_as_it_is_given(tmp_path: Path, options: tuple[str, ...]) -> None:
    with (
        postgrey(tmp_path / "postgrey", HEADER, *options) as reference,
        greyd(tmp_path / "greyd", HEADER, *options, "--test-time", PATIENCE) as ours,
    ):
        replies = []
        for server in (reference, ours):
            with PolicyClient(server.port) as client:
                replies.append([client.ask(at(seconds)) for seconds in (0, 300)])
    assert replies[0] == replies[1]


# What greyd does otherwise on purpose -------------------------------------------------------------


@contextlib.contextmanager
def both(folder: Path, *options: str) -> Iterator[tuple[PolicyClient, PolicyClient]]:
    """Run postgrey and greyd with the same options, and connect to them."""
    with (
        postgrey(folder / "postgrey", HEADER, HOSTNAME, *options) as reference,
        greyd(folder / "greyd", HEADER, HOSTNAME, *options, "--test-time", PATIENCE) as ours,
        PolicyClient(reference.port) as asks_postgrey,
        PolicyClient(ours.port) as asks_greyd,
    ):
        yield asks_postgrey, asks_greyd


def test_the_line_of_an_ipv6_client_that_becomes_whitelisted_shows_what_postfix_said(
    tmp_path: Path,
) -> None:
    shown = []
    for start, more in ((postgrey, ()), (greyd, ("--test-time", PATIENCE))):
        with start(tmp_path / start.__name__, "--auto-whitelist-clients=1", *more) as server:
            with PolicyClient(server.port) as asks:
                for seconds in (0, 300):
                    asks.ask(at(seconds, client_address="2001:db8::1", client_name="x"))
            server.stop()
            shown += [line for line in server.log().splitlines() if "whitelisted: " in line]
    assert shown == ["whitelisted: x[2001:DB8:0:0:0:0:0:1]", "whitelisted: x[2001:db8::1]"]


def at(seconds: int, **attributes: str | bytes | None) -> dict[str, str | bytes]:
    """Return a request without an instance, ``seconds`` after the start."""
    return request(policy_test_time=str(START + seconds), **{"instance": None, **attributes})


def is_greylisted(reply: str | None) -> bool:
    return reply is not None and reply.startswith("action=DEFER_IF_PERMIT ")


@pytest.mark.parametrize("address", ["", "unknown", "192.0.2.300", "fe80::1%eth0", "1:2:3"])
def test_an_unreadable_client_address_kills_postgrey_and_passes_with_greyd(
    tmp_path: Path, address: str
) -> None:
    with both(tmp_path) as (asks_postgrey, asks_greyd):
        assert asks_postgrey.ask(at(0, client_address=address)) is None
        assert asks_greyd.ask(at(0, client_address=address)) == "action=DUNNO"
        assert is_greylisted(asks_greyd.ask(at(0))), "the next request is nobody's loss"


def test_an_ipv4_mapped_address_is_ipv4_to_greyd_and_ipv6_to_postgrey(tmp_path: Path) -> None:
    mapped, plain = at(0, client_address="::ffff:192.0.2.7"), at(300, client_address="192.0.2.8")
    with both(tmp_path) as (asks_postgrey, asks_greyd):
        assert is_greylisted(asks_postgrey.ask(mapped))
        assert is_greylisted(asks_postgrey.ask(plain))
        assert is_greylisted(asks_greyd.ask(mapped))
        assert asks_greyd.ask(plain) == (
            "action=PREPEND X-Greylist: delayed 300 seconds at gw.example.com"
        )


@pytest.mark.parametrize(
    ("entry", "address"),
    [("192.0.2.7", "::192.0.2.7"), ("::/0", "192.0.2.7"), ("::192.0.2.7", "192.0.2.7")],
)
def test_an_entry_of_one_family_never_lets_a_client_of_the_other_pass(
    tmp_path: Path, entry: str, address: str
) -> None:
    (tmp_path / "clients").write_text(f"{entry}\n")
    with both(tmp_path, f"--whitelist-clients={tmp_path / 'clients'}") as (
        asks_postgrey,
        asks_greyd,
    ):
        assert asks_postgrey.ask(at(0, client_address=address)) == "action=DUNNO"
        assert is_greylisted(asks_greyd.ask(at(0, client_address=address)))


def test_a_slash_moves_between_sender_and_recipient_with_postgrey_only(tmp_path: Path) -> None:
    first = at(0, sender="a", recipient="b/c@example.org")
    other = at(300, sender="a/b", recipient="c@example.org")
    with both(tmp_path) as (asks_postgrey, asks_greyd):
        assert is_greylisted(asks_postgrey.ask(first))
        assert "PREPEND" in str(asks_postgrey.ask(other)), "one key for two triplets"
        assert is_greylisted(asks_greyd.ask(first))
        assert is_greylisted(asks_greyd.ask(other))


def test_a_sender_with_a_slash_is_greylisted_and_passes_like_any_other(tmp_path: Path) -> None:
    sender = "<#a/b-12>@example.org"
    with both(tmp_path) as clients:
        for seconds in (0, 299, 300, 301):
            replies = [client.ask(at(seconds, sender=sender)) for client in clients]
            assert replies[0] == replies[1]


def test_twenty_messages_of_three_recipients_carry_one_header_each_with_greyd(
    tmp_path: Path,
) -> None:
    recipients = [f"user{number}@example.org" for number in range(3)]
    messages = [f"{number}.instance" for number in range(20)]

    def headers(client: PolicyClient) -> Counter[str]:
        """Count each message's headers, its recipients coming after those of all others."""
        counted: Counter[str] = Counter()
        for recipient in recipients:
            for number, message in enumerate(messages):
                attributes = {
                    "sender": f"{chr(ord('a') + number)}@example.com",
                    "recipient": recipient,
                    "instance": message,
                }
                assert is_greylisted(client.ask(at(0, **attributes)))
        for recipient in recipients:
            for number, message in enumerate(messages):
                sender = f"{chr(ord('a') + number)}@example.com"
                asked = at(300, sender=sender, recipient=recipient, instance=message)
                counted[message] += "PREPEND" in str(client.ask(asked))
        return counted

    with both(tmp_path, "--auto-whitelist-clients=0") as (asks_postgrey, asks_greyd):
        assert set(headers(asks_postgrey).values()) == {3}
        assert set(headers(asks_greyd).values()) == {1}


def test_a_client_with_a_sasl_username_passes_greyd_and_is_greylisted_by_postgrey(
    tmp_path: Path,
) -> None:
    with (
        postgrey(tmp_path / "postgrey") as reference,
        greyd(tmp_path / "greyd", "--test-time", PATIENCE) as ours,
    ):
        with PolicyClient(reference.port) as client:
            assert is_greylisted(client.ask(at(0, sasl_username="alice")))
        with PolicyClient(ours.port) as client:
            assert client.ask(at(0, sasl_username="alice")) == "action=DUNNO"
            assert is_greylisted(client.ask(at(0, sasl_username="")))
    assert decisions(ours.log())[0].startswith("action=pass, reason=authenticated, client_name=")


def test_policy_test_time_moves_greyds_clock_only_with_test_time(tmp_path: Path) -> None:
    with (
        postgrey(tmp_path / "postgrey") as reference,
        greyd(tmp_path / "greyd", PATIENCE) as ours,
        PolicyClient(reference.port) as asks_postgrey,
        PolicyClient(ours.port) as asks_greyd,
    ):
        for client in (asks_postgrey, asks_greyd):
            assert is_greylisted(client.ask(at(0)))
        assert "PREPEND" in str(asks_postgrey.ask(at(300)))
        assert is_greylisted(asks_greyd.ask(at(300)))


def test_max_age_counts_at_once_with_greyd_and_at_night_with_postgrey(tmp_path: Path) -> None:
    with both(tmp_path, "--max-age=1") as (asks_postgrey, asks_greyd):
        for client in (asks_postgrey, asks_greyd):
            assert is_greylisted(client.ask(at(0)))
            assert "PREPEND" in str(client.ask(at(300)))
            assert client.ask(at(300 + DAY)) == "action=DUNNO"
        assert asks_postgrey.ask(at(301 + 2 * DAY)) == "action=DUNNO"
        assert is_greylisted(asks_greyd.ask(at(301 + 2 * DAY)))


def test_a_clock_a_few_seconds_behind_undoes_a_pass_with_postgrey_only(tmp_path: Path) -> None:
    with both(tmp_path) as (asks_postgrey, asks_greyd):
        for client in (asks_postgrey, asks_greyd):
            assert is_greylisted(client.ask(at(0)))
            assert "PREPEND" in str(client.ask(at(302)))
        assert is_greylisted(asks_postgrey.ask(at(297)))
        assert asks_greyd.ask(at(297)) == "action=DUNNO"
        for client in (asks_postgrey, asks_greyd):
            assert is_greylisted(client.ask(at(0, sender="carol@example.com")))
            assert "PREPEND" in str(client.ask(at(302, sender="carol@example.com")))
            assert is_greylisted(client.ask(at(296, sender="carol@example.com")))


def test_a_percent_sign_is_doubled_in_postgreys_log_only(tmp_path: Path) -> None:
    with (
        postgrey(tmp_path / "postgrey") as reference,
        greyd(tmp_path / "greyd", "--test-time", PATIENCE) as ours,
    ):
        for server in (reference, ours):
            with PolicyClient(server.port) as client:
                assert is_greylisted(client.ask(at(0, sender=b"50%\xfc@shop.example")))
    assert "sender=50%%%FC@shop.example, " in decisions(reference.log())[0]
    assert "sender=50%%FC@shop.example, " in decisions(ours.log())[0]


def test_the_header_names_the_program_and_the_date_of_now(tmp_path: Path) -> None:
    with (
        postgrey(tmp_path / "postgrey", HOSTNAME) as reference,
        greyd(tmp_path / "greyd", HOSTNAME, "--test-time", PATIENCE) as ours,
    ):
        replies = []
        for server in (reference, ours):
            with PolicyClient(server.port) as client:
                client.ask(at(0))
                replies.append(str(client.ask(at(321))))
    form = (
        r"action=PREPEND X-Greylist: delayed 321 seconds by (\w+)-[0-9a-z.]+ at gw\.example\.com;"
        r" (\w{3}, \d\d \w{3} \d{4}) \d\d:\d\d:\d\d (\w+)"
    )
    found = [re.fullmatch(form, reply) for reply in replies]
    assert [match and match[1] for match in found] == ["postgrey", "greyd"], replies
    today = {time.strftime("%a, %d %b %Y", time.localtime(time.time() - s)) for s in (0, 60)}
    assert {match[2] for match in found if match} <= today
    assert len({match[3] for match in found if match}) == 1, "both write the local time zone"


def test_an_unknown_kind_of_request_gets_no_reply_and_the_connection_goes_on(
    tmp_path: Path,
) -> None:
    with both(tmp_path) as clients:
        for client in clients:
            client.send(encode({**at(0), "request": "junk"}))
            # Postgrey mixes up what arrives together.
            time.sleep(0.1)
            assert is_greylisted(client.ask(at(0)))


def test_an_attribute_given_twice_counts_the_last_time_and_a_line_without_equals_not_at_all(
    tmp_path: Path,
) -> None:
    data = b"sender=x@example.net\r\ngarbage\n=empty name\n" + encode(
        {"SENDER": b"y@example.net", **at(0)}
    ).replace(b"\n", b"\r\n")
    with both(tmp_path) as clients:
        replies = []
        for client in clients:
            client.send(data)
            first = client.reply()
            assert is_greylisted(first.decode() if first else None)
            replies.append((first, client.ask(at(300))))
        assert replies[0] == replies[1]
        assert "PREPEND" in str(replies[0][1])


def test_an_empty_instance_is_an_instance_like_any_other(tmp_path: Path) -> None:
    with both(tmp_path) as clients:
        for client in clients:
            for recipient in ("a@example.org", "b@example.org"):
                client.ask(at(0, recipient=recipient, instance=""))
            first, second = (
                client.ask(at(300, recipient=recipient, instance=""))
                for recipient in ("a@example.org", "b@example.org")
            )
            assert "PREPEND" in str(first)
            assert second == "action=DUNNO"


BAD_OPTIONS = (
    "--delay=abc", "--delay=1.5", "--delay=", "--max-age=5x",
    "--retry-window=-1", "--ipv4cidr=x", "--ipv6cidr=", "--exim=1", "--nosuch",
    "--del=60", "--privacy=0", "--dbdir=",
)  # fmt: skip


@pytest.mark.parametrize("option", BAD_OPTIONS)
def test_an_option_that_ends_postgreys_start_ends_greyds(tmp_path: Path, option: str) -> None:
    for program in (postgrey, greyd):
        with pytest.raises(pytest.fail.Exception), program(tmp_path, option):
            pass


@pytest.mark.parametrize("name", ["greylist-text", "greylist-action", "x-greylist-header"])
def test_an_empty_text_ends_postgreys_start_and_is_the_default_of_greyd(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(pytest.fail.Exception), postgrey(tmp_path, f"--{name}="):
        pass
    with greyd(tmp_path, f"--{name}=") as ours, PolicyClient(ours.port) as client:
        assert is_greylisted(client.ask(request()))
    assert f"warning: --{name}=: using the default" in ours.log()


POSTGREY_STARTS_WITH = (
    "--ipv4cidr=33", "--ipv4cidr=-1", "--ipv6cidr=129", "--auto-whitelist-clients=abc",
    "--auto-whitelist-clients=2x", "--syslogfacility=nonsense",
)  # fmt: skip


@pytest.mark.parametrize("option", POSTGREY_STARTS_WITH)
def test_a_value_that_means_nothing_ends_only_greyds_start(tmp_path: Path, option: str) -> None:
    with postgrey(tmp_path, option):
        pass
    name = option.partition("=")[0]
    with pytest.raises(pytest.fail.Exception, match=name), greyd(tmp_path, option):
        pass


def test_a_broken_pattern_ends_postgreys_start_and_is_a_warning_of_greyd(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.write_text("/(unclosed/\n/good\\d/\n")
    option = f"--whitelist-clients={clients}"
    with pytest.raises(pytest.fail.Exception, match="Unmatched"), postgrey(tmp_path, option):
        pass
    with (
        greyd(tmp_path, option, "--test-time", PATIENCE) as ours,
        PolicyClient(ours.port) as client,
    ):
        assert client.ask(at(0, client_name="good7.example")) == "action=DUNNO"
        assert is_greylisted(client.ask(at(0, client_name="(unclosed")))
    assert f'warning: {clients}:1: "/(unclosed/" ' in ours.log()


def test_two_bytes_are_a_24_to_both_and_greyd_warns_of_it(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.write_text("198.51\n")
    option = f"--whitelist-clients={clients}"
    with (
        postgrey(tmp_path, option) as reference,
        greyd(tmp_path, option, "--test-time", PATIENCE) as ours,
    ):
        for server in (reference, ours):
            with PolicyClient(server.port) as client:
                assert client.ask(at(0, client_address="198.51.0.9")) == "action=DUNNO"
                assert is_greylisted(client.ask(at(0, client_address="198.51.1.9")))
    assert "read as 198.51.0.0/24, as postgrey does" in ours.log()


# The same memory under other options --------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("--delay=300",), ("--delay=100",)),
        (("--delay=100",), ("--delay=300",)),
        (("--retry-window=2",), ("--retry-window=1h",)),
        (("--auto-whitelist-clients=0",), ("--auto-whitelist-clients=2",)),
        (("--auto-whitelist-clients=5",), ("--auto-whitelist-clients=2",)),
        (("--auto-whitelist-clients=2",), ("--auto-whitelist-clients=4",)),
    ],
    ids=lambda options: "".join(options).strip("-"),
)
def test_a_restart_with_other_thresholds_judges_what_was_remembered_as_postgrey_does(
    tmp_path: Path, redis: Running, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    pace = Pace(200, 6 * HOUR, 20 * DAY)
    prefix = f"restart {before} {after}"
    respondents: list[Respondent] = []
    for part, options in enumerate((before, after)):
        servers = all_servers(tmp_path, [HEADER, HOSTNAME, *options], redis, prefix)
        del servers["greyd, memory"]
        with contextlib.ExitStack() as stack:
            respondents = [
                stack.enter_context(Respondent(name, stack.enter_context(server), CONNECTIONS))
                for name, server in servers.items()
            ]
            for seed in range(2):
                stream = list(Stream(seed, pace).requests(2 * 130))
                half = stream[130 * part : 130 * (part + 1)]
                compare_stream(respondents, half, seed)
