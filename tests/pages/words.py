"""The options and variables on the pages, and the programs they belong to."""

from __future__ import annotations

import re

from greyd.cli.app import build
from greyd.config.options import OPTIONS

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")
_VARIABLE = re.compile(r"\bGREYD_[A-Z][A-Z_]*[A-Z]\b")

OURS = {name for option in OPTIONS for name in (option.name, *option.spellings)}
OURS |= {"help", "version"}
OURS |= {
    name.removeprefix("--")
    for command in build().commands.values()  # type: ignore[attr-defined]
    for parameter in command.params
    for name in parameter.opts
}
VARIABLES = {option.variable for option in OPTIONS} | {"GREYD_OPTS"}

OTHERS = {
    "bigkeys": "redis-cli",
    "cap-drop": "docker",
    "disable": "iRedAPD's greylisting_admin.py",
    "force-recreate": "docker compose",
    "info-server": "plesk bin grey_listing",
    "list-whitelist-domains": "iRedAPD's greylisting_admin.py",
    "list-whitelists": "iRedAPD's greylisting_admin.py",
    "modules-state": "rspamadm configdump",
    "system-site-packages": "python3 -m venv",
    "update-domain": "plesk bin grey_listing",
    "update-server": "plesk bin grey_listing",
    "yes": "add-apt-repository",
    "detach": "docker",
    "file": "docker",
    "filename": "kubectl",
    "global": "pipx",
    "manifest": "podman",
    "no-deps": "pip",
    "platform": "docker, podman",
    "prefix": "pip",
    "push": "docker",
    "tag": "docker",
    "target": "pip",
    "upgrade": "pip",
    "from-file": "kubectl",
    "name": "docker",
    "namespace": "kubectl",
    "publish": "docker",
    "read-only": "docker",
    "security-opt": "docker",
    "volume": "docker",
    "cluster": "redis-cli",
    "daemonize": "redis-server, redis-sentinel",
    "dir": "redis-server",
    "from": "swaks",
    "latency": "redis-cli",
    "no-pager": "systemd-analyze",
    "now": "systemctl",
    "offline": "systemd-analyze",
    "rdb": "redis-cli",
    "replicaof": "redis-server",
    "require-hashes": "pip",
    "requirement": "pip",
    "server": "swaks",
    "signal": "systemctl",
    "since": "journalctl",
    "timestamps": "docker",
    "to": "swaks",
}
"""Options of other programs on the pages. Add a new one here."""


def strangers(text: str) -> list[str]:
    """Return the options and variables in a text that no program has."""
    options = {name for name in _OPTION.findall(text) if name not in OURS | OTHERS.keys()}
    variables = set(_VARIABLE.findall(text)) - VARIABLES
    return sorted(f"--{name}" for name in options) + sorted(variables)
