"""Every fault of a Redis server is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.redis import finding_of_cluster, findings_of_instance, findings_of_sentinels
from greyd.doctor.redis_instance import RedisInstance

if TYPE_CHECKING:
    from collections.abc import Mapping


INFO = {
    "redis_version": "7.0.15", "role": "master", "connected_slaves": "1", "aof_enabled": "1",
    "rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok", "evicted_keys": "0", "maxmemory": "0",
    "maxmemory_policy": "noeviction", "used_memory": "1000000",
    "rdb_last_save_time": "0", "rdb_changes_since_last_save": "7",
}  # fmt: skip

CONFIG = {
    "appendfsync": "everysec", "bind": "127.0.0.1 -::1", "protected-mode": "yes",
    "requirepass": "", "save": "", "maxmemory-policy": "noeviction",
}  # fmt: skip


def node(
    info: Mapping[str, str] | None = None, config: Mapping[str, str] | None = None, **more: Any
) -> RedisInstance:
    """Return a healthy Redis with some of it changed."""
    known: dict[str, Any] = {"is_open_to_all": True, "clock_offset_seconds": 0.0, "user": "default"}
    return RedisInstance(
        info={**INFO, **(info or {})}, config={**CONFIG, **(config or {})}, **{**known, **more}
    )


def states(found: RedisInstance) -> dict[str, State]:
    """Return the state of each check."""
    return {each.check: each.state for each in findings_of_instance(found)}


def test_a_healthy_redis_has_only_good_findings() -> None:
    assert set(states(node()).values()) == {State.OK}


@pytest.mark.parametrize(
    ("changed", "check", "state"),
    [
        ({"info": {"redis_version": "5.0.7"}}, "store: version", State.WARNING),
        ({"info": {"role": "slave"}}, "store: role", State.ERROR),
        # What Redis does not show is not checked.
        ({"info": {"redis_version": ""}}, "store: version", State.NOT_CHECKED),
        ({"info": {"role": ""}}, "store: role", State.NOT_CHECKED),
        ({"info": {"used_memory": ""}}, "store: memory", State.NOT_CHECKED),
        ({"config": {"appendfsync": ""}}, "store: durable", State.NOT_CHECKED),
        ({"config": {"appendfsync": "no"}}, "store: durable", State.WARNING),
        ({"config": {"appendfsync": "always"}}, "store: durable", State.OK),
        ({"info": {"aof_enabled": "0"}}, "store: durable", State.ERROR),
        ({"info": {"aof_enabled": "0"}, "config": {"save": "3600 1"}}, "store: durable",
         State.WARNING),
        ({"info": {"rdb_last_bgsave_status": "err"}}, "store: writes to disk", State.ERROR),
        ({"info": {"aof_last_write_status": "err"}}, "store: writes to disk", State.ERROR),
        ({"info": {"evicted_keys": "3"}}, "store: evicts nothing", State.ERROR),
        ({"info": {"maxmemory_policy": "volatile-lru", "maxmemory": "1000000000"}},
         "store: evicts nothing", State.ERROR),
        ({"info": {"maxmemory_policy": "allkeys-lru"}}, "store: evicts nothing", State.HINT),
        ({"info": {"maxmemory": "1000000000"}}, "store: memory", State.OK),
        ({"info": {"maxmemory": "1050000"}}, "store: memory", State.WARNING),
        ({"config": {"bind": "* -::*", "protected-mode": "no"}}, "store: closed to others",
         State.ERROR),
        ({"config": {"bind": "", "protected-mode": "no"}}, "store: closed to others", State.ERROR),
        ({"config": {"bind": "127.0.0.1 192.0.2.1"}}, "store: closed to others", State.HINT),
        ({"config": {"bind": "*", "protected-mode": "no"}, "is_open_to_all": False},
         "store: closed to others", State.OK),
        ({"config": {"bind": "*", "protected-mode": "no", "requirepass": "set"},
          "is_open_to_all": None}, "store: closed to others", State.OK),
        ({"clock_offset_seconds": 1.5}, "clocks: Redis", State.WARNING),
        ({"clock_offset_seconds": -1.5}, "clocks: Redis", State.WARNING),
        ({"clock_offset_seconds": 0.9}, "clocks: Redis", State.OK),
        ({"clock_offset_seconds": 1.5, "took_seconds": 1.1}, "clocks: Redis", State.NOT_CHECKED),
        ({"clock_offset_seconds": None}, "clocks: Redis", State.NOT_CHECKED),
    ],
)  # fmt: skip
def test_each_fault_of_a_redis_is_found(changed: dict[str, Any], check: str, state: State) -> None:
    found = states(node(**changed))
    assert found.pop(check) is state
    assert set(found.values()) == {State.OK}


def test_facts_that_greyds_user_may_not_read_are_not_checked() -> None:
    closed = RedisInstance(info={}, config=None, is_open_to_all=None)
    assert set(states(closed).values()) == {State.NOT_CHECKED}
    half = states(
        RedisInstance(info={**INFO, "aof_enabled": "0"}, config=None, is_open_to_all=None)
    )
    assert half["store: durable"] is State.NOT_CHECKED
    assert half["store: closed to others"] is State.NOT_CHECKED


@pytest.mark.parametrize(
    ("answers", "state"),
    [
        ({"a": "master r:1", "b": "master r:1", "c": "master r:1"}, State.OK),
        ({"a": "master r:1", "b": "master r:1"}, State.HINT),
        ({"a": "master r:1", "b": "master r:1", "c": "Connection refused"}, State.WARNING),
        ({"a": "master r:1", "b": "master r:2", "c": "master r:1"}, State.WARNING),
        ({"a": "no answer in time"}, State.ERROR),
    ],
)
def test_sentinels_that_disagree_or_do_not_answer_are_found(
    answers: dict[str, str], state: State
) -> None:
    (found,) = findings_of_sentinels(answers)
    assert found.state is state


def test_a_cluster_whose_slots_are_not_all_served_is_found() -> None:
    assert finding_of_cluster({"cluster_state": "ok"}).state is State.OK
    assert finding_of_cluster({"cluster_state": "fail"}).state is State.ERROR
    assert finding_of_cluster({}).state is State.NOT_CHECKED
