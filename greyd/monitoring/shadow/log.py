"""Logs the shadow's decisions.

A line of its own follows the server's line, unless both decisions let the mail pass::

    shadow=pass, shadow_reason=not suspicious, answer=greylist, client_name=…, client_address=…,
    sender=…, recipient=…, identity=…, signals=…

It does not contain ``action=``: programs that read the server's lines do not count it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.escaping import percent_encode
from greyd.monitoring.log import Severity, render_json
from greyd.monitoring.log_observer import evidence_fields, evidence_text, request_fields, request_text
from greyd.policy.observers import Observer
from greyd.policy.shadow.decision import action_in_mode_on
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.monitoring.log import Log
    from greyd.policy.shadow.decision import ShadowDecision
