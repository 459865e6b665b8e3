"""The Redis store: whether it keeps what it is given, drops nothing, and is open to nobody.

The commands asked are read-only: INFO, CONFIG GET, ACL, TIME. A server that lets greyd's user have
none of them is no error; what can't be seen is said to be so.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from greyd.doctor.clocks import finding_of_offset
from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.redis_instance import (
    TIMEOUT_SECONDS,
    RedisInstance,
    fields,
    inspect_instance,
    try_command,
)
from greyd.store.errors import StoreError
from greyd.store.redis.opening import open_transport
from greyd.store.redis.sentinel import SentinelClient
from greyd.store.url import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.config.settings import Settings

MIN_MAJOR_VERSION = 6
"""Redis's version before which access lists and much else is missing."""
_LOOPBACK = ("127.", "-127.", "::1", "-::1", "localhost")


async def check_redis(url: str, settings: Settings) -> list[Finding]:
    """Look at all servers that hold the entries."""
    transport = open_transport(url, settings)
    made: list[Finding] = []
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            nodes = await transport.nodes()
            for number, send in enumerate(nodes, 1):
                name = f"{number} of {len(nodes)}" if len(nodes) > 1 else ""
                made += findings_of_instance(await inspect_instance(name, send))
            if transport.is_divided:
                made.append(
                    finding_of_cluster(
                        fields(await try_command(nodes[0], "CLUSTER", "INFO") or b"")
                    )
                )
    except (StoreError, TimeoutError) as fault:
        made.append(not_checked("store: Redis", str(fault) or "no answer in time"))
    finally:
        await transport.close()
    named = parse_redis_url(url)
    if named.topology == "sentinel":
        sentinels = SentinelClient(named, settings)
        made += findings_of_sentinels(await sentinels.all_answers(settings.store_timeout_seconds))
    return made


# Judged -------------------------------------------------------------------------------------------


def findings_of_instance(node: RedisInstance) -> list[Finding]:
    """Judge one server."""
    made = [finding_of_clock(node), finding_of_access(node)]
    if not node.info:
        return [
            *made,
            not_checked(node.check("Redis"), "greyd's user may not ask INFO", _MORE_RIGHTS),
        ]
    return [
        finding_of_version(node),
        finding_of_role(node),
        finding_of_durability(node),
        *_findings_of_persistence(node),
        finding_of_eviction(node),
        finding_of_memory(node),
        *made,
    ]


_MORE_RIGHTS = (
    "greyd doctor --store=redis://ADMIN@HOST/0 --store-password-file=FILE (a user who may); or"
    " redis-cli ACL SETUSER NAME +info +config|get +acl|whoami +acl|getuser +time"
)


def finding_of_version(node: RedisInstance) -> Finding:
    """Say which it is."""
    version = node.info.get("redis_version", "")
    major = version.partition(".")[0]
    name = node.info.get("server_name") or "Redis"
    if major.isdigit() and int(major) < MIN_MAJOR_VERSION:
        return warning(node.check("version"), f"{name} {version} is old", "7.0 and later are tried")
    return ok(node.check("version"), f"{name} {version or 'of unknown version'}")


def finding_of_role(node: RedisInstance) -> Finding:
    """Say whether it takes writes."""
    check = node.check("role")
    role = node.info.get("role", "")
    if role == "slave":
        return error(
            check,
            "a replica: it takes no writes",
            "--store names the master, or Sentinel: redis+sentinel://",
        )
    return ok(check, f"{role or 'unknown'}, {node.number('connected_slaves')} replicas")


def finding_of_durability(node: RedisInstance) -> Finding:
    """Say what is lost when its machine dies."""
    check = node.check("durable")
    remedy = "redis.conf: appendonly yes, appendfsync everysec"
    if node.number("aof_enabled"):
        sync = (node.config or {}).get("appendfsync", "")
        if sync == "no":
            return warning(check, "appendfsync no: half a minute may be lost", remedy)
        lost = {"always": "nothing is lost", "everysec": "a second may be lost"}.get(sync)
        return ok(check, f"appendonly; {lost or 'appendfsync is not known'}")
    if node.config is None:
        return not_checked(check, "no appendonly; whether it saves at all may not be asked", remedy)
    if node.config.get("save", "").strip('" '):
        age = max(time.time() - node.number("rdb_last_save_time"), 0)
        changes = node.number("rdb_changes_since_last_save")
        return warning(
            check,
            f"snapshots only: the last is {age / 60:.0f} minutes old, and {changes} changes"
            " since then would be lost",
            remedy,
        )
    return error(
        check,
        "no appendonly and no snapshots: a restart forgets all, and all senders wait anew",
        remedy,
    )


