"""Checks the Redis store: durability, eviction, memory, access, and the state of a cluster.

If greyd's Redis user may not read a fact, the finding is ``not checked``, which is no fault.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from greyd.doctor.clocks import finding_of_offset
from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.redis_instance import inspect_instance, parse_fields, try_command
from greyd.plurals import counted
from greyd.store.errors import StoreError
from greyd.store.redis.opening import open_transport
from greyd.store.redis.sentinel import SentinelClient
from greyd.store.url import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.config.settings import Settings
    from greyd.doctor.redis_instance import RedisInstance

TIMEOUT_SECONDS = 5.0
MIN_MAJOR_VERSION = 6
"""The first major version of Redis with access control lists."""
MAX_MEMORY_SHARE = 0.9

_LOOPBACK = ("127.", "-127.", "::1", "-::1", "localhost")
_GRANT_REMEDY = (
    "greyd doctor --store=redis://ADMIN@HOST/0 --store-password-file=FILE (as a user with these"
    " rights); or redis-cli ACL SETUSER NAME +info +config|get +acl|whoami +acl|getuser +time"
)


async def check_redis(url: str, settings: Settings) -> list[Finding]:
    """Check all servers that store entries, and the Sentinels."""
    transport = open_transport(url, settings)
    made: list[Finding] = []
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            nodes = await transport.nodes()
            for number, send in enumerate(nodes, 1):
                name = f"{number} of {len(nodes)}" if len(nodes) > 1 else ""
                made += findings_of_instance(await inspect_instance(name, send))
            if transport.is_divided:
                info = await try_command(nodes[0], "CLUSTER", "INFO")
                made.append(finding_of_cluster(parse_fields(info or b"")))
    except (StoreError, TimeoutError) as fault:
        made.append(not_checked("store: Redis", str(fault) or "no answer in time"))
    finally:
        await transport.close()
    named = parse_redis_url(url)
    if named.topology == "sentinel":
        sentinels = SentinelClient(named, settings)
        made += findings_of_sentinels(await sentinels.all_answers(settings.store_timeout_seconds))
    return made


# One server ---------------------------------------------------------------------------------------


def findings_of_instance(instance: RedisInstance) -> list[Finding]:
    """Judge the facts about one Redis server."""
    made = [finding_of_clock(instance), finding_of_access(instance)]
    if not instance.info:
        check = instance.check("Redis")
        return [*made, not_checked(check, "greyd's user has no right to INFO", _GRANT_REMEDY)]
    return [
        finding_of_version(instance),
        finding_of_role(instance),
        finding_of_durability(instance),
        finding_of_persistence(instance),
        finding_of_eviction(instance),
        finding_of_memory(instance),
        *made,
    ]


def finding_of_version(instance: RedisInstance) -> Finding:
    """Check that Redis's major version is at least ``MIN_MAJOR_VERSION``."""
    check = instance.check("version")
    version = instance.info.get("redis_version", "")
    major = version.partition(".")[0]
    name = instance.info.get("server_name") or "Redis"
    if major.isdigit() and int(major) < MIN_MAJOR_VERSION:
        return warning(
            check, f"{name} {version} is too old", "upgrade: greyd is tested with 7.0 and later"
        )
    if not major.isdigit():
        return not_checked(check, f"{name} does not show its version")
    return ok(check, f"{name} {version}")


def finding_of_role(instance: RedisInstance) -> Finding:
    """Check that the server is a master, so that it accepts writes."""
    check = instance.check("role")
    role = instance.info.get("role", "")
    if role == "slave":
        return error(
            check,
            "a replica, which accepts no writes",
            "let --store name the master, or the Sentinels: redis+sentinel://",
        )
    if not role:
        return not_checked(check, "INFO does not show the role")
    return ok(check, f"{role}, {instance.number('connected_slaves')} replicas")


def finding_of_durability(instance: RedisInstance) -> Finding:
    """Check how many changes a crash of the machine would lose."""
    check = instance.check("durable")
    remedy = "redis.conf: appendonly yes, appendfsync everysec"
    if instance.number("aof_enabled"):
        sync = (instance.config or {}).get("appendfsync", "")
        if sync == "no":
            return warning(
                check, "appendfsync no: a crash may lose the last 30 seconds of changes", remedy
            )
        loss = {"always": "a crash loses nothing", "everysec": "a crash may lose one second"}
        if sync not in loss:
            reason = "appendonly; greyd's user has no right to appendfsync"
            return not_checked(check, reason, _GRANT_REMEDY)
        return ok(check, f"appendonly; {loss[sync]}")
    if instance.config is None:
        return not_checked(
            check, "no appendonly; greyd's user may not ask whether Redis saves snapshots", remedy
        )
    if instance.config.get("save", "").strip('" '):
        age = max(time.time() - instance.number("rdb_last_save_time"), 0)
        changes = instance.number("rdb_changes_since_last_save")
        return warning(
            check,
            f"snapshots only: the last is {age / 60:.0f} minutes old, and a crash now would lose"
            f" {changes} changes",
            remedy,
        )
    return error(
        check,
        "neither appendonly nor snapshots: after a restart Redis is empty, and every sender is"
        " greylisted again",
        remedy,
    )


