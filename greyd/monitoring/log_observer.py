"""Logs a server's events."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from greyd.config.vocabulary import RESOLVER
from greyd.errors import describe_error
from greyd.escaping import encode_name, percent_encode
from greyd.monitoring.log import Severity, render_json
from greyd.monitoring.shared_outages import SharedOutages
from greyd.policy.observers import Observer
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.dns.sources.faults import SourceFault
    from greyd.monitoring.log import Log
    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request


MAX_PROTOCOL_ERRORS_PER_SECOND = 20
"""Maximum number of protocol errors to log per second; one line has the number of the others."""

NOT_LEARNT_SECONDS = 3600
"""The interval of warnings about outbound mail that is not learnt; each has the number so far."""

_MAX_DATA_BYTES = 200


class LogObserver(Observer):
    """Logs each decision, and all other events that a postmaster should know about."""

    def __init__(
        self,
        log: Log,
        *,
        passes_without_store: bool = True,
        outages: SharedOutages | None = None,
    ) -> None:
        """Create an observer.

        Args:
            log: writes the lines.
            passes_without_store: whether mail passes while the store does not answer; otherwise
                it is deferred.
            outages: the outages of DNS sources that the server's other workers know of.
        """
        self._log = log
        self._outages = outages or SharedOutages(None)
        self._meanwhile = "passing mail ungreylisted" if passes_without_store else "deferring mail"
        self._render = _json_line if log.as_json else _postgrey_line
        self._second = 0
        self._protocol_error_count = 0
        self._not_learnt_count = 0
        self._not_learnt_warned_at = -math.inf

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Log each decision, in postgrey's format or in JSON."""
        if self._log.most >= Severity.INFO:
            render = self._render
            self._log.write_all(Severity.INFO, [render(event) for event in events])

    def auto_whitelisted(
        self, request: Request, decision: Decision, evidence: Evidence | None
    ) -> None:
        """Log that a client or an identity is auto-whitelisted from now on."""
        if decision.whitelisted:
            self._log.notice(f"whitelisted: {_client(request)}")
        if decision.identity_whitelisted and evidence is not None:
            identity = percent_encode(evidence.identity).decode()
            self._log.notice(f"whitelisted: identity {identity}")

    def protocol_error(self, message: str, data: bytes) -> None:
        """Log a protocol error, unless this second has ``MAX_PROTOCOL_ERRORS_PER_SECOND``."""
        second = int(time.monotonic())
        if second != self._second:
            more = self._protocol_error_count - MAX_PROTOCOL_ERRORS_PER_SECOND
            if more > 0:
                self._log.warning(f"{more} more lines, requests or connections not understood")
            self._second, self._protocol_error_count = second, 0
        self._protocol_error_count += 1
        if self._protocol_error_count <= MAX_PROTOCOL_ERRORS_PER_SECOND:
            shown = f": {percent_encode(data[:_MAX_DATA_BYTES]).decode()}" if data else ""
            self._log.warning(message + shown)

    def outbound_not_learnt(self, request: Request) -> None:
        """Log outbound mail that is not learnt, once in ``NOT_LEARNT_SECONDS``."""
        self._not_learnt_count += 1
        now = time.monotonic()
        if now - self._not_learnt_warned_at < NOT_LEARNT_SECONDS:
            return
        login, sender = (
            percent_encode((each or b"")[:_MAX_DATA_BYTES]).decode()
            for each in (request.sasl_username, request.sender)
        )
        more = f" (and {self._not_learnt_count - 1} other mails)" * (self._not_learnt_count > 1)
        self._log.warning(
            f"outbound mail of login {login} as {sender}{more}: not learnt, the sender is not of"
            " this login; list it in --sender-logins, or set --outbound-senders"
        )
        self._not_learnt_warned_at, self._not_learnt_count = now, 0

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:
        """Log an internal error: its type, its text, and the place where it was raised."""
        then = f"; {outcome}" if outcome else ""
        self._log.error(f"internal error, {part}: {describe_error(error)}{then}")

    def store_changed(self, reason: str | None) -> None:
        """Log that the store has failed, or answers again."""
        if reason:
            self._log.warning(f"store away: {reason}; {self._meanwhile} until it returns")
        else:
            self._log.notice("the store is back")

    def dns_source_changed(self, name: str, fault: SourceFault | None) -> None:
        """Log that a DNS list or the resolver is out of order, or back; once for all workers."""
        outages = self._outages
        if not (outages.was_last(name) if fault is None else outages.is_first(name)):
            return
        what = "the DNS resolver" if name == RESOLVER else f"the DNS list {name}"
        if fault is None:
            self._log.notice(f"{what} is back")
        else:
            self._log.warning(
                f"{what} is out of order and not queried until it is back: {fault.text};"
                f" {fault.remedy}"
            )

    def mode_changed(self, mode: str, reason: str) -> None:
        """Log the mode in force."""
        self._log.notice(f"mode {mode}{reason}")

    def mode_without_end(self, mode: str, reason: str) -> None:
        """Log a warning about a mode that somebody may have forgotten."""
        self._log.warning(
            f"all mail passes: mode {mode}{reason}, and no end is set; greyd mode reset"
            f" ends it, greyd mode {mode} --for 2h sets an end"
        )

    def administered(self, description: str) -> None:
        """Log an administrator's action."""
        self._log.notice(description)


