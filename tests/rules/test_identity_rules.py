"""What is decided where it is known for whom a client sends, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR, Zone
from greyd.rules.evidence import NO_EVIDENCE, Evidence, delay_for
from greyd.rules.greylist import Decision, decide, note_correspondence
from greyd.rules.keys import correspondence_key, keys_to_read, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.records import RememberedRecords
from tests.benchmarks.provider_pool import WAYS, simulate
from tests.fake_dns import address_of

T = 1_700_000_000
PROVIDER = Evidence(identity=b"example.com", way="spf", speaks_for_sender=True)
LISTED = replace(PROVIDER, listed=True, signals=("dnsbl",))
EARNS = Settings(auto_whitelist_identities=2, auto_whitelist_clients=0)


@dataclass
class Memory:
    """What is remembered of several requests, as a store would."""

    settings: Settings = field(default_factory=Settings)
    records: dict[bytes, bytes] = field(default_factory=dict)

    def ask(
        self,
        seconds: int,
        client: str = "192.0.2.7",
        evidence: Evidence = PROVIDER,
        sender: str = "alice@example.com",
        recipient: str = "bob@example.org",
    ) -> Decision:
        names = request_keys(
            address_of(client), sender.encode(), recipient.encode(), self.settings, evidence
        )
        remembered = [self.records.get(key) for key in keys_to_read(names, self.settings)]
        decision, changes = decide(
            names, RememberedRecords(*remembered), T + seconds, self.settings, evidence
        )
        assert len({change.key for change in changes}) == len(changes)
        for change in changes:
            assert change.ttl_seconds > 0
            self.records[change.key] = change.value
        return decision

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


def test_an_address_let_in_by_identity_waits_for_itself_as_postgrey_would() -> None:
    memory = Memory()
    memory.ask(0, "192.0.2.7")
    memory.ask(300, "198.51.100.7")
    assert memory.ask(301, "198.51.100.7", NO_EVIDENCE).reason == Reason.EARLY_RETRY
    assert memory.ask(600, "198.51.100.7", NO_EVIDENCE).passes


def test_mail_gets_one_header_and_then_is_known() -> None:
    memory = Memory()
    memory.ask(0, "192.0.2.7")
    assert memory.ask(300, "198.51.100.7").first_pass
    assert not memory.ask(310, "203.0.113.7").first_pass
    assert not memory.ask(700, "192.0.2.7").first_pass


def test_the_client_counts_though_its_identity_passed_before() -> None:
    memory = Memory(Settings(auto_whitelist_clients=1))
    memory.ask(0, "192.0.2.7")
    assert memory.ask(300, "198.51.100.7").whitelisted
    memory.ask(310, "203.0.113.7")
    # Its own triplet passes only now, and postgrey would count it for that.
    assert memory.ask(620, "203.0.113.7").whitelisted


@pytest.mark.parametrize("privacy_key", [None, b"secret"])
def test_hashed_keys_work_the_same_and_hold_no_name(privacy_key: bytes | None) -> None:
    memory = Memory(Settings(privacy=True, privacy_key=privacy_key))
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
    memory = Memory(Settings(auto_whitelist_identities=2, identity_age_seconds=0))
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
    assert memory.ask(2 * DAY, sender="a@example.com").passes
    assert not memory.ask(2 * DAY + 60, evidence=LISTED, sender="b@example.com").passes
    assert not memory.ask(2 * DAY + 120, sender="c@example.com").passes
    memory.succeed(3, 3)
    assert not memory.ask(3 * DAY + 600, sender="d@example.com").passes


def test_a_listed_client_waits_whatever_it_has_earned_itself() -> None:
    memory = Memory(Settings(auto_whitelist_clients=1))
    memory.ask(0)
    assert memory.ask(300).whitelisted
    assert memory.ask(400, sender="new@example.com").reason == Reason.CLIENT_AWL
    assert memory.ask(400, evidence=LISTED, sender="other@example.com").reason == Reason.NEW


# Delays by what is known --------------------------------------------------------------------------

GRADED = Settings(delays=(0, 60, 300, 3600), delay_seconds=60)
CLEAN = Evidence()
UNSURE = Evidence(unsure=True)
SUSPICIOUS = Evidence(signals=("no_ptr",))


@pytest.mark.parametrize(
    ("evidence", "seconds"),
    [
        (CLEAN, 0), (UNSURE, 60), (SUSPICIOUS, 300), (replace(SUSPICIOUS, unsure=True), 300),
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
    memory = Memory(Settings(rhsbl=(Zone("dbl.example", 3600),)))
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

LEARNS = Settings(learn_outbound=True)


def written_to(correspondent: str, user: str = "bob@example.org") -> Memory:
    memory = Memory(LEARNS)
    key = correspondence_key(correspondent.encode(), user.encode(), LEARNS)
    change = note_correspondence(key, T, LEARNS)
    memory.records[change.key] = change.value
    assert change.ttl_seconds == LEARNS.max_age_seconds + HOUR
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
    stranger = replace(PROVIDER, identity=b"other.example", speaks_for_sender=False)
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
