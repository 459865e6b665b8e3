"""A summary of skipped tests and the packages to install, in three lines."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DEBIAN_PACKAGES = {
    "db5.3_dump": "db5.3-util",
    "db5.3_recover": "db5.3-util",
    "dnsmasq": "dnsmasq-base",
    "grossd": "gross",
    "ip": "iproute2",
    "man": "man-db",
    "nc": "netcat-openbsd",
    "postconf": "postfix",
    "postgreyreport": "postgrey",
    "promtool": "prometheus",
    "redis-cli": "redis-server",
    "smtp-source": "postfix",
    "systemd-analyze": "systemd",
    "systemd-journald": "systemd",
    "systemd-nspawn": "systemd-container",
    "systemd-socket-activate": "systemd",
}
"""Packages whose name differs from the program that a test requires."""

NOT_INSTALLED = re.compile(r"(\S+) is not installed")
NOT_ROOT = "only root "

_UNPACKED = {"exim4", "exim4-config"}
"""Conflict with Postfix: ``.ci/run`` unpacks them."""


def package_of(program: str) -> str:
    """Return the Debian package that contains a program."""
    return DEBIAN_PACKAGES.get(program, program)


def summary(reasons: Iterable[str], seconds: float) -> list[str]:
    """Return three lines: skipped tests, packages to install, running time."""
    missing: Counter[str] = Counter()
    need_root = others = 0
    for reason in reasons:
        if lacks := NOT_INSTALLED.search(reason):
            missing[package_of(lacks[1])] += 1
        elif NOT_ROOT in reason:
            need_root += 1
        else:
            others += 1
    parts = [f"{number} without {name}" for name, number in missing.most_common()]
    parts += [f"{need_root} that need root"] if need_root else []
    parts += [f"{others} for other reasons (pytest -rs)"] if others else []
    total = missing.total() + need_root + others
    packages = sorted(set(missing) - _UNPACKED)
    steps = [f"apt install {' '.join(packages)}"] if packages else []
    steps += [".ci/run, which unpacks Exim"] if _UNPACKED & set(missing) else []
    steps += ["make test as root"] if need_root else []
    minutes, rest = divmod(round(seconds), 60)
    return [
        f"skipped: {total} test{'s' * (total != 1)}: {', '.join(parts)}"
        if parts
        else "skipped: none",
        f"to run them: {'; '.join(steps)}" if steps else "to run them: install nothing",
        f"took: {minutes} min {rest} s",
    ]
