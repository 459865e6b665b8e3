"""Records the conversations beside this file from Debian's postgrey.

    python -m tests.conversations.record [NAME...]

Each story below becomes ``NAME.jsonl``, a line of JSON for each step;
``tests/policy/test_conversations``
plays them to greyd without postgrey. The first line says what the story tells, the options, and the
lines of the whitelists. A line with ``options`` later on starts the server anew with those. All
others are requests: their attributes, the reply (null for none), the lines that the log got.

Octets are written as the characters of the same number (ISO 8859-1). Recorded are the lines of
decisions, without postgrey's doubling of ``%``; its warnings are worded differently by greyd. The
header's ``%v`` and ``%d`` are no use here, so the stories name a header of their own.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.side_by_side import postgrey_decisions
from tests.processes import PolicyClient, encode, postgrey

FOLDER = Path(__file__).parent
START = 1_700_000_000
HOUR = 3600
DAY = 86400

HEADER = "--x-greylist-header=X-Greylist: delayed %t seconds at %h"
HOSTNAME = "--hostname=gw.example.com"

Attributes = dict[str, str]
Restart = list[str]


def ask(seconds: int, *without: str, **attributes: str) -> Attributes:
    """Return a request, ``seconds`` after the start, as Postfix makes it for a first recipient."""
    default = {
        "request": "smtpd_access_policy",
        "client_name": "mail.example.com",
        "client_address": "192.0.2.7",
        "sender": "alice@example.com",
        "recipient": "bob@example.org",
        "queue_id": "",
        "etrn_domain": "",
        "policy_test_time": str(START + seconds),
    }
    values = {**default, **attributes}
    return {name: value for name, value in values.items() if name not in without}


@dataclass(frozen=True)
class Story:
    """What happens between one server and its clients."""

    name: str
    tells: str
    steps: list[Attributes | Restart]
    options: list[str] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    def first_line(self) -> dict[str, object]:
        """Return the line that says what the story is."""
        return {
            "tells": self.tells,
            "options": [HEADER, HOSTNAME, *self.options],
            "whitelist_clients": self.clients,
            "whitelist_recipients": self.recipients,
        }


def times(*seconds: int, **attributes: str) -> list[Attributes | Restart]:
    """Return the same request at several times."""
    return [ask(each, **attributes) for each in seconds]


def each(seconds: int, name: str, *values: str, **attributes: str) -> list[Attributes | Restart]:
    """Return requests that differ in one attribute."""
    return [ask(seconds, **attributes, **{name: value}) for value in values]


def passes(number: int, every_seconds: int, **attributes: str) -> list[Attributes | Restart]:
    """Return senders that come, wait and pass, one after the other."""
    return [
        ask(begin + later, sender=f"s{chr(ord('a') + index)}@example.com", **attributes)
        for index, begin in enumerate(range(0, number * every_seconds, every_seconds))
        for later in (0, 300)
    ]


OWN_SPELLINGS = (
    "bob@example.net", "Bob+list-1@EXAMPLE.net", "bob+@example.net",
    "prvs=0123456789=bob@example.net", "prvs=bob=0123456789@example.net",
    "prvs=bob=abcdefghij-x@example.net", "prvs=012345678=bob@example.net",
)  # fmt: skip

OTHER_SENDERS = (
    "PRVS=0123456789=bob@example.net", "prvs=bob=ABCDEFGHIJ@example.net", "prvs=bob=@example.net",
    "prvs=a=b=c@example.net", "prvs=0123456789=bob", "bob", "bob@example.net.", "",
)  # fmt: skip

STORIES = (
    Story(
        "a_first_mail_waits",
        "An unknown triplet waits five minutes, and is known for good after that.",
        times(0, 1, 299, 300, 301, 20 * DAY, 40 * DAY),
    ),
    Story(
        "a_retry_after_the_window_starts_anew",
        "A retry on the window's last second passes, one a second later is new.",
        [
            *times(0, 2 * DAY, 2 * DAY + 1),
            *times(0, 200, 2 * DAY + 1, 2 * DAY + 300, 2 * DAY + 301, sender="carol@example.com"),
            *times(0, 300, 20 * DAY, sender="dave@example.com"),
        ],
    ),
    Story(
        "a_clock_is_set_back",
        "What lies in the future counts from now, and a triplet seen early again has not passed.",
        [
            *times(1000, 900, 1100, 1199, 1200, 1201),
            *times(0, 1000, 100, 350, 351, sender="carol@example.com"),
            *times(0, 300, 100, 299, 300, sender="dave@example.com"),
        ],
    ),
    Story(
        "a_neighbour_inherits_the_wait",
        "Hosts of one /24 and of one IPv6 /64 wait together, a /24 farther on waits for itself.",
        [
            ask(0, client_address="192.0.2.7"),
            ask(299, client_address="192.0.2.200"),
            ask(300, client_address="192.0.2.200"),
            ask(300, client_address="192.0.3.7"),
            *each(
                400, "client_address", "2001:db8::1", "2001:DB8:0:0:0:0:0:2", "2001:db8:0:1::1",
                "::1",
            ),
            *each(700, "client_address", "2001:0db8::ffff:1", "2001:db8:0:1::2", "::2"),
        ],
    ),
    Story(
        "every_host_for_itself",
        "With --lookup-by-host neighbours wait one by one, and networks' sizes count for nothing.",
        [
            *each(0, "client_address", "192.0.2.7", "192.0.2.8", "2001:db8::1", "2001:db8::2"),
            *each(300, "client_address", "192.0.2.7", "192.0.2.9", "2001:DB8::0:1", "2001:db8::3"),
        ],
        ["--lookup-by-host", "--ipv4cidr=8", "--ipv6cidr=8"],
    ),
    Story(
        "wide_networks",
        "Networks of /20 and /48.",
        [
            *each(0, "client_address", "198.51.100.7", "2001:db8:1:2::3"),
            *each(
                300, "client_address", "198.51.96.0", "198.51.111.255", "198.51.112.0",
                "198.51.95.255", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", "2001:db8:1::",
                "2001:db8:2::", "2001:db8::",
            ),
        ],
        ["--ipv4cidr=20", "--ipv6cidr=48"],
    ),
    Story(
        "networks_of_zero_bits_are_the_default",
        "--ipv4cidr=0, --ipv6cidr=0 and --delay=0 mean 24, 64 and 300.",
        [
            *each(0, "client_address", "192.0.2.7", "2001:db8::7"),
            *each(299, "client_address", "192.0.2.8", "192.0.3.8"),
            *each(300, "client_address", "192.0.2.9", "192.0.3.9"),
            *each(300, "client_address", "2001:db8::8", "2001:db8:0:1::8"),
        ],
        ["--ipv4cidr=0", "--ipv6cidr=0", "--delay=0"],
    ),
    Story(
        "five_successes_whitelist_a_client",
        "The fifth success whitelists; the answer to it is still the triplet's.",
        [
            *passes(5, 2 * HOUR),
            ask(12 * HOUR, sender="new@example.com"),
            ask(12 * HOUR, sender="new@example.com", client_address="192.0.2.8"),
            ask(34 * DAY, sender="other@example.com", queue_id="4Abc1"),
        ],
    ),
    Story(
        "a_client_counts_once_an_hour",
        "A success counts 3600 seconds after the last that counted, and not for a neighbour.",
        [
            *times(0, 300, sender="a@example.com"),
            *times(3599, 3899, sender="b@example.com"),
            *times(3500, 3900, sender="c@example.com"),
            ask(3901, sender="d@example.com"),
            ask(3901, sender="d@example.com", client_address="192.0.2.8"),
            *times(3901, 8000, sender="e@example.com", client_address="192.0.2.8"),
            ask(8001, sender="f@example.com", client_address="192.0.2.8"),
        ],
        ["--auto-whitelist-clients=2"],
    ),
    Story(
        "the_threshold_of_the_whitelist_changes",
        "A count that reaches a lower threshold whitelists without a word; 0 forgets nothing.",
        [
            *passes(3, 2 * HOUR),
            ask(7 * HOUR, sender="x@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=3"],
            ask(8 * HOUR, sender="x@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=5"],
            *times(9 * HOUR, 9 * HOUR + 300, sender="y@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=0"],
            *times(11 * HOUR, 11 * HOUR + 300, sender="z@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=1"],
            ask(12 * HOUR, sender="w@example.com"),
        ],
    ),
    Story(
        "no_client_is_whitelisted",
        "--auto-whitelist-clients=0.",
        [*passes(7, 2 * HOUR), ask(20 * HOUR, sender="new@example.com")],
        ["--auto-whitelist-clients=0"],
    ),
    Story(
        "one_success_is_enough",
        "--auto-whitelist-clients=1, and a clock that goes back and forth on a whitelisted client.",
        [
            *times(0, 299, 300),
            *times(301, 3899, 3900, 100, 7500, sender="new@example.com"),
        ],
        ["--auto-whitelist-clients=1"],
    ),
    Story(
        "a_whitelisted_client_counts_on",
        "Its count goes up once an hour, and at once where the clock was set back.",
        [
            *times(0, 300, 3899),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=2"],
            ask(3899, sender="a@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=1"],
            *times(3900, 3899, 3800, sender="b@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=4"],
            ask(4000, sender="c@example.com"),
            [HEADER, HOSTNAME, "--auto-whitelist-clients=5"],
            ask(4000, sender="d@example.com"),
        ],
        ["--auto-whitelist-clients=1"],
    ),
    Story(
        "a_sender_under_many_names",
        "BATV tags, extensions, digits and letters' case make no new sender.",
        [
            ask(0, sender="bob@example.net"),
            *each(299, "sender", *OWN_SPELLINGS),
            ask(300, sender="prvs=0123456789=bob+x@example.net"),
            *each(301, "sender", *OWN_SPELLINGS),
            *each(301, "sender", *OTHER_SENDERS),
            *each(302, "sender", "list-17-bounce+x@news.example", "@news.example"),
            ask(302, sender="a_17@b.example"),
            *each(
                602, "sender", "List-4-bounce@news.example", "list-4a-bounce@news.example",
                "+x@news.example", "a_18@b.example", "12@b.example", "list-4-bounce@news2.example",
            ),
            *each(902, "sender", "345@b.example", "345@b9.example"),
        ],
    ),
    Story(
        "senders_of_odd_octets",
        "Octets beyond ASCII are as they are, and in the log written as %XX.",
        [
            *each(0, "sender", "m\xfcller-1@example.de", "\xe912@example.fr", "50%-1@shop.example"),
            *each(
                300, "sender", "M\xfcLLER-2@example.de", "M\xdcLLER-2@example.de",
                "\xe913@example.fr", "50%-2@shop.example", "tab\t@example.org",
            ),
            *each(300, "recipient", "\xfc@m\xfcnchen.example", " blank @example.org "),
            ask(300, queue_id="q\xfc%", client_name="m\xfcx.example", sender="a=b=c@example.org"),
        ],
    ),
    Story(
        "recipients_are_taken_as_they_are",
        "Of a recipient only letters' case counts for nothing; %r is what follows the last @.",
        [
            *each(
                0, "recipient", "r+list-1@example.org", "noat", "a@b@c.example", "a@", "",
                "u@b%s.example", "u@%r.example",
            ),
            *each(
                299, "recipient", "R+List-1@EXAMPLE.org", "r+list-2@example.org", "r@example.org",
                "NOAT", "A@b@C.Example",
            ),
            *each(300, "recipient", "R+LIST-1@example.org", "NoAt", "a@", ""),
        ],
    ),
    Story(
        "one_message_of_three_recipients",
        "The header comes once a message; without an instance it comes always.",
        [
            *each(0, "recipient", *(f"{name}@example.org" for name in "abc"), instance="1.a"),
            *each(300, "recipient", "a@example.org", "b@example.org", instance="2.b"),
            ask(300, recipient="c@example.org", instance="3.c"),
            *each(400, "recipient", *(f"{name}@example.org" for name in "def"), instance="4.d"),
            ask(700, recipient="d@example.org"),
            ask(700, recipient="e@example.org"),
            ask(700, recipient="e@example.org", instance="5.e"),
            ask(701, recipient="f@example.org", instance="5.e"),
            *each(702, "recipient", "g@example.org", "h@example.org", instance=""),
            *each(1002, "recipient", "g@example.org", "h@example.org", instance=""),
        ],
    ),
    Story(
        "several_messages_at_a_time",
        "Five messages of three recipients each, their recipients interleaved.",
        [
            ask(
                seconds, recipient=f"{recipient}@example.org", sender=f"{sender}@example.com",
                instance=f"{seconds}.{sender}",
            )
            for seconds in (0, 300, 301)
            for recipient in "xyz"
            for sender in "abcde"
        ],
        ["--auto-whitelist-clients=0"],
    ),
    Story(
        "attributes_are_missing",
        "Without one of four attributes the mail passes; empty ones are left out of the log.",
        [
            *[
                ask(0, name)
                for name in ("client_address", "client_name", "sender", "recipient", "queue_id")
            ],
            ask(0, "sender", "recipient", queue_id="4Abc2"),
            *times(0, 300, client_name=""),
            *times(0, 300, sender="", queue_id="4Abc3"),
            *times(0, 300, sender="", recipient=""),
            ask(301, "etrn_domain", sender="", recipient="new@example.org"),
            ask(301, unknown_attribute="x", ccert_subject="", sender="late@example.com"),
        ],
    ),
    Story(
        "another_kind_of_request",
        "Requests of another kind, or of none, get no answer.",
        [
            ask(0, request="junk"),
            ask(0, "request"),
            ask(0, request=""),
            ask(0, request="SMTPD_ACCESS_POLICY"),
            ask(0),
        ],
    ),
    Story(
        "values_are_cut",
        "512 octets of a value count.",
        [
            ask(0, sender="s" * 600),
            ask(300, sender="S" * 512 + "@example.com"),
            ask(300, sender="s" * 511 + "@example.com"),
            ask(300, recipient="r" * 500 + "@long.example.org"),
        ],
    ),
    Story(
        "the_text_says_how_long",
        "Of %s and %r the first is replaced; 4.2.0 goes before it where etrn_domain is there.",
        [
            ask(0),
            ask(250, "etrn_domain"),
            ask(250, etrn_domain="x.example", recipient="a@EXAMPLE.Com"),
        ],
        ["--greylist-text=%s seconds for %r, %s %r, %t %v %h %d %H %%s 100% $1 \\n"],
    ),
    Story(
        "the_text_has_a_code_of_its_own",
        "A text that begins with a digit gets no code before it, whatever the action.",
        [ask(0), ask(10, "etrn_domain"), ask(20, etrn_domain="x")],
        ["--greylist-text=4.7.1 wait %s", "--greylist-action=450"],
    ),
    Story(
        "the_action_brings_a_code",
        "The action is taken as it is; a variable is no digit.",
        [ask(0), ask(10, "etrn_domain")],
        ["--greylist-text=%s left", "--greylist-action=450 4.7.1"],
    ),
    Story(
        "the_header_is_ones_own",
        "%t and %h are replaced once each in the header, %s and %r never.",
        times(0, 4321),
        ["--x-greylist-header=X-Waited: %t %t %s %r %%t at %h, %h"],
    ),
    Story(
        "clients_on_the_whitelist",
        "Names and what is below them, patterns, addresses and networks.",
        [
            *each(
                0, "client_name", "good.example", "mx.good.example", "MX.Good.EXAMPLE",
                "notgood.example", "good.example.", "good.example.org", "mx7.pool.example",
                "MX12.POOL.example", "mxa.pool.example", "mx7.pool.example.org", "unknown",
            ),
            *each(
                0, "client_address", "192.0.2.77", "192.0.2.78", "198.51.100.0", "198.51.100.255",
                "198.51.101.0", "203.0.113.9", "203.0.114.9", "10.9.0.1", "10.9.1.1",
                "2001:db8:1::1", "2001:DB8:1:0:0:0:0:2", "2001:db8:2::1",
            ),
            ask(0, client_name="good.example", recipient="", sender="", queue_id="4Abc4"),
        ],
        clients=[
            "# a comment", "  good.example  # with another", "", "/^mx\\d+\\.POOL\\.example$/",
            "192.0.2.77", "198.51.100.0/24", "203.0.113", "10.9", "2001:db8:1::/48",
            "no host name",
        ],
    ),
    Story(
        "recipients_on_the_whitelist",
        "Addresses, local parts anywhere, domains, patterns; the clients' list comes first.",
        [
            *each(
                0, "recipient", "postmaster@example.org", "PostMaster@sub.example.net",
                "postmaster+x@example.org", "postmaster+@example.org", "xpostmaster@example.org",
                "bob@example.org", "BOB+list@Example.ORG", "bob-list@example.org",
                "bob@sub.example.org", "any@spam.example", "any@sub.spam.example",
                "any@nospam.example", "spam.example", "trap7@example.org", "trapx@example.org",
            ),
            ask(0, client_name="good.example", recipient="postmaster@example.org"),
        ],
        clients=["good.example"],
        recipients=["postmaster@", "Bob@example.org", "spam.example", "/^trap\\d+@/", "two words"],
    ),
    Story(
        "the_delay_changes",
        "Whether a triplet has passed is judged by the delay in force.",
        [
            *times(0, 200),
            *times(0, 100, sender="carol@example.com"),
            [HEADER, HOSTNAME, "--delay=100"],
            *times(201, 2 * DAY + 1),
            *times(201, 250, sender="carol@example.com"),
            [HEADER, HOSTNAME, "--delay=600"],
            *times(300, 599, 600, sender="carol@example.com"),
        ],
    ),
    Story(
        "a_delay_below_zero",
        "With --delay=-5 mail passes at once, the first time with the header.",
        [*times(0, 0, 1, 100), *times(0, -100, 1, sender="carol@example.com")],
        ["--delay=-5", "--auto-whitelist-clients=0"],
    ),
    Story(
        "a_window_of_hours",
        "--retry-window=6h",
        [*times(0, 6 * HOUR), *times(0, 6 * HOUR + 1, 6 * HOUR + 301, sender="carol@example.com")],
        ["--retry-window=6h"],
    ),
    Story(
        "a_window_of_nothing",
        "With --retry-window=0 every retry is new.",
        times(0, 0, 1, 6, 12, 12),
        ["--retry-window=0", "--delay=5"],
    ),
    Story(
        "a_window_shorter_than_the_delay",
        "Who may not come back later than an hour and has to wait longer never passes.",
        times(0, 301, 3600, 3601, 7201, 8000),
        ["--retry-window=1h", "--delay=5000"],
    ),
    Story(
        "in_private",
        "--privacy changes what is remembered, not what is answered or logged.",
        [
            *passes(2, 2 * HOUR),
            ask(5 * HOUR, sender="sa@example.com", client_address="192.0.2.99"),
            *times(0, 300, client_address="2001:db8::1"),
            *times(7200, 7500, client_address="2001:DB8::0:1", sender="new@example.com"),
            ask(8000, client_address="2001:0db8::1", sender="newer@example.com"),
        ],
        ["--privacy", "--auto-whitelist-clients=2"],
    ),
    Story(
        "quietly",
        "With --quiet the log has only the client that is whitelisted.",
        [*times(0, 100, 300, 301), ask(302, sender="new@example.com")],
        ["--quiet", "--auto-whitelist-clients=1"],
    ),
)  # fmt: skip


def record(story: Story, folder: Path) -> list[dict[str, object]]:
    """Play a story to postgrey and return its lines."""
    first = story.first_line()
    for kind in ("clients", "recipients"):
        text = "".join(f"{line}\n" for line in getattr(story, kind))
        (folder / kind).write_text(text, encoding="latin-1")
    lists = [f"--whitelist-{kind}={folder / kind}" for kind in ("clients", "recipients")]
    lines = [first]
    parts: list[list[Attributes]] = [[]]
    restarts: list[list[str]] = []
    for step in story.steps:
        if isinstance(step, list):
            restarts.append(step)
            parts.append([])
        else:
            parts[-1].append(step)
    options = [HEADER, HOSTNAME, *story.options]
    for number, part in enumerate(parts):
        if number:
            options = restarts[number - 1]
            lines.append({"options": options})
        lines += _record_part(part, [*options, *lists], folder)
    return lines


def _record_part(
    steps: list[Attributes], options: list[str], folder: Path
) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    with postgrey(folder, *options) as server:
        logged = len(postgrey_decisions(server.log()))
        for attributes in steps:
            data = encode({name: value.encode("latin-1") for name, value in attributes.items()})
            # A connection each: postgrey mixes up requests that arrive together.
            with PolicyClient(server.port, timeout=0.5) as client:
                client.send(data)
                try:
                    reply = client.reply()
                except TimeoutError:
                    reply = None
            time.sleep(0.02)
            log = postgrey_decisions(server.log())
            lines.append(
                {
                    "ask": attributes,
                    "reply": None if reply is None else reply.decode("latin-1"),
                    "log": log[logged:],
                }
            )
            logged = len(log)
    return lines


def main(names: list[str]) -> None:
    """Record the stories named, or all."""
    for story in STORIES:
        if names and story.name not in names:
            continue
        folder = Path(tempfile.mkdtemp(prefix="greyd-record-"))
        try:
            lines = record(story, folder)
        finally:
            shutil.rmtree(folder)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (FOLDER / f"{story.name}.jsonl").write_text(text)
        sys.stdout.write(f"{story.name}: {len(lines) - 1} lines\n")


if __name__ == "__main__":
    main(sys.argv[1:])
