"""Starts the shadow of a server (``--shadow``)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from greyd.monitoring.shadow.log import ShadowLog
from greyd.policy.shadow.runner import ShadowRunner
from greyd.redaction import without_list_keys
from greyd.whitelist.files import load_whitelists

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.monitoring.log import Log
    from greyd.monitoring.metrics import Metrics
    from greyd.policy.observers import Observers
    from greyd.policy.policy import Policy
    from greyd.runtime.supervision import TaskSupervisor
    from greyd.store.contract import Store

_LISTS = (
    "whitelist_clients",
    "whitelist_recipients",
    "whitelist_senders",
    "never_auto_whitelist",
    "list_override",
)
"""The settings that name files of lists."""


def start_shadow(
    settings: Settings,
    policy: Policy,
    store: Store,
    observers: Observers,
    metrics: Metrics,
    log: Log,
    supervisor: TaskSupervisor,
) -> ShadowRunner | None:
    """Return the shadow, which observes the policy's decisions; None without ``--shadow``."""
    changed = settings.shadow_settings
    if changed is None:
        return None
    shadow = ShadowRunner(
        changed,
        policy,
        store,
        observers,
        asyncio.get_running_loop(),
        partial(supervisor.run, "shadow"),
    )
    if has_own_whitelists(settings):
        shadow.own_whitelists, messages = load_whitelists(changed)
        messages.log_to(log)
    observers.add(metrics.watch_shadow(), ShadowLog(log), shadow)
    names = without_list_keys(", ".join(f"{name}={value}" for name, value in settings.shadow))
    log.info(f"shadow: also deciding with {names}; Postfix gets only the server's answers")
    return shadow


def has_own_whitelists(settings: Settings) -> bool:
    """Whether the shadow's whitelists are other files than the server's."""
    shadow = settings.shadow_settings
    return shadow is not None and any(
        getattr(shadow, name) != getattr(settings, name) for name in _LISTS
    )