def _findings_of_persistence(node: RedisInstance) -> list[Finding]:
    check = node.check("writes to disk")
    failed = [
        name
        for name in ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
        if node.info.get(name, "ok") != "ok"
    ]
    if failed:
        return [
            error(
                check,
                f"{', '.join(failed)}: failed; it may refuse all writes",
                "its log says why; see to its disk: df, and who owns its folder",
            )
        ]
    return [ok(check, "the last ones went well")]


def finding_of_eviction(node: RedisInstance) -> Finding:
    """Say whether it forgets what has not expired."""
    check = node.check("evicts nothing")
    remedy = "redis.conf: maxmemory-policy noeviction"
    evicted = node.number("evicted_keys")
    if evicted:
        return error(
            check,
            f"{evicted} entries evicted since its start: their senders wait anew",
            f"{remedy}; give it more maxmemory, or a Redis of greyd's own",
        )
    policy = node.info.get("maxmemory_policy") or (node.config or {}).get("maxmemory-policy", "")
    if not policy:
        return not_checked(check, "maxmemory-policy may not be asked", _MORE_RIGHTS)
    if policy == "noeviction":
        return ok(check, policy)
    limit = node.number("maxmemory")
    if not limit:
        return hint(check, f"{policy}, but there is no maxmemory: nothing is evicted", remedy)
    return error(
        check,
        f"{policy}: at {limit / 1024**2:,.0f} MiB it evicts known senders (all entries have"
        " a time to live)",
        remedy,
    )


MAX_MEMORY_SHARE = 0.9


def finding_of_memory(node: RedisInstance) -> Finding:
    """Say whether it still has room."""
    check = node.check("memory")
    used, limit = node.number("used_memory"), node.number("maxmemory")
    text = f"{used / 1024**2:,.1f} MiB used"
    if limit and used > limit * MAX_MEMORY_SHARE:
        return warning(
            check,
            f"{text} of {limit / 1024**2:,.1f}: when it is full it takes no writes",
            "redis.conf: a larger maxmemory",
        )
    return ok(check, f"{text} of {limit / 1024**2:,.0f} MiB" if limit else f"{text}, no limit")


def finding_of_access(node: RedisInstance) -> Finding:
    """Say whether others than greyd can come in."""
    check = node.check("closed to others")
    remedy = (
        "redis.conf: bind 127.0.0.1 -::1, or a password: requirepass; and --store-password-file"
    )
    if node.open_to_all is None and node.config is None:
        return not_checked(check, "greyd's user may not ask who can come in", _MORE_RIGHTS)
    config = node.config or {}
    nopass = node.open_to_all if node.open_to_all is not None else not config.get("requirepass")
    if not nopass:
        return ok(check, f"a password is needed; greyd is {node.user or 'a user of its own'}")
    if "bind" not in config:
        return warning(check, "no password is needed; where it listens may not be asked", remedy)
    outside = [each for each in config["bind"].split() if not each.startswith(_LOOPBACK)] or (
        [] if config["bind"].strip() else ["*"]
    )
    if not outside:
        return ok(check, "it listens on this machine alone; no password is needed")
    if config.get("protected-mode") == "yes":
        return hint(
            check,
            f"no password, bind {' '.join(outside)}: only protected-mode keeps others out",
            remedy,
        )
    return error(check, f"open to the world: no password, bind {' '.join(outside)}", remedy)


def finding_of_clock(node: RedisInstance) -> Finding:
    """Compare its clock with this machine's; names the group of clocks."""
    check = f"clocks: Redis ({node.name})" if node.name else "clocks: Redis"
    if node.clock_offset_seconds is None:
        return not_checked(check, "greyd's user may not ask TIME", _MORE_RIGHTS)
    return finding_of_offset(check, node.clock_offset_seconds, node.took_seconds)


def finding_of_cluster(info: Mapping[str, str]) -> Finding:
    """Say whether all of a Cluster's slots are served."""
    check = "store: Cluster"
    state = info.get("cluster_state", "")
    if not state:
        return not_checked(check, "CLUSTER INFO says nothing")
    seen = f"state {state}, {info.get('cluster_slots_ok', '?')} of 16384 slots"
    if state != "ok":
        return error(check, seen, "redis-cli --cluster check HOST:PORT")
    return ok(check, f"{seen}, {info.get('cluster_size', '?')} masters")


def findings_of_sentinels(answers: Mapping[str, str]) -> list[Finding]:
    """Judge what each Sentinel said: the master's address, or why there is none."""
    check = "store: Sentinels"
    silent = {name: said for name, said in answers.items() if not said.startswith("master ")}
    masters = {said for said in answers.values() if said.startswith("master ")}
    seen = "; ".join(f"{name}: {said}" for name, said in answers.items())
    if not masters:
        return [error(check, seen, "see to that the Sentinels run")]
    if silent or len(masters) > 1:
        return [warning(check, seen, "see to those that do not answer, or differ")]
    if len(answers) < 3:
        return [hint(check, f"{seen}; with less than three there is no majority", "run a third")]
    return [ok(check, seen)]