def finding_of_persistence(instance: RedisInstance) -> Finding:
    """Check that Redis can write to its disk."""
    check = instance.check("writes to disk")
    names = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    if not any(name in instance.info for name in names):
        return not_checked(check, "INFO does not show it")
    failed = [name for name in names if instance.info.get(name, "ok") != "ok"]
    if failed:
        return error(
            check,
            f"failed ({', '.join(failed)}): Redis may refuse all writes",
            "read Redis's log; check its disk (df) and the owner of its folder",
        )
    return ok(check, "the last ones succeeded")


def finding_of_eviction(instance: RedisInstance) -> Finding:
    """Check that Redis evicts no entry that has not expired."""
    check = instance.check("evicts nothing")
    remedy = "redis.conf: maxmemory-policy noeviction"
    evicted = instance.number("evicted_keys")
    if evicted:
        return error(
            check,
            f"{counted(evicted, 'entry', 'entries')} evicted since Redis started: the senders are"
            " greylisted again",
            f"{remedy}; raise maxmemory, or give greyd a Redis of its own",
        )
    policy = instance.info.get("maxmemory_policy", "")
    policy = policy or (instance.config or {}).get("maxmemory-policy", "")
    if not policy:
        return not_checked(check, "greyd's user has no right to maxmemory-policy", _GRANT_REMEDY)
    if policy == "noeviction":
        return ok(check, policy)
    limit = instance.number("maxmemory")
    if not limit:
        return hint(check, f"{policy}, but without maxmemory nothing is evicted", remedy)
    return error(
        check,
        f"{policy}: above {limit / 1024**2:,.0f} MiB Redis evicts known senders, as all entries"
        " have a time to live",
        remedy,
    )


def finding_of_memory(instance: RedisInstance) -> Finding:
    """Check that Redis is not close to its memory limit."""
    check = instance.check("memory")
    used, limit = instance.number("used_memory"), instance.number("maxmemory")
    if not used:
        return not_checked(check, "INFO does not show it")
    text = f"{used / 1024**2:,.1f} MiB used"
    if limit and used > limit * MAX_MEMORY_SHARE:
        return warning(
            check,
            f"{text} of {limit / 1024**2:,.1f}: when full, Redis refuses writes",
            "redis.conf: raise maxmemory",
        )
    return ok(check, f"{text} of {limit / 1024**2:,.0f} MiB" if limit else f"{text}, no limit")


def finding_of_access(instance: RedisInstance) -> Finding:
    """Check that only greyd can connect."""
    check = instance.check("closed to others")
    remedy = "redis.conf: bind 127.0.0.1 -::1; or requirepass, and --store-password-file for greyd"
    if instance.is_open_to_all is None and instance.config is None:
        return not_checked(check, "greyd's user has no right to ask who can connect", _GRANT_REMEDY)
    config = instance.config or {}
    is_open = instance.is_open_to_all
    if is_open is None:
        is_open = not config.get("requirepass")
    if not is_open:
        user = instance.user or "a user of its own"
        return ok(check, f"Redis requires a password; greyd connects as {user}")
    if "bind" not in config:
        return warning(
            check,
            "Redis requires no password; greyd's user has no right to ask where it listens",
            remedy,
        )
    outside = [each for each in config["bind"].split() if not each.startswith(_LOOPBACK)] or (
        [] if config["bind"].strip() else ["*"]
    )
    if not outside:
        return ok(check, "listens on loopback only; no password")
    if config.get("protected-mode") == "yes":
        return hint(
            check,
            f"no password, bind {' '.join(outside)}: only protected-mode keeps others out",
            remedy,
        )
    return error(check, f"open to everybody: no password, bind {' '.join(outside)}", remedy)


def finding_of_clock(instance: RedisInstance) -> Finding:
    """Compare the server's clock with this machine's."""
    check = f"clocks: Redis ({instance.name})" if instance.name else "clocks: Redis"
    if instance.clock_offset_seconds is None:
        return not_checked(check, "greyd's user has no right to TIME", _GRANT_REMEDY)
    return finding_of_offset(check, instance.clock_offset_seconds, instance.took_seconds)


# Several servers ----------------------------------------------------------------------------------


def finding_of_cluster(info: Mapping[str, str]) -> Finding:
    """Check that a Redis Cluster serves all hash slots."""
    check = "store: Cluster"
    state = info.get("cluster_state", "")
    if not state:
        return not_checked(check, "no answer to CLUSTER INFO")
    seen = f"state {state}, {info.get('cluster_slots_ok', '?')} of 16384 slots served"
    if state != "ok":
        return error(check, seen, "redis-cli --cluster check HOST:PORT")
    return ok(check, f"{seen}, {info.get('cluster_size', '?')} masters")


def findings_of_sentinels(answers: Mapping[str, str]) -> list[Finding]:
    """Judge each Sentinel's answer: the master's address, or the reason why it gave none."""
    check = "store: Sentinels"
    masters = {answer for answer in answers.values() if answer.startswith("master ")}
    has_silent = any(not answer.startswith("master ") for answer in answers.values())
    seen = "; ".join(f"{name}: {answer}" for name, answer in answers.items())
    if not masters:
        return [error(check, seen, "make sure the Sentinels are running")]
    if has_silent or len(masters) > 1:
        return [
            warning(check, seen, "make sure all Sentinels are running and name the same master")
        ]
    if len(answers) < 3:
        return [
            hint(
                check,
                f"{seen}; fewer than three cannot form a majority",
                "run at least three Sentinels",
            )
        ]
    return [ok(check, seen)]
