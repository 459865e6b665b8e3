"""Describes the steps of a decision, in the policy's order, up to the one that decides.

The policy itself decides (``greyd.policy.dry_run``); the steps describe its decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.explain.assumption import depends_on_address
from greyd.cli.explain.evidence_step import describe_evidence
from greyd.cli.explain.exemption_steps import (
    describe_authenticated,
    describe_client_address,
    describe_client_whitelist,
    describe_expected,
    describe_mode,
    describe_recipient_whitelist,
    describe_request,
)
from greyd.cli.explain.memory_step import describe_identities, describe_memory
from greyd.cli.explain.rule_step import RULE_TEXTS, describe_rule
from greyd.cli.explain.site_rule_steps import (
    describe_recipient_domain,
    describe_sender_whitelist,
)
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.cli.explain.step import ExplainedStep


@dataclass(frozen=True)
class _StepDefinition:
    name: str
    describe: Callable[[ExplainedRequest], ExplainedStep | None]
    """Returns None if the policy skips the step for this request."""
    decides: frozenset[Reason] = frozenset()
    """The reasons with which the policy decides at this step."""


_STEPS = (
    _StepDefinition(
        "request", describe_request, frozenset({Reason.MISSING_ATTRIBUTE, Reason.OUTBOUND})
    ),
    _StepDefinition("authenticated", describe_authenticated, frozenset({Reason.AUTHENTICATED})),
    _StepDefinition(
        "client whitelist", describe_client_whitelist, frozenset({Reason.CLIENT_WHITELIST})
    ),
    _StepDefinition(
        "recipient whitelist", describe_recipient_whitelist, frozenset({Reason.RECIPIENT_WHITELIST})
    ),
    _StepDefinition("recipient domain", describe_recipient_domain),
    _StepDefinition("mode", describe_mode, frozenset({Reason.MODE_OFF})),
    _StepDefinition("expected", describe_expected, frozenset({Reason.EXPECTED})),
    _StepDefinition("client address", describe_client_address, frozenset({Reason.CLIENT_ADDRESS})),
    _StepDefinition("memory", describe_memory),
    _StepDefinition(
        "sender whitelist", describe_sender_whitelist, frozenset({Reason.SENDER_WHITELIST})
    ),
    _StepDefinition(
        "evidence", describe_evidence, frozenset({Reason.DNS_WHITELIST, Reason.NOT_SUSPICIOUS})
    ),
    _StepDefinition("identities", describe_identities),
    _StepDefinition(
        "rule", describe_rule, frozenset({*RULE_TEXTS, Reason.LEARNING, Reason.INTERNAL_ERROR})
    ),
)
"""The steps, in the order of ``greyd.policy.policy``."""

STEP_NAMES = tuple(step.name for step in _STEPS)
"""The names of all steps in their order."""

DECIDING_STEPS = {reason: step.name for step in _STEPS for reason in step.decides}
"""The name of the step that decides, by the policy's reason."""


def describe_steps(case: ExplainedRequest) -> list[ExplainedStep]:
    """Describe the steps up to the one that decides."""
    deciding = "request" if case.reason is None else DECIDING_STEPS[case.reason]
    described = []
    for definition in _STEPS:
        if (step := definition.describe(case)) is not None:
            described.append(step)
            if case.is_undecided and definition.name == "memory":
                break
            if definition.name == deciding:
                step.decides = not depends_on_address(case)
                break
    return described