def _client(request: Request) -> str:
    client = percent_encode(request.client_address or b"").decode()
    return (
        f"{percent_encode(request.client_name).decode()}[{client}]"
        if request.client_name
        else client
    )


_BEGINNINGS = {
    reason: f"action={reason.action}, reason={reason.text}".encode() for reason in Reason
}


def _postgrey_line(event: DecisionEvent) -> bytes:
    """Return a decision as postgrey logs it, without empty attributes."""
    request = event.request
    line = _BEGINNINGS[event.reason] + event.detail.encode()
    if request.queue_id:
        line = request.queue_id + b": " + line
    if event.delay_seconds is not None:
        line += b", delay=%d" % event.delay_seconds
    return percent_encode(line + request_text(event))


def request_text(event: DecisionEvent) -> bytes:
    """Return the attributes of a request and its evidence, each after a comma."""
    request, line = event.request, b""
    if request.client_name:
        line += b", client_name=" + request.client_name
    if request.client_address:
        line += b", client_address=" + request.client_address
    if request.sender:
        line += b", sender=" + request.sender
    if request.recipient:
        line += b", recipient=" + request.recipient
    if request.helo_name is not None:
        line += _names_text(request)
    if event.evidence is not None:
        line += _evidence_text(event.evidence)
    return line


def _names_text(request: Request) -> bytes:
    """Return the client's other names, which the parser reads only if decisions use evidence.

    The client chooses the HELO name. It is encoded, so that it cannot pose as other fields.
    """
    text = b", helo=" + encode_name(request.helo_name or b"")
    if (name := _reverse_name(request)) is not None:
        text += b", reverse_client_name=" + encode_name(name)
    return text + b", protocol=SMTP" if _is_plain_helo(request) else text


def _is_plain_helo(request: Request) -> bool:
    """Whether the client sent HELO; for EHLO, the usual case, the log has no field."""
    return request.protocol_name is not None and request.protocol_name.upper() == b"SMTP"


def _reverse_name(request: Request) -> bytes | None:
    """Return the unconfirmed name if it adds anything to the confirmed one, else None.

    ``unknown`` is logged, too, as its absence means that the request did not have the attribute.
    """
    name, reverse_name = request.client_name, request.reverse_client_name
    is_known = name is not None and name.lower() != b"unknown"
    return None if is_known and reverse_name == name else reverse_name


def _evidence_text(evidence: Evidence) -> bytes:
    """Return the attributes about the evidence that greyd adds to postgrey's line."""
    text = b""
    if evidence.identities:
        first, *others = [each.organisation for each in evidence.identities]
        text += b", identity=" + first
        if others:
            text += b", other_identities=" + b"+".join(others)
    if evidence.signals:
        text += b", signals=" + "+".join(evidence.signals).encode()
    if state := _dns_state(evidence):
        text += b", dns=" + state.encode()
    if evidence.sources_off:
        text += b", dns_off=" + "+".join(evidence.sources_off).encode()
    return text


def _dns_state(evidence: Evidence) -> str:
    """Return what keeps the evidence incomplete: ``off``, ``late``, or nothing."""
    return "off" if evidence.resolver_off else "late" if evidence.unsure else ""


def _json_line(event: DecisionEvent) -> bytes:
    reason = event.reason
    fields: dict[str, object] = {"action": reason.action, "reason": reason.text + event.detail}
    if event.delay_seconds is not None:
        fields["delay"] = event.delay_seconds
    return render_json(fields | request_fields(event), Severity.INFO)


def request_fields(event: DecisionEvent) -> dict[str, object]:
    """Return the attributes of a request and its evidence as JSON has them."""
    fields: dict[str, object] = {}
    for name in ("queue_id", "client_name", "client_address", "sender", "recipient"):
        if value := getattr(event.request, name):
            fields[name] = value.decode(errors="backslashreplace")
    if event.request.helo_name is not None:
        fields["helo"] = encode_name(event.request.helo_name).decode()
        if (reverse_name := _reverse_name(event.request)) is not None:
            fields["reverse_client_name"] = encode_name(reverse_name).decode()
        if _is_plain_helo(event.request):
            fields["protocol"] = "SMTP"
    if event.evidence is not None:
        fields.update(_evidence_fields(event.evidence))
    return fields


def _evidence_fields(evidence: Evidence) -> dict[str, object]:
    """Return the attributes about the evidence in a JSON line."""
    identity, *others = [
        each.organisation.decode(errors="backslashreplace") for each in evidence.identities
    ] or [""]
    fields = {
        "identity": identity,
        "other_identities": others,
        "signals": list(evidence.signals),
        "dns": _dns_state(evidence),
        "dns_off": list(evidence.sources_off),
    }
    return {name: value for name, value in fields.items() if value}
