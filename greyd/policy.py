"""One request's way, from what Postfix asks to what it is told."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from greyd import __version__, greylist, reply
from greyd.observe import GREYLIST, PASS
from greyd.reply import DUNNO, Replies
from greyd.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.greylist import Address, Decision
    from greyd.observe import Observer
    from greyd.protocol import Request
    from greyd.settings import Settings
    from greyd.store.guard import Guard
    from greyd.whitelist import Whitelists

    Tell = Callable[[bytes | None], None]

RECENT_INSTANCES = 10_000
"""Messages of which it is remembered that they carry the header already."""

_REQUIRED = ("client_address", "client_name", "sender", "recipient")


class Policy:
    """Answers requests."""

    def __init__(
        self, settings: Settings, whitelists: Whitelists, store: Guard, observer: Observer
    ) -> None:
        self.whitelists = whitelists
        """In force; to be replaced as a whole."""
        self._settings = settings
        self._store = store
        self._observer = observer
        self._replies = Replies.from_settings(settings, __version__)
        # A message's recipients may come over several connections, so recent instances are
        # remembered for the whole process. A dict, because it keeps the order of arrival.
        self._instances: dict[bytes, None] = {}

    def answer(self, request: Request, tell: Tell) -> None:
        """Answer a request: ``tell`` gets the action, at once or when the store has decided.

        It gets None where the request deserves no reply.
        """
        started = time.perf_counter()
        if request.garbage is not None:
            self._observer.misunderstood("line without = ignored", request.garbage)
        if request.request != b"smtpd_access_policy":
            self._observer.misunderstood(
                "unknown request type, not answered", request.request or b"(none)"
            )
            tell(None)
            return
        address = greylist.parse_address(request.client_address or b"")
        reason = self._exemption(request, address)
        if reason or address is None:
            tell(self._pass(request, reason, started))
            return
        settings = self._settings
        keys = greylist.keys(address, request.sender or b"", request.recipient or b"", settings)
        now = self._now(request)
        self._store.begin(
            keys if settings.auto_whitelist_clients else keys[:1],
            lambda remembered: greylist.decide(keys, remembered, now, settings),
            partial(self._decided, request, tell, started, time.perf_counter()),
        )

    def _decided(
        self,
        request: Request,
        tell: Tell,
        started: float,
        asked: float,
        decision: Decision,
        error: Exception | None,
    ) -> None:
        """Go on with a request when the store has decided, or could not."""
        self._observer.stored(time.perf_counter() - asked)
        try:
            if isinstance(error, StoreError):
                self._observer.metrics.store_errors.inc()
                reply = self._without_store(request, started)
            elif error is not None:
                raise error
            else:
                reply = self._carry_out(request, decision, started)
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not stop the mail
            reply = self.failed(request, fault)
        tell(reply)

    def failed(self, request: Request, error: Exception) -> bytes:
        """Let a request pass that a fault of greyd's own has hit."""
        self._observer.failed(request, error)
        return DUNNO

    def _exemption(self, request: Request, address: Address | None) -> str:
        """Return why a request passes whatever the store may say; empty where nothing says so."""
        if None in (
            request.client_address,
            request.client_name,
            request.sender,
            request.recipient,
        ):
            missing = ", ".join(name for name in _REQUIRED if getattr(request, name) is None)
            self._observer.misunderstood(f"attribute missing, passing the mail: {missing}")
            return "missing attribute"
        if request.sasl_username:
            return "authenticated"
        if self.whitelists.match_client(request.client_name or b"", address):
            self._observer.metrics.whitelist_hits["clients"].inc()
            return "client whitelist"
        if self.whitelists.match_recipient(request.recipient or b""):
            self._observer.metrics.whitelist_hits["recipients"].inc()
            return "recipient whitelist"
        if self._settings.mode == "off":
            return "mode off"
        if address is None:
            self._observer.misunderstood(
                "client_address is no IP address, passing the mail", request.client_address or b""
            )
            return "client address"
        return ""

    def _carry_out(self, request: Request, decision: Decision, started: float) -> bytes:
        if decision.whitelisted:
            self._observer.whitelisted(request)
        if decision.passes:
            return self._let_pass(request, decision, started)
        detail = f" ({decision.missing_seconds}s missing)" if decision.waited_seconds else ""
        if self._settings.mode == "learn":
            return self._pass(request, "learning", started, f" ({decision.reason}{detail})")
        self._observer.answered(
            request,
            GREYLIST,
            decision.reason,
            time.perf_counter() - started,
            detail,
        )
        return self._replies.greylisted(request, decision.missing_seconds)

    def _let_pass(self, request: Request, decision: Decision, started: float) -> bytes:
        if not decision.first_pass or self._settings.mode == "learn":
            return self._pass(request, decision.reason, started)
        self._observer.passed_first(decision.waited_seconds)
        if not self._is_first_of_message(request):
            return self._pass(request, decision.reason, started)
        self._pass(request, decision.reason, started, delay_seconds=decision.waited_seconds)
        return self._replies.prepend_header(decision.waited_seconds, time.time())

    def _without_store(self, request: Request, started: float) -> bytes:
        if self._settings.passes_without_store:
            return self._pass(request, "store unavailable", started)
        self._observer.answered(
            request, GREYLIST, "store unavailable", time.perf_counter() - started
        )
        return reply.STORE_AWAY

    def _pass(
        self,
        request: Request,
        reason: str,
        started: float,
        detail: str = "",
        delay_seconds: int | None = None,
    ) -> bytes:
        self._observer.answered(
            request, PASS, reason, time.perf_counter() - started, detail, delay_seconds
        )
        return DUNNO

    def _is_first_of_message(self, request: Request) -> bool:
        """Whether no other recipient of this message has brought it the header yet."""
        if request.instance is None:
            return True
        if request.instance in self._instances:
            return False
        self._instances[request.instance] = None
        if len(self._instances) > RECENT_INSTANCES:
            del self._instances[next(iter(self._instances))]
        return True

    def _now(self, request: Request) -> int:
        if self._settings.test_time and request.policy_test_time:
            digits = request.policy_test_time
            if digits.isdigit() and len(digits) <= 12:
                return int(digits)
        return int(time.time())
