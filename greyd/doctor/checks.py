"""Runs all checks of ``greyd doctor`` and puts their findings in order."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.clocks import check_ntp
from greyd.doctor.dns_sources import check_dns_sources
from greyd.doctor.findings import FAILED_STATES, Finding, hint, not_checked, ok
from greyd.doctor.listeners import active_listeners, configured_listeners, connectable
from greyd.doctor.mail_owner import find_mail_owner, finding_of_computed_access
from greyd.doctor.policy_request import finding_of_answer, send_request
from greyd.doctor.postfix.fix.plan import FixError, plan_fix
from greyd.doctor.postfix.main_cf import check_postfix
from greyd.doctor.process import find_process, findings_of_process
from greyd.doctor.public_suffixes import check_public_suffixes
from greyd.doctor.server_metrics import (
    MetricsError,
    check_exchanger,
    fetch_metrics,
    finding_of_counters,
    finding_of_mode,
    finding_of_outbound,
    finding_of_scrapes,
    finding_of_store,
    finding_without_counters,
    findings_of_metrics,
    url_of,
)
from greyd.doctor.store import check_store
from greyd.doctor.store_failure import outcome_of_store_failure
from greyd.doctor.systemd import check_postgrey_unit, check_unit
from greyd.doctor.whitelists import check_whitelists
from greyd.errors import GreydError, describe_error
from greyd.runtime.daemon_thread import run_in_daemon_thread

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.fix.plan import FixPlan
    from greyd.doctor.process import ListeningProcess
    from greyd.doctor.server_metrics import ServerMetrics
    from greyd.doctor.store import StoreAccess

Findings = Sequence[Finding]
Check = Callable[[], Findings | Awaitable[Findings]]
"""Collects facts about one subject; returns the findings."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The findings of all checks, and the plan that fixes those of Postfix's configuration."""

    findings: list[Finding]
    plan: FixPlan | None
    """None if no finding has a certain change, or the files can't be edited."""
    refusal: str = ""
    """Why the files can't be edited."""


async def check_all(
    access: StoreAccess, *, main_cf: str | None, exchangers: Sequence[str], thorough: bool
) -> CheckResult:
    """Run all checks; return their findings, grouped by subject, and the plan of changes.

    Args:
        access: gives the server's settings and opens its store.
        main_cf: the folder that contains main.cf; None for Postfix's default folder.
        exchangers: URLs of the metrics ports of other mail exchangers.
        thorough: whether SQLite checks the whole content of its file.

    Raises:
        GreydError: the settings or the store are unusable. A failed check is a finding instead.
    """
    settings = access.settings
    # The settings of a running server have the sockets that it really listens on.
    listeners = (
        configured_listeners(settings) if access.server else await active_listeners(settings)
    )
    of_server = replace(settings, store_timeout_seconds=access.server_store_timeout_seconds)
    # Before any thread starts: opening a Unix socket changes the rights of the whole process.
    server = _ServerCheck(settings, listeners, main_cf)
    asked = await run_checks([("server", server.run)])
    metrics = server.metrics
    process = await _find_process(listeners)
    open_files = metrics.value("process_open_fds") if metrics else None
    rest = await run_checks(
        [
            ("postfix", partial(check_postfix, main_cf, listeners, of_server)),
            ("whitelists", partial(check_whitelists, settings, metrics, process)),
            ("names", partial(check_public_suffixes, settings)),
            ("DNS", partial(check_dns_sources, settings, metrics)),
            ("store", lambda: [finding_of_store(metrics, outcome_of_store_failure(settings))]),
            ("store", partial(check_store, access, thorough=thorough)),
            ("clocks", check_ntp),
            *(("exchangers", partial(check_exchanger, url)) for url in exchangers),
            ("metrics", lambda: [finding_of_scrapes(metrics, time.time())]),
            ("process", partial(findings_of_process, process, open_files)),
            ("process", partial(check_unit, process.pid if process else None)),
            ("process", check_postgrey_unit),
            ("process", partial(findings_of_settings, settings)),
        ]
    )
    findings = _grouped([*asked, finding_of_server_settings(access), *rest])
    if not any(each.edits and each.state in FAILED_STATES for each in findings):
        return CheckResult(findings, None)
    try:
        plan = await plan_fix(
            main_cf, findings, lambda folder: check_postfix(folder, listeners, of_server)
        )
    except FixError as fault:
        return CheckResult(findings, None, str(fault))
    except Exception as fault:  # noqa: BLE001 - a fault in the plan must not hide the findings
        return CheckResult(findings, None, f"no plan of changes: {describe_error(fault)}")
    return CheckResult([plan.with_commands(each) for each in findings], plan)


