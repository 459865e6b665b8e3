"""Decisions that depend on evidence: identities, signals, blocklists, correspondence."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR, STRONG_SIGNALS, WEAK_SIGNALS, Zone
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.evidence import NO_EVIDENCE, Evidence, ProvenIdentity, delay_for
from greyd.rules.greylist import Decision, decide, decide_from_memory
from greyd.rules.keys import keys_to_read, keys_to_remember, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.records import RememberedRecords
from tests.benchmarks.provider_pool import WAYS, simulate
from tests.evidence import evidence_for
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.rules.transaction import Change

T = 1_700_000_000
PROVIDER = evidence_for(b"example.com")
LISTED = replace(PROVIDER, listed=True, signals=("dnsbl",))
IDENTITY: Any = {"identity": ("spf", "name")}
VOIDING = [(each,) for each in STRONG_SIGNALS] + list(itertools.pairwise(WEAK_SIGNALS))
"""Signals of clients that get and earn no merit: a strong one, or two weak ones."""
EARNS = Settings(auto_whitelist_identities=2, auto_whitelist_clients=0, **IDENTITY)


@dataclass
class Memory:
    """What is remembered of several requests, as a store would."""

    settings: Settings = field(default_factory=lambda: Settings(**IDENTITY))
    records: dict[bytes, bytes] = field(default_factory=dict)

    def ask(
        self,
        seconds: int,
        client: str = "192.0.2.7",
        evidence: Evidence = PROVIDER,
        sender: str = "alice@example.com",
        recipient: str = "bob@example.org",
    ) -> Decision:
        settings, now = self.settings, T + seconds
        mail = address_of(client), sender.encode(), recipient.encode(), settings
        keys = request_keys(*mail)
        known = self._read(keys_to_remember(keys, settings))
        remembered, changes = decide_from_memory(keys, known, now, settings)
        if remembered is not None:
            self._store(changes)
            return remembered
        keys = request_keys(*mail, evidence)
        known = self._read(keys_to_read(keys, settings))
        decision, changes = decide(keys, known, now, settings, evidence)
        self._store(changes)
        return decision

    def _read(self, keys: Sequence[bytes]) -> RememberedRecords:
        return RememberedRecords.under(keys, [self.records.get(key) for key in keys])

    def _store(self, changes: Sequence[Change]) -> None:
        assert len({change.key for change in changes}) == len(changes)
        for change in changes:
            assert change.ttl_seconds > 0
            self.records[change.key] = change.value

    def succeed(self, day: float, number: int) -> Decision:
        """Let one mail of the provider come, come back from another address, and pass."""
        at = int(day * DAY)
        name = {"sender": f"{'x' * number}@example.com"}
        self.ask(at, f"192.0.{number}.7", **name)
        return self.ask(at + 300, f"198.51.{number}.7", **name)


# Keying -------------------------------------------------------------------------------------------


def test_a_retry_from_another_address_of_the_same_identity_passes() -> None:
    memory = Memory()
    assert not memory.ask(0, "192.0.2.7").passes
    decision = memory.ask(300, "198.51.100.7")
    assert decision.passes
    assert decision.first_pass
    assert decision.waited_seconds == 300


def test_an_identity_is_no_pass_a_retry_is_still_required() -> None:
    memory = Memory()
    assert memory.ask(0).reason == Reason.NEW
    assert memory.ask(299, "198.51.100.7") == Decision(False, Reason.EARLY_RETRY, 299, 1)


def test_another_sender_of_the_identity_has_to_come_back_itself() -> None:
    memory = Memory()
    memory.ask(0)
    assert memory.ask(300, sender="carol@example.com").reason == Reason.NEW
    assert memory.ask(300, recipient="dave@example.org").reason == Reason.NEW


@pytest.mark.parametrize(
    ("organisation", "way", "speaks", "first", "second", "same"),
    [
        # A bounce address for each message, below the domain of an organisation that SPF proves.
        ("example.com", "spf", True, "a1@b4711.m.example.com", "x9@b42.m.example.com", True),
        ("example.com", "spf", True, "a1@b4711.m.example.com", "bob@news.example.com", True),
        ("example.com", "spf", True, "A@MAIL.Example.com", "b@news.example.com", True),
        ("xn--bcher-kva.example", "spf", True, "a@m.b\u00fccher.example",
         "b@n.xn--bcher-kva.example", True),
        # At the domain itself senders are people.
        ("example.com", "spf", True, "alice@example.com", "carol@example.com", False),
        ("xn--bcher-kva.example", "spf", True, "a@b\u00fccher.example",
         "b@b\u00fccher.example", False),
        ("example.com", "spf", True, "alice@example.com", "carol@mail.example.com", False),
        # Their organisation is not proved, or not by SPF, or serves everybody.
        ("example.com", "spf", False, "a@x.other.example", "b@x.other.example", False),
        ("example.com", "name", True, "a@x.example.com", "b@y.example.com", False),
        ("yahoo.com", "spf", True, "a@x.yahoo.com", "b@x.yahoo.com", False),
    ],
)  # fmt: skip
def test_senders_below_the_domain_of_a_proven_organisation_count_as_one(
    organisation: str, way: str, speaks: bool, first: str, second: str, same: bool
) -> None:
    memory = Memory()
    evidence = evidence_for(organisation, way, speaks=speaks)
    memory.ask(0, "192.0.2.7", evidence, first)
    assert memory.ask(300, "198.51.100.7", evidence, second).passes is same
    assert memory.ask(600, "203.0.113.7", evidence, second, "dave@example.org").reason is Reason.NEW


@pytest.mark.parametrize("signals", VOIDING)
def test_senders_of_bots_that_a_spammer_s_record_includes_are_different_ones(
    signals: tuple[str, ...],
) -> None:
    memory = Memory()
    bot = replace(PROVIDER, signals=signals, is_vouched=True)
    memory.ask(0, "192.0.2.7", bot, "x@b1.example.com")
    assert memory.ask(300, "198.51.100.7", bot, "y@b2.example.com").reason is Reason.NEW
    assert memory.ask(300, "203.0.113.7", bot, "x@b1.example.com").passes


def test_senders_of_a_provider_s_machines_are_different_ones() -> None:
    memory = Memory()
    identity = replace(evidence_for("hoster.net").identities[0], may_be_customer=True)
    evidence = Evidence((identity,))
    memory.ask(0, "192.0.2.7", evidence, "root@vps7.hoster.net")
    other = memory.ask(300, "198.51.100.7", evidence, "root@vps8.hoster.net")
    assert other.reason is Reason.NEW
    assert memory.ask(300, "203.0.113.7", evidence, "root@vps7.hoster.net").passes


def test_without_the_identity_a_retry_from_elsewhere_waits() -> None:
    memory = Memory()
    memory.ask(0, "192.0.2.7", NO_EVIDENCE)
    assert not memory.ask(300, "198.51.100.7", NO_EVIDENCE).passes


@pytest.mark.parametrize("first", [PROVIDER, NO_EVIDENCE])
@pytest.mark.parametrize("later", [PROVIDER, NO_EVIDENCE])
def test_the_subnet_s_triplet_counts_as_before(first: Evidence, later: Evidence) -> None:
    memory = Memory()
    memory.ask(0, "192.0.2.7", first)
    assert memory.ask(300, "192.0.2.9", later).passes


def test_an_address_that_passed_by_its_identity_passes_again_without_evidence() -> None:
    memory = Memory()
    memory.ask(0, "192.0.2.7")
    memory.ask(300, "198.51.100.7")
    assert memory.ask(301, "198.51.100.7", NO_EVIDENCE).reason == Reason.TRIPLET_FOUND
    assert memory.ask(302, "203.0.113.7", NO_EVIDENCE).reason == Reason.NEW


def test_mail_gets_one_header_and_then_is_known() -> None:
    memory = Memory()
    memory.ask(0, "192.0.2.7")
    assert memory.ask(300, "198.51.100.7").first_pass
    assert not memory.ask(310, "203.0.113.7").first_pass
    assert not memory.ask(700, "192.0.2.7").first_pass


def test_the_client_counts_though_its_identity_passed_before() -> None:
    memory = Memory(Settings(auto_whitelist_clients=1, **IDENTITY))
    memory.ask(0, "192.0.2.7")
    assert memory.ask(300, "198.51.100.7").whitelisted
    assert memory.ask(310, "203.0.113.7").whitelisted


@pytest.mark.parametrize("privacy_key", [None, b"secret"])
def test_hashed_keys_work_the_same_and_hold_no_name(privacy_key: bytes | None) -> None:
    memory = Memory(Settings(privacy=True, privacy_key=privacy_key, **IDENTITY))
    memory.ask(0, "192.0.2.7")
    assert memory.ask(300, "198.51.100.7").passes
    assert not [key for key in memory.records if b"example" in key]


# The identities' auto-whitelist -------------------------------------------------------------------


def test_an_identity_that_kept_its_word_over_days_passes_at_once() -> None:
    memory = Memory(EARNS)
    assert not memory.succeed(0, 1).identity_whitelisted
    assert memory.succeed(1.5, 2).identity_whitelisted
    decision = memory.ask(2 * DAY, "203.0.113.9", sender="new@example.com")
    assert (decision.passes, decision.reason) == (True, Reason.IDENTITY_AWL)


def test_it_is_not_earned_within_a_day() -> None:
    memory = Memory(EARNS)
    for number in range(10):
        assert not memory.succeed(number * 0.09, number).identity_whitelisted
    assert not memory.ask(DAY, sender="new@example.com").passes


def test_successes_within_an_hour_count_once() -> None:
    memory = Memory(Settings(auto_whitelist_identities=2, identity_age_seconds=0, **IDENTITY))
    for number in range(5):
        assert not memory.succeed(number * 600 / DAY, number).identity_whitelisted
    assert memory.succeed((HOUR + 600) / DAY, 9).identity_whitelisted


def test_a_listed_identity_earns_nothing_and_passes_only_by_waiting() -> None:
    memory = Memory(EARNS)
    for number in range(4):
        at = number * DAY
        name = f"{'x' * number}@example.com"
        memory.ask(at, evidence=LISTED, sender=name)
        assert memory.ask(at + 300, evidence=LISTED, sender=name).passes
    assert not memory.ask(5 * DAY, sender="new@example.com").passes


def test_an_identity_that_turns_up_listed_loses_its_pass() -> None:
    memory = Memory(EARNS)
    memory.succeed(0, 1)
    memory.succeed(1.5, 2)
    assert memory.ask(2 * DAY, "203.0.113.1", sender="a@example.com").passes
    listed = evidence_for("example.com", is_listed=True, listed=True, signals=("rhsbl",))
    elsewhere = "203.0.113.2"
    assert not memory.ask(2 * DAY + 60, elsewhere, listed, sender="b@example.com").passes
    assert not memory.ask(2 * DAY + 120, elsewhere, sender="c@example.com").passes
    memory.succeed(3, 3)
    assert not memory.ask(3 * DAY + 600, elsewhere, sender="d@example.com").passes


def test_a_listed_address_costs_only_that_address() -> None:
    memory = Memory(EARNS)
    memory.succeed(0, 1)
    memory.succeed(1.5, 2)
    assert not memory.ask(2 * DAY, evidence=LISTED, sender="b@example.com").passes
    assert memory.ask(2 * DAY + 60, "203.0.113.1", sender="a@example.com").passes


@pytest.mark.parametrize("signals", VOIDING)
def test_bad_signals_void_the_auto_whitelist_of_the_identity(signals: tuple[str, ...]) -> None:
    memory = Memory(EARNS)
    memory.succeed(0, 1)
    memory.succeed(1.5, 2)
    bot = replace(PROVIDER, signals=signals, is_vouched=True)
    assert not memory.ask(2 * DAY, "203.0.113.1", bot, sender="b@example.com").passes
    assert memory.ask(2 * DAY, "203.0.113.2", sender="b@example.com").passes


@pytest.mark.parametrize("signal", WEAK_SIGNALS)
@pytest.mark.parametrize("vouched", [True, False])
def test_a_single_weak_signal_does_not(signal: str, *, vouched: bool) -> None:
    memory = Memory(EARNS)
    memory.succeed(0, 1)
    memory.succeed(1.5, 2)
    weak = replace(PROVIDER, signals=(signal,), is_vouched=vouched)
    assert memory.ask(2 * DAY, "203.0.113.1", weak, sender="b@example.com").passes


@pytest.mark.parametrize("signals", VOIDING)
def test_clients_with_bad_signals_earn_nothing(signals: tuple[str, ...]) -> None:
    memory = Memory(EARNS)
    bot = replace(PROVIDER, signals=signals, is_vouched=True)
    for number in range(5):
        at, name = number * DAY, f"{'x' * number}@example.com"
        memory.ask(at, f"192.0.{number}.7", bot, sender=name)
        assert memory.ask(at + 300, f"198.51.{number}.7", bot, sender=name).passes
    assert not memory.ask(6 * DAY, "203.0.113.1", sender="b@example.com").passes


@pytest.mark.parametrize(
    ("way", "speaks", "earns"),
    [("spf", True, True), ("spf", False, True), ("name", True, True), ("name", False, False)],
)
def test_a_name_earns_only_for_senders_of_its_organisation(
    way: str, speaks: bool, earns: bool
) -> None:
    memory = Memory(EARNS)
    identity = evidence_for("example.com", way, speaks=speaks)
    for number in range(3):
        at, name = number * DAY, f"{'x' * number}@example.com"
        memory.ask(at, f"192.0.{number}.7", identity, sender=name)
        memory.ask(at + 300, f"198.51.{number}.7", identity, sender=name)
    assert memory.ask(4 * DAY, "203.0.113.1", identity, sender="b@example.com").passes == earns


@pytest.mark.parametrize(("days", "passes"), [(1, False), (3, False), (6.5, False), (7.5, True)])
def test_an_identity_of_a_single_network_earns_its_pass_more_slowly(
    days: float, passes: bool
) -> None:
    memory = Memory(EARNS)
    for at, name in ((0, "x"), (int(days * DAY), "xx")):
        memory.ask(at, sender=f"{name}@example.com")
        memory.ask(at + 300, sender=f"{name}@example.com")
    decision = memory.ask(8 * DAY, "203.0.113.1", sender="new@example.com")
    assert decision.passes == passes


def test_both_identities_of_a_client_are_stored_and_recalled() -> None:
    memory = Memory()
    spf, name = (
        ProvenIdentity(b"example.com", "spf", True),
        ProvenIdentity(b"esp.net", "name", False),
    )
    slow, both = Evidence(identities=(name,)), Evidence(identities=(spf, name))
    memory.ask(0, "192.0.2.7", slow)
    assert memory.ask(300, "198.51.100.7", both).first_pass
    assert memory.ask(310, "203.0.113.7", evidence_for("example.com")).passes
    assert memory.ask(310, "203.0.114.7", slow).passes


# Memory before evidence ---------------------------------------------------------------------------

SUSPICION = Settings(greylist="suspicious", dnsbl=(Zone("zen.example", 3600),), **IDENTITY)
WORSE = (
    NO_EVIDENCE,
    Evidence(unsure=True),
    Evidence(resolver_off=True),
    Evidence(signals=("no_ptr",)),
    Evidence(signals=("dnsbl",), listed=True, delay_seconds=3600),
    evidence_for("example.com", is_listed=True, listed=True, signals=("rhsbl",)),
)
WAYS_TO_PASS = {
    Reason.NOT_SUSPICIOUS: (SUSPICION, Evidence()),
    Reason.DNS_WHITELIST: (Settings(**IDENTITY), Evidence(exemption=Reason.DNS_WHITELIST)),
    Reason.CORRESPONDENT: (Settings(learn_outbound=True, **IDENTITY), PROVIDER),
    Reason.IDENTITY_AWL: (EARNS, PROVIDER),
}


@pytest.mark.parametrize("worse", WORSE)
@pytest.mark.parametrize("reason", WAYS_TO_PASS)
def test_what_has_passed_at_once_never_waits_again(reason: Reason, worse: Evidence) -> None:
    settings, evidence = WAYS_TO_PASS[reason]
    memory = written_to("alice@example.com", settings=settings)
    if reason is Reason.IDENTITY_AWL:
        memory.succeed(-3, 1)
        memory.succeed(-1, 2)
    assert memory.ask(0, evidence=evidence).reason is reason
    memory.records = {key: each for key, each in memory.records.items() if b"}/" in key}
    for days in (0.001, 10, 40, 70):
        decision = memory.ask(int(days * DAY), "192.0.2.200", worse)
        assert (decision.passes, decision.reason) == (True, Reason.TRIPLET_FOUND)
        assert not decision.first_pass
    assert not memory.ask(71 * DAY, "198.51.100.7", Evidence(unsure=True)).passes


def test_clean_mail_counts_for_its_client_and_its_identity() -> None:
    settings = replace(SUSPICION, auto_whitelist_clients=3, auto_whitelist_identities=3)
    memory = Memory(settings)
    for day in range(3):
        name = f"{'x' * day}@example.com"
        assert memory.ask(day * DAY, sender=name).passes
        assert memory.ask(day * DAY, "198.51.100.7", sender=f"y{name}").passes
    assert memory.ask(3 * DAY, evidence=WORSE[3], sender="new@example.com").reason is (
        Reason.CLIENT_AWL
    )
    unsure = replace(PROVIDER, unsure=True)
    decision = memory.ask(3 * DAY, "203.0.113.7", unsure, sender="new@example.com")
    assert decision.reason is Reason.IDENTITY_AWL


def test_a_listed_client_is_not_counted_but_passes_if_it_was_whitelisted_before() -> None:
    memory = Memory(replace(SUSPICION, auto_whitelist_clients=2))
    listed = WORSE[4]
    for day in range(4):
        name = f"{'x' * day}@example.com"
        assert not memory.ask(day * DAY, evidence=listed, sender=name).passes
        assert memory.ask(day * DAY + 3600, evidence=listed, sender=name).passes
    assert not memory.ask(5 * DAY, evidence=listed, sender="new@example.com").passes
    memory.ask(6 * DAY, sender="x1@example.com")
    memory.ask(7 * DAY, sender="x2@example.com")
    assert memory.ask(8 * DAY, evidence=listed, sender="x3@example.com").reason is Reason.CLIENT_AWL


# Delays by what is known --------------------------------------------------------------------------

GRADED = Settings(delays=(0, 60, 300, 3600), delay_seconds=60)
CLEAN = Evidence()
UNSURE = Evidence(unsure=True)
SUSPICIOUS = Evidence(signals=("no_ptr",))
OUTWEIGHED = Evidence(signals=("generic_name",), is_vouched=True)


@pytest.mark.parametrize(
    ("evidence", "seconds"),
    [
        (CLEAN, 0), (UNSURE, 60), (SUSPICIOUS, 300), (replace(SUSPICIOUS, unsure=True), 300),
        (OUTWEIGHED, 0), (replace(OUTWEIGHED, unsure=True), 60), (Evidence(resolver_off=True), 60),
        (LISTED, 3600), (replace(LISTED, delay_seconds=900), 900),
    ],
)  # fmt: skip
def test_each_class_has_its_delay(evidence: Evidence, seconds: int) -> None:
    assert delay_for(evidence, GRADED) == seconds
    assert delay_for(replace(evidence, delay_seconds=None), Settings()) == 300


def test_who_is_clean_passes_at_once_with_a_delay_of_nought() -> None:
    decision = Memory(GRADED).ask(0, evidence=CLEAN)
    assert (decision.passes, decision.waited_seconds) == (True, 0)


def test_nothing_that_has_passed_waits_again_when_it_looks_worse() -> None:
    memory = Memory(GRADED)
    memory.ask(0, evidence=UNSURE)
    assert memory.ask(60, evidence=UNSURE).first_pass
    assert memory.ask(120, evidence=LISTED).passes
    assert not memory.ask(130, evidence=LISTED).first_pass


def test_what_has_not_passed_waits_as_long_as_it_looks_bad_now() -> None:
    memory = Memory(GRADED)
    memory.ask(0, evidence=SUSPICIOUS)
    assert memory.ask(299, evidence=LISTED).missing_seconds == 3301
    assert memory.ask(300, evidence=SUSPICIOUS).first_pass


def test_a_triplet_known_from_long_ago_is_known_though_nothing_says_when_it_passed() -> None:
    memory = Memory(GRADED)
    names = request_keys(address_of("192.0.2.7"), b"a@x.com", b"b@y.org", GRADED)
    memory.records[names.triplet] = b"%d,%d" % (T - 20 * DAY, T - 5 * DAY)
    assert memory.ask(0, evidence=LISTED, sender="a@x.com", recipient="b@y.org").passes


def test_mail_that_has_passed_stays_let_in_when_its_domain_is_listed() -> None:
    memory = Memory(Settings(rhsbl=(Zone("dbl.example", 3600),), **IDENTITY))
    listed = replace(PROVIDER, listed=True, signals=("rhsbl",), delay_seconds=3600)
    memory.ask(0)
    assert memory.ask(300).first_pass
    assert memory.ask(310, evidence=listed).passes


def test_a_list_s_own_delay_makes_delays_differ() -> None:
    assert Settings(rhsbl=(Zone("dbl.example", 7200),)).delay_varies
    assert Settings(rhsbl=(Zone("dbl.example", 7200),)).longest_delay_seconds == 7200
    assert Settings(dnsbl=(Zone("zen.example", 3600),)).delay_varies
    assert Settings(dnsbl=(Zone("zen.example", 3600),)).longest_delay_seconds == 3600
    assert not Settings().delay_varies


# Correspondence -----------------------------------------------------------------------------------

LEARNS = Settings(learn_outbound=True, **IDENTITY)


def written_to(
    correspondent: str, user: str = "bob@example.org", settings: Settings = LEARNS
) -> Memory:
    memory = Memory(settings)
    key = correspondence_key(correspondent.encode(), user.encode(), LEARNS)
    memory.records[key] = b"%d" % T
    assert correspondent.partition("@")[0].encode() not in key
    return memory


def test_the_answer_of_somebody_that_a_user_wrote_to_passes_at_once() -> None:
    decision = written_to("Alice@Example.com").ask(60)
    assert (decision.passes, decision.reason) == (True, Reason.CORRESPONDENT)


def test_nobody_else_does_by_that() -> None:
    memory = written_to("alice@example.com")
    assert not memory.ask(60, sender="carol@example.com").passes
    assert not memory.ask(60, recipient="dave@example.org").passes


def test_it_must_be_known_that_the_client_sends_for_the_sender() -> None:
    memory = written_to("alice@example.com")
    stranger = evidence_for("other.example", speaks=False)
    assert not memory.ask(60, evidence=stranger).passes
    assert not memory.ask(60, evidence=NO_EVIDENCE).passes
    assert not memory.ask(60, evidence=LISTED).passes


# A provider's pool --------------------------------------------------------------------------------


def test_a_pool_s_codes_come_in_time_by_identity_and_not_by_network() -> None:
    network, identity, _, earned = (simulate(*way) for way in WAYS.values())
    assert network.share_within(600) < 0.3
    assert identity.share_within(600) > 0.9
    # Keying alone must not take away what the addresses have earned, nor the earned pass anything.
    assert identity.share_within(0) >= network.share_within(0)
    assert earned.share_within(0) == 1
