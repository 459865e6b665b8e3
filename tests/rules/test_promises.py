"""The promises of docs/identity.md, on random streams of mail with random evidence."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR, Zone
from greyd.rules.evidence import NO_EVIDENCE, Evidence, ProvenIdentity
from greyd.rules.greylist import Decision, decide, decide_from_memory
from greyd.rules.keys import keys_to_read, keys_to_remember, request_keys
from greyd.rules.records import RememberedRecords
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.rules.transaction import Change

T = 1_700_000_000
POSTGREY = Settings()
PRESET = Settings(
    identity=("spf", "name"),
    auto_whitelist_identities=3,
    greylist="suspicious",
    dnsbl=(Zone("zen.example", 3600),),
    learn_outbound=True,
)
SPF, NAME = ProvenIdentity(b"example.com", "spf", True), ProvenIdentity(b"esp.net", "name", False)
OUTAGE = Evidence(resolver_off=True)
UNLISTED = (
    OUTAGE,
    Evidence(unsure=True),
    Evidence(signals=("no_ptr",)),
    Evidence(signals=("generic_name",)),
    Evidence(signals=("generic_name",), is_vouched=True),
    Evidence(),
    Evidence(identities=(SPF,), is_vouched=True),
    Evidence(identities=(SPF, NAME), unsure=True),
    Evidence(identities=(NAME,), signals=("ptr_mismatch",)),
)
LISTED = (
    Evidence(listed=True, signals=("dnsbl",), delay_seconds=3600),
    Evidence(identities=(replace(SPF, is_listed=True),), listed=True, signals=("rhsbl",)),
)
PAUSES = (1, 60, 299, 300, 301, 1800, HOUR - 1, HOUR, 5 * HOUR, DAY, 3 * DAY, 36 * DAY)


@dataclass
class Server:
    """The rules with a memory of their own."""

    settings: Settings
    records: dict[bytes, bytes] = field(default_factory=dict)

    def ask(self, mail: tuple[str, str, str], now: int, evidence: Evidence) -> Decision:
        client, sender, recipient = mail
        parts = address_of(client), sender.encode(), recipient.encode(), self.settings
        if self.settings.needs_evidence:
            keys = request_keys(*parts)
            known = self._read(keys_to_remember(keys, self.settings))
            remembered, changes = decide_from_memory(keys, known, now, self.settings)
            if remembered is not None:
                return self._store(remembered, changes)
        keys = request_keys(*parts, evidence)
        known = self._read(keys_to_read(keys, self.settings))
        return self._store(*decide(keys, known, now, self.settings, evidence))

    def _read(self, keys: Sequence[bytes]) -> RememberedRecords:
        return RememberedRecords.under(keys, [self.records.get(key) for key in keys])

    def _store(self, decision: Decision, changes: Sequence[Change]) -> Decision:
        self.records |= {change.key: change.value for change in changes}
        return decision


def some_mail(chance: random.Random) -> tuple[str, str, str]:
    client = f"192.0.{chance.randrange(2)}.{chance.choice([7, 7, 7, 9])}"
    return (
        client,
        f"a{'b' * chance.randrange(4)}@example.com",
        chance.choice(["u@x.org", "v@x.org"]),
    )


@pytest.mark.parametrize("seed", range(40))
def test_nothing_waits_that_postgrey_would_let_pass(seed: int) -> None:
    chance = random.Random(seed)
    postgrey, preset = Server(POSTGREY), Server(PRESET)
    now, passed, passed_only_here = T, 0, 0
    for _ in range(400):
        now += chance.choice(PAUSES)
        mail = some_mail(chance)
        usual = postgrey.ask(mail, now, NO_EVIDENCE)
        ours = preset.ask(mail, now, chance.choice(UNLISTED))
        assert ours.passes or not usual.passes, (mail, now - T)
        passed += usual.passes
        passed_only_here += ours.passes and not usual.passes
    assert passed > 50
    assert passed_only_here > 10


@pytest.mark.parametrize("seed", range(40))
def test_what_has_passed_passes_again_whatever_the_evidence(seed: int) -> None:
    chance = random.Random(seed)
    server = Server(PRESET)
    now, last_pass, again = T, dict[tuple[str, str, str], int](), 0
    for _ in range(400):
        now += chance.choice(PAUSES)
        client, sender, recipient = mail = some_mail(chance)
        triplet = client.rpartition(".")[0], sender, recipient
        decision = server.ask(mail, now, chance.choice((*UNLISTED, *LISTED)))
        if now - last_pass.get(triplet, 0) <= PRESET.max_age_seconds:
            again += 1
            assert decision.passes, (mail, now - T)
        if decision.passes:
            last_pass[triplet] = now
    assert again > 20


def test_an_outage_of_any_length_changes_nothing_for_known_mail() -> None:
    server = Server(PRESET)
    mails = [(f"192.0.{n}.7", "a@example.com", "u@x.org") for n in range(20)]
    for mail in mails:
        assert server.ask(mail, T, Evidence()).passes
    for day in range(1, 400, 20):
        for mail in mails:
            assert server.ask(mail, T + day * DAY, OUTAGE).passes
