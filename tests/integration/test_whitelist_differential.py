"""The whitelists of greyd beside Debian's postgrey: the same files let the same mail pass.

Debian's files are read where they are installed; no line of them stands here. From each entry
names are derived that should match and names that nearly do.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from greyd.whitelist.entries import read_whitelist_file
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist
from tests.integration.side_by_side import (
    Respondent,
    ask,
    assert_same_lines,
    decisions,
    postgrey_decisions,
)
from tests.processes import greyd, postgrey, program, request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.integration

DEBIANS_CLIENTS = Path("/etc/postgrey/whitelist_clients")
DEBIANS_RECIPIENTS = Path("/etc/postgrey/whitelist_recipients")

ELSEWHERE = "198.51.100.77"
NAMELESS = "unknown"
NOW = "1700000000"


class Seen(NamedTuple):
    """What a whitelist looks at."""

    name: str = "mail.elsewhere.test"
    address: str = ELSEWHERE
    recipient: str = "somebody@elsewhere.test"


@contextlib.contextmanager
def both(folder: Path, *options: str) -> Iterator[tuple[Respondent, Respondent]]:
    """Run postgrey and greyd with the same whitelists, every triplet being new."""
    options = (*options, "--auto-whitelist-clients=0", "--retry-window=0")
    with (
        postgrey(folder / "postgrey", *options) as reference,
        greyd(folder / "greyd", *options, "--test-time", "--store-timeout=20") as ours,
        Respondent("postgrey", reference) as asks_postgrey,
        Respondent("greyd", ours) as asks_greyd,
    ):
        yield asks_postgrey, asks_greyd


def compare(respondents: tuple[Respondent, Respondent], all_seen: Iterable[Seen]) -> set[Seen]:
    """Ask both servers about each, fail where they differ; returns what was let pass."""
    passed = set()
    differing = []
    for seen in dict.fromkeys(all_seen):
        attributes = request(
            client_name=seen.name.encode("latin-1"),
            client_address=seen.address,
            recipient=seen.recipient.encode("latin-1"),
            policy_test_time=NOW,
        )
        expected, found = ask(respondents, attributes)
        assert expected is not None, f"postgrey died of {seen}"
        if expected == b"action=DUNNO":
            passed.add(seen)
        if found != expected:
            differing.append(f"{seen}: postgrey {expected!r}, greyd {found!r}")
    assert not differing, f"{len(differing)} differ\n" + "\n".join(differing[:20])
    return passed


def compare_logs(respondents: tuple[Respondent, Respondent]) -> None:
    """Fail where the two give different reasons; to be called when both have ended."""
    reference, ours = respondents
    expected = postgrey_decisions(reference.server.log())
    assert expected
    assert_same_lines(expected, decisions(ours.server.log()), "greyd")


# What is derived from an entry --------------------------------------------------------------------


def entries(file: Path) -> list[str]:
    if not file.exists():
        program("postgrey")
        pytest.fail(f"{file} is missing although postgrey is installed")
    lines = (line.partition("#")[0].strip() for line in file.read_text("latin-1").splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def is_pattern(entry: str) -> bool:
    return entry.startswith("/") and entry.endswith("/")


def is_network(entry: str) -> bool:
    return bool(re.fullmatch(r"[0-9.]+(/[0-9]+)?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:.*", entry))


def around_client(entry: str) -> list[Seen]:
    if is_pattern(entry):
        return [Seen(name=text) for text in around_pattern(entry[1:-1])]
    if is_network(entry):
        return [Seen(name=NAMELESS, address=address) for address in around_network(entry)]
    return [Seen(name=text) for text in around_name(entry)]


def around_name(name: str) -> list[str]:
    changed = name[:-1] + ("x" if name[-1] != "x" else "y")
    return [
        name, f"mail.{name}", f"a.b.{name}", name.upper(), f"MX1.{name.title()}",
        f"x{name}", f"x-{name}", f"{name}.test", f"{name}x", f"{name}.", f".{name}",
        changed, f"mail.{changed}", name.replace(".", "x", 1), name.partition(".")[2] or name[1:],
    ]  # fmt: skip


def around_network(entry: str) -> list[str]:
    """Return a network's first and last addresses, and those beside it."""
    if re.fullmatch(r"[0-9]+\.[0-9]+(\.[0-9]+)?", entry):
        entry = f"{entry}.0.0"[: len(entry) + 2 * (3 - entry.count("."))] + "/24"
    network = ipaddress.ip_network(entry, strict=False)
    first, last = int(network[0]), int(network[-1])
    most = 2**network.max_prefixlen
    beside = [number for number in (first - 1, last + 1, last + 256) if 0 <= number < most]
    number = [first, last, (first + last) // 2, *beside]
    family = ipaddress.IPv4Address if network.version == 4 else ipaddress.IPv6Address
    return [str(family(each)) for each in number]


def around_pattern(pattern: str) -> list[str]:
    """Return texts that the pattern describes, and what small changes make of them."""
    texts = described_by(pattern)
    changed: list[str] = []
    for text in texts:
        middle = len(text) // 2
        changed += [
            text.upper(), f"x{text}", f"{text}x", f"{text}.test", f"mail.{text}",
            text[1:], text[:-1], text[:middle] + text[middle + 1 :],
            f"{text[:middle]}-{text[middle:]}", text.replace(".", "x", 1),
            text.replace(".", "x"), re.sub(r"\d", "", text),
            re.sub(r"\d+", "0123456789", text), re.sub(r"\d", "x", text),
        ]  # fmt: skip
    return [*texts, *changed]


def described_by(pattern: str, most: int = 6) -> list[str]:
    """Return texts that match, the same at each run."""
    found: list[str] = []
    printable = st.characters(min_codepoint=0x21, max_codepoint=0x7E)

    @settings(
        max_examples=most, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.from_regex(pattern, fullmatch=False, alphabet=printable))
    def collect(text: str) -> None:
        # Before its end, $ also describes a line feed, which no value can hold.
        found.append(text.rstrip("\n")[:200])

    collect()
    return list(dict.fromkeys(found))


def around_recipient(entry: str) -> list[Seen]:
    if is_pattern(entry):
        return [Seen(recipient=text) for text in around_pattern(entry[1:-1])]
    local, at, domain = entry.partition("@")
    if not at:
        local, domain = "user", entry
    elsewhere = "elsewhere.test"
    texts = [entry, entry.upper(), f"x{entry}", f"{entry}x", f"{entry} "]
    for host in (domain, f"sub.{domain}", f"x{domain}", f"{domain}.test", f"{domain}.", elsewhere):
        texts += [
            f"{local}@{host}", f"{local}+ext@{host}", f"{local}+@{host}", f"{local}++@{host}",
            f"{local}+a+b@{host}", f"{local}-ext@{host}", f"x{local}@{host}", f"{local}x@{host}",
            f"{local.title()}@{host.upper()}", f"{local}@a@{host}", f"{local}+a@b@{host}",
            f"@{host}", f"a@{local}@{host}", host, f"{local}+ @{host}", local,
        ]  # fmt: skip
    return [Seen(recipient=text) for text in texts]


# Debian's own files -------------------------------------------------------------------------------


def test_debians_whitelists_let_the_same_mail_pass(tmp_path: Path) -> None:
    clients, recipients = entries(DEBIANS_CLIENTS), entries(DEBIANS_RECIPIENTS)
    files = (
        f"--whitelist-clients={DEBIANS_CLIENTS}",
        f"--whitelist-recipients={DEBIANS_RECIPIENTS}",
    )
    with both(tmp_path, *files) as respondents:
        for entry in clients:
            assert compare(respondents, around_client(entry)), f"{entry} lets nothing pass"
        for entry in recipients:
            assert compare(respondents, around_recipient(entry)), f"{entry} lets nothing pass"
        mixed = [seen._replace(name=NAMELESS) for entry in clients for seen in around_client(entry)]
        compare(respondents, mixed)
    compare_logs(respondents)


@pytest.mark.parametrize(
    ("file", "matcher"),
    [(DEBIANS_CLIENTS, ClientWhitelist), (DEBIANS_RECIPIENTS, RecipientWhitelist)],
)
def test_no_line_of_debians_whitelists_is_lost(
    file: Path, matcher: type[ClientWhitelist | RecipientWhitelist]
) -> None:
    wanted = {entry if is_pattern(entry) else entry.lower() for entry in entries(file)}
    loaded = matcher([read_whitelist_file(str(file))])
    assert len(loaded) == len(wanted)
    # Nothing but the two-octet networks is worth a word.
    two_bytes = {entry for entry in wanted if re.fullmatch(r"[0-9]+\.[0-9]+", entry)}
    assert len(loaded.diagnostics) == len(two_bytes), loaded.diagnostics


# Every form of the contract -----------------------------------------------------------------------

CLIENT_FORMS = (
    r"""
# names
one.test
Two.TEST
.three.test
four.test.
*.five.test
six.test:25
[seven.test]
@eight.test
!nine.test
ten.test/24
mx-1_a.eleven.test
user@twelve.test
co
   thirteen.test	   # space around, and a comment
fourteen.test#comment
fifteen.test,sixteen.test
back.slash\
b\xe9.bytes.test
# a line with inner space counts for nothing
seventeen.test eighteen.test
nineteen.test	twenty.test
# patterns
/^p1\d+\.pattern$/
/^P2\.PATTERN$/
/p3.pattern/
/\/p4\//
/p5/p5/
/p[/]6/
/p7\.pattern/i
/p8\.pattern
/p9#\.pattern/
/p10 pattern/
/p11\spattern/
/\bp12\b/
/p13[[:digit:]]\.pattern/
/p14\x2epattern/
/p15(?:a|b{2,3})\.pattern$/
/p16(?-i:x)\.pattern/
/p17\.pattern\Z/
/^p18\w+?\.pattern$/
/@p19/
/p20\W/
/192\.0\.2/
/10\.99/
# addresses and networks
192.0.2.10
192.0.3.0/24
192.0.4.77/24
192.0.5
192.0
10.20.0.0/14
10.64.0.1/10
10.192.128.1/32
10.192.130.0/31
172.16
172
172.17.
172.18.0.*
172.19.0.1-9
172.20.0.1:25
[172.21.0.1]
172.22/16
172.23.0.1/255.255.255.0
172.24.0.1/
172.25.0.1/33
172.26.0.1/-1
172.27.0.300
256.1.1
172.28.0.1.5
172.29.0.1/24/8
2001:db8::/32
2001:DB9:0:0::1
2001:0dba::1/64
2001:dbb::
fe80::/10
[2001:dbc::1]
[2001:dbd::]/32
2001:dbe::1%eth0
2001:dbf::/129
2001:dc0::/
2001:dc1:1
2001:dc2::g
a:b:c
::1
""".encode("latin-1")
    .replace(rb"\xe9", b"\xe9")
    .lstrip()
)

CLIENT_NAMES = [
    *(
        name
        for number in (
            "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
            "mx-1_a.eleven", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen",
            "seventeen", "eighteen", "nineteen", "twenty",
        )
        for name in around_name(f"{number}.test")
    ),
    "six.test:25", "mx.six.test:25", "[seven.test]", "@eight.test", "a@eight.test", "!nine.test",
    "ten.test/24", "user@twelve.test", "*.five.test", "x.*.five.test", "a..three.test",
    "shop.co", "co", "disco", "fifteen.test,sixteen.test", "back.slash\\", "back.slash",
    "b\xe9.bytes.test", "mx.b\xe9.bytes.test", "B\xc9.bytes.test", "b.bytes.test", "",
    "p11.pattern", "p1.pattern", "p12345.Pattern", "xp11.pattern", "p11.patternx", "p11x.pattern",
    "p2.pattern", "p2xpattern", "xp2.pattern", "p3.pattern", "ap3-patternb", "p3pattern",
    "a/p4/b", "p4", "/p4/", "p5/p5", "p5", "/p5/p5/", "p/6", "p6", "p7.pattern", "/p7.pattern/i",
    "x./p7.pattern/i", "p8.pattern", "/p8.pattern", "/p8\\.pattern", "p9#.pattern", "/p9", "x./p9",
    "p10 pattern", "p11 pattern", "p11\tpattern", "p11pattern",
    "p12", "a.p12.b", "ap12", "p12_", "p12-", "p12\xe9", "\xe9p12",
    "p13.pattern", "p131.pattern", "p139.PATTERN", "p13x.pattern",
    "p14.pattern", "p14xpattern", "p15a.pattern", "p15b.pattern", "p15bb.pattern",
    "P15BBB.pattern", "p15bbbb.pattern", "p15a.pattern.test", "p16x.pattern", "p16X.pattern",
    "P16x.PATTERN", "p17.pattern", "p17.pattern.test", "p18a.pattern", "p18.pattern",
    "p18-.pattern", "p18_\xe9.pattern", "x@p19", "p19", "p20", "p20.", "p20a", "p20\xe9", "p20_",
    "x192.0.2.1", "host.192.0.2.1", "10.99.1.1", "10x99", "172", "a.172", "unknown",
    "172.17.", "172.18.0.*", "172.20.0.1:25", "172.22/16", "172.26.0.1/-1",
]  # fmt: skip

CLIENT_ADDRESSES = [
    *(
        address
        for network in (
            "192.0.2.10/32", "192.0.3.0/24", "192.0.4.0/24", "192.0.5", "192.0", "192.1",
            "10.20.0.0/14", "10.64.0.0/10", "10.192.128.1/32", "10.192.130.0/31", "172.16",
            "172.17.0.0/16", "172.18.0.0/24", "172.19.0.0/28", "172.20.0.1/32", "172.21.0.1/32",
            "172.22.0.0/16", "172.23.0.0/24", "172.24.0.1/32", "172.25.0.1/32", "172.26.0.1/32",
            "172.27.0.0/16", "172.28.0.0/16", "172.29.0.0/24", "10.99.0.0/16", "192.0.2.0/24",
            "2001:db8::/32", "2001:db9::1/128", "2001:dba::/64", "2001:dbb::/128", "fe80::/10",
            "2001:dbc::1/128", "2001:dbd::5/128", "2001:dbe::/64", "2001:dbf::/32", "2001:dc0::/32",
            "2001:dc1::/32", "2001:dc2::/32", "::1/128",
        )
        for address in around_network(network)
    ),
    "2001:DB8:0:0:0:0:0:1", "2001:0db9:0000::0001", "0:0:0:0:0:0:0:1", "::2", "172.0.0.1",
]  # fmt: skip


def test_every_form_of_a_client_lets_the_same_names_and_addresses_pass(tmp_path: Path) -> None:
    (tmp_path / "clients").write_bytes(CLIENT_FORMS)
    seen = [Seen(name=name) for name in CLIENT_NAMES]
    seen += [Seen(name=NAMELESS, address=address) for address in CLIENT_ADDRESSES]
    # An address written as a name is not an address.
    seen += [Seen(name=address) for address in CLIENT_ADDRESSES if ":" not in address]
    with both(tmp_path, f"--whitelist-clients={tmp_path / 'clients'}") as respondents:
        passed = compare(respondents, seen)
    compare_logs(respondents)
    assert len(seen) / 10 < len(passed) < len(seen) * 9 / 10


RECIPIENT_FORMS = (
    r"""
user@
Post+Master@
user2@one.test
User3+ext@Two.test
user4+@three.test
four.test
Five.Test
.six.test
@seven.test
*@eight.test
<user5@nine.test>
user6@*
user7@.ten.test
user8@eleven.test.
twelve.test.
user9
a@b@thirteen.test
u.ser@fourteen.test
us*r@fifteen.test
[x]
com
  user10@sixteen.test   # comment
seventeen.test eighteen.test
/^r1\d@/
/R2@nineteen\.test$/
/@sub\./
/r3/i
/r4
/r5#@/
/r6\+.*@/
\xfcser@bytes.test
""".encode("latin-1")
    .replace(rb"\xfc", b"\xfc")
    .lstrip()
)


def test_every_form_of_a_recipient_lets_the_same_addresses_pass(tmp_path: Path) -> None:
    (tmp_path / "recipients").write_bytes(RECIPIENT_FORMS)
    lines = [
        line.partition("#")[0].strip() for line in RECIPIENT_FORMS.decode("latin-1").split("\n")
    ]
    seen = [
        each for line in lines if line and not is_pattern(line) for each in around_recipient(line)
    ]
    seen += [
        Seen(recipient=recipient)
        for recipient in (
            "", "@", "user", "user@", "USER@x.test", "user@@x.test", "user+a@b@c.test",
            "example.com", "a@example.com", "example.com ", "com", "a@com", "com@a", "user+@",
            "user+@x.test", "user++@x.test", "user+a+@x.test", "post+master@x.test", "post@x.test",
            "post+master+a@x.test", "user3@two.test", "user3+ext@two.test", "user3+ext+y@two.test",
            "user4@three.test", "user4+@three.test", "user4++x@three.test",
            "r11@x", "r1@x", "xr11@x", "R19@x", "r2@nineteen.test", "xR2@NINETEEN.test",
            "r2@nineteen.tests", "a@sub.x", "a@SUB.x", "a.sub.x", "r3@x", "/r3/i", "a@/r3/i",
            "r4@x", "/r4", "a@/r4", "r5#@x", "/r5", "a@/r5", "r6+x@y", "r6+", "r6@y",
            "\xfcser@bytes.test", "\xfcser+x@bytes.test", "\xdcSER@bytes.test", "user@bytes.test",
            "postmaster@x.test", "us*r@fifteen.test", "user@fifteen.test", "x@[x]", "x@y.[x]",
        )
    ]  # fmt: skip
    with both(tmp_path, f"--whitelist-recipients={tmp_path / 'recipients'}") as respondents:
        passed = compare(respondents, seen)
    compare_logs(respondents)
    assert len(seen) / 10 < len(passed) < len(seen) * 9 / 10


def test_the_lone_at_sign_is_any_recipient_without_a_local_part(tmp_path: Path) -> None:
    (tmp_path / "recipients").write_text("@\n/^$/\n")
    seen = [Seen(recipient=text) for text in ("", "@", "@x.test", "+a@x.test", "a@x.test", "x")]
    with both(tmp_path, f"--whitelist-recipients={tmp_path / 'recipients'}") as respondents:
        compare(respondents, seen)


# Files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"a.test\nb.test",
        b"a.test\r\nb.test\r\n",
        b"\ta.test\t\n b.test \t \n\x0bc.test\x0c\n",
        b"#a.test\n  # b.test\nc.test # d.test\n",
        b"\xef\xbb\xbfa.test\nb.test\n",
        b"a.test\xa0\nb.test\xc2\xa0\nc.test\n",
        b"a.test\x00\nb.test\n",
        b"a.test\rb.test\nc.test\n",
        b"a.test b.test\nc.test\td.test\nd.test\n",
        b"\n\n\na.test\n\n\x1a",
        b"x" * 100_000 + b"\nb.test\n",
        b"a.test\\\nb.test\n",
        b"",
    ],
    ids=repr,
)
def test_a_file_is_cut_into_the_same_lines(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    names = ("a.test", "b.test", "c.test", "d.test")
    options = (f"--whitelist-clients={file}", f"--whitelist-recipients={file}")
    with both(tmp_path, *options) as respondents:
        compare(respondents, [Seen(name=name) for name in names])
        compare(respondents, [Seen(recipient=f"user@{name}") for name in names])
    compare_logs(respondents)


def test_the_option_given_twice_adds_up_and_a_local_file_may_be_missing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name}.test\n{name}@\n")
    options = [
        f"--whitelist-{kind}={tmp_path / file}"
        for kind in ("clients", "recipients")
        for file in ("a", "missing.local", "b", "missing")
    ]
    names = ("a.test", "b.test", "c.test")
    with both(tmp_path, *options) as respondents:
        passed = compare(respondents, [Seen(name=name) for name in names])
        assert {seen.name for seen in passed} == {"a.test", "b.test"}
        passed = compare(respondents, [Seen(recipient=f"{name}@x") for name in "abc"])
        assert {seen.recipient for seen in passed} == {"a@x", "b@x"}
    for respondent in respondents:
        log = respondent.server.log()
        assert f"{tmp_path / 'missing'}: No such file or directory" in log
        assert "missing.local" not in log


def test_of_both_lists_the_clients_is_named(tmp_path: Path) -> None:
    (tmp_path / "clients").write_text("a.test\n192.0.2.1\n/^$/\n")
    (tmp_path / "recipients").write_text("user@\n")
    options = (
        f"--whitelist-clients={tmp_path / 'clients'}",
        f"--whitelist-recipients={tmp_path / 'recipients'}",
    )
    seen = [
        Seen(name, address, recipient)
        for name in ("a.test", "b.test", "")
        for address in ("192.0.2.1", "192.0.2.2")
        for recipient in ("user@x.test", "other@x.test")
    ]
    with both(tmp_path, *options) as respondents:
        compare(respondents, seen)
    compare_logs(respondents)