async def run_checks(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """Run checks concurrently; return their findings in the order of the checks.

    If a check raises an unexpected exception, a finding in its group reports it, and the other
    checks continue.

    Raises:
        GreydError: a check raised it; the other checks are cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_run(name, check)) for name, check in checks]
    except BaseExceptionGroup as raised:
        raise raised.exceptions[0] from None
    return [finding for task in tasks for finding in task.result()]


async def _run(group: str, check: Check) -> Findings:
    try:
        findings = check()
        return await findings if inspect.isawaitable(findings) else findings
    except GreydError:
        raise
    except Exception as fault:  # noqa: BLE001 - a fault in one check must not hide the others
        reason = f"internal error: {describe_error(fault)}"
        return [not_checked(f"{group}: not finished", reason, "please report this error")]


async def _find_process(listeners: Sequence[Listener]) -> ListeningProcess | None:
    try:
        return await run_in_daemon_thread("processes", partial(find_process, listeners))
    except RuntimeError:
        return None


def _grouped(findings: Findings) -> list[Finding]:
    """Sort the findings by group; the groups keep the order in which they first appear."""
    groups = list(dict.fromkeys(each.group for each in findings))
    return sorted(findings, key=lambda each: groups.index(each.group))


def finding_of_server_settings(access: StoreAccess) -> Finding:
    """Show the settings that the findings are based on, and whether a running server uses them."""
    check = "server: settings"
    settings = access.settings
    delays = "/".join(map(str, settings.delays or (settings.delay_seconds,)))
    values = (
        f"delay {delays} s, mode {settings.mode} at the start, store timeout"
        f" {access.server_store_timeout_seconds:g} s, then {outcome_of_store_failure(settings)}"
    )
    if access.server is None:
        return not_checked(
            check,
            f"no running server has a record here; from the options and files: {values}",
            "run greyd doctor as root, on the server's machine",
        )
    return ok(check, f"of the running server, process {access.server.pid}: {values}")


def findings_of_settings(settings: Settings) -> list[Finding]:
    """Return a finding for each warning about the settings."""
    check = "process: settings"
    return [hint(check, each) for each in settings.warnings] or [ok(check, "no warnings")]


@dataclass
class _ServerCheck:
    """Sends policy requests to the server, and compares its counters before and after them."""

    settings: Settings
    listeners: Sequence[Listener]
    main_cf: str | None
    metrics: ServerMetrics | None = None
    """The metrics before the requests; None if the metrics port does not answer."""

    async def run(self) -> list[Finding]:
        """Check each TCP address and Unix socket of the server, and the metrics port."""
        owner, is_root = await find_mail_owner(self.main_cf), os.geteuid() == 0
        try:
            self.metrics = await self._fetch_metrics()
            reason = ""
        except MetricsError as fault:
            reason = str(fault)
        findings, answers = [], []
        for listener in connectable(self.listeners):
            answer = await send_request(listener, owner=owner if is_root else None)
            answers.append(answer)
            findings.append(finding_of_answer(listener, answer, owner if is_root else None))
            if isinstance(listener, Path) and (answer.cannot_switch or not (is_root and owner)):
                why = answer.cannot_switch or (
                    "postconf names none" if is_root else "this user is not root"
                )
                findings.append(finding_of_computed_access(listener, owner, why))
        if self.metrics is None:
            return [*findings, finding_without_counters(answers, reason)]
        if count := sum(each.passes for each in answers):
            after = await self._metrics_after(self.metrics, count)
            findings.append(finding_of_counters(self.metrics, after, count))
        url = url_of(self.settings.metrics) if self.settings.metrics else ""
        outcome = outcome_of_store_failure(self.settings)
        findings += findings_of_metrics(url, self.metrics, outcome=outcome)
        findings.append(finding_of_mode(self.metrics))
        if self.settings.learn_outbound:
            findings.append(finding_of_outbound(self.metrics))
        return findings

    async def _fetch_metrics(self) -> ServerMetrics:
        if self.settings.metrics is None:
            raise MetricsError("--metrics=0 is set, so the server's counters are unknown")
        return await fetch_metrics(url_of(self.settings.metrics))

    async def _metrics_after(self, before: ServerMetrics, answers: int) -> ServerMetrics:
        """Fetch the metrics until they have counted the answers, for about a second at most."""
        last = before
        for _ in range(5):
            with contextlib.suppress(MetricsError):
                last = await self._fetch_metrics()
            if last.probe_count - before.probe_count >= answers:
                break
            await asyncio.sleep(0.2)
        return last
