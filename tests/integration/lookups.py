"""Looks names up as greyd's workers do: ``python -m tests.integration.lookups PORT NAME``.

Two processes are forked from one that has loaded the resolver and the public suffix list, become
nobody where they can, and ask the name server on ``PORT`` for a name's addresses. Each writes one
line.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import sys

import uvloop

from greyd.config.vocabulary import Endpoint
from greyd.dns.lookup import RecordType
from greyd.dns.resolver import Resolver
from greyd.rules.hostnames import load_suffixes


async def _look_up(port: int, name: bytes) -> None:
    resolver = Resolver([Endpoint("127.0.0.1", port)])
    answers = await asyncio.gather(*(resolver.query(name, kind) for kind in RecordType))
    await resolver.close()
    sys.stdout.write(f"{os.geteuid()} {answers[0].values}\n")
    sys.stdout.flush()


def _be_worker(port: int, name: bytes) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_look_up(port, name))


def main(port: str, name: str) -> int:
    """Fork and wait; returns 0 where all went well."""
    load_suffixes()
    workers = []
    for _ in range(2):
        worker = os.fork()
        if worker == 0:
            _be_worker(int(port), name.encode())
            return 0
        workers.append(worker)
    return max(os.waitpid(worker, 0)[1] for worker in workers)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
