"""The clocks are compared."""

from __future__ import annotations

from greyd.doctor.clocks import finding_of_synchronisation
from greyd.doctor.findings import FindingState as State


def test_a_clock_that_is_not_synchronised_is_a_hint() -> None:
    assert finding_of_synchronisation("clocks: here", "yes").state is State.OK
    assert finding_of_synchronisation("clocks: here", "no").state is State.HINT
