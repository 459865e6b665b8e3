"""The Lua scripts of the Redis store: their text, their arguments, and checks of their replies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd.store.redis.replies import is_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.rules.transaction import Change, Remembered
    from greyd.store.redis.transport import Argument, ReplyCheck

COMPARE_AND_SET = b"""\
local key, argument, answers = 0, 0, {}
while argument < #ARGV do
  local keys, changes = tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2])
  argument = argument + 2
  local found = redis.call('MGET', unpack(KEYS, key + 1, key + keys))
  local answer = 1
  for i = 1, keys do
    if (found[i] or '') ~= ARGV[argument + i] then answer = found end
  end
  argument = argument + keys
  if answer == 1 then
    for i = argument + 1, argument + 3 * changes, 3 do
      redis.call('SET', KEYS[key + tonumber(ARGV[i])], ARGV[i + 1], 'EX', ARGV[i + 2])
    end
  end
  argument = argument + 3 * changes
  key = key + keys
  answers[#answers + 1] = answer
end
return answers
"""
"""Runs a batch of requests in order; each request uses some of the KEYS.

ARGV holds for each request: the number of its keys, the number of its changes, the expected value
of each key (empty: none), and of each change the key's position among the request's keys, the
value, and the time to live in seconds.

Returns for each request 1 if it was stored, or the current values of its keys."""

COMPARE_AND_SET_SHA = hashlib.sha1(COMPARE_AND_SET, usedforsecurity=False).hexdigest().encode()

FETCH = b"""\
local answers = {}
for place, key in ipairs(KEYS) do
  local value, left = redis.call('MGET', key)[1], redis.call('PTTL', key)
  answers[place] = {value, left}
  if not value and left ~= -2 then
    answers[place][3] = redis.pcall('TYPE', key).ok or 'unknown'
  end
end
return answers
"""
"""Returns for each of KEYS the value and the remaining time to live in milliseconds (PTTL), and the
type of a key that holds no string. MGET, because GET fails for those."""


@dataclass(slots=True)
class CompareAndSet:
    """Changes to make if all keys still have the expected values."""

    keys: Sequence[bytes]
    expected: Remembered
    changes: Sequence[Change]


def compare_and_set_command(
    prefix: bytes, batch: Sequence[CompareAndSet], *, with_script: bool
) -> Sequence[Argument]:
    """Return the command for a batch, with the script's text or only its hash."""
    names: list[bytes] = []
    arguments: list[Argument] = []
    for request in batch:
        keys = request.keys
        names += [prefix + key for key in keys]
        arguments += (len(keys), len(request.changes))
        arguments += [value or b"" for value in request.expected]
        for key, value, ttl_seconds in request.changes:
            arguments += (keys.index(key) + 1, value, ttl_seconds)
    script = (b"EVAL", COMPARE_AND_SET) if with_script else (b"EVALSHA", COMPARE_AND_SET_SHA)
    return [*script, len(names), *names, *arguments]


def outcome_check(batch: Sequence[CompareAndSet]) -> ReplyCheck:
    """Return a check that accepts only valid replies to the command for ``batch``."""
    return partial(_are_outcomes, [len(request.keys) for request in batch])


def _are_outcomes(key_counts: Sequence[int], reply: Any) -> bool:
    return (
        type(reply) is list
        and len(reply) == len(key_counts)
        and all(map(is_outcome, reply, key_counts))
    )


def is_outcome(found: Any, key_count: int) -> bool:
    """Whether ``found`` is the outcome of one request: 1, or the current values of its keys."""
    if type(found) is int:
        return found == 1
    return type(found) is list and len(found) == key_count and all(map(is_value, found))


def fetch_command(names: Sequence[bytes]) -> Sequence[Argument]:
    """Return the command that fetches entries by their keys, prefix included."""
    return ["EVAL", FETCH, len(names), *names]


def fetch_check(key_count: int) -> ReplyCheck:
    """Return a check that accepts only valid replies to ``fetch_command``."""
    return partial(_are_fetched, key_count)


def _are_fetched(key_count: int, reply: Any) -> bool:
    return type(reply) is list and len(reply) == key_count and all(map(_is_fetched, reply))


def _is_fetched(each: Any) -> bool:
    return (
        type(each) is list
        and 2 <= len(each) <= 3
        and is_value(each[0])
        and type(each[1]) is int
        and all(type(foreign_type) is bytes for foreign_type in each[2:])
    )
