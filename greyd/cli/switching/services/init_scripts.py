"""Services of Debian's init scripts, for a machine or a container without systemd."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from greyd.cli.switching.services.interface import (
    SYSTEM_PATH,
    ServiceError,
    ServiceState,
    run_command,
)

_SCRIPTS = Path("/etc/init.d")
_RUN_LEVELS = Path("/etc")
_OPENRC = Path("/run/openrc")

_MARK = "Written by greyd switch-from postgrey"

_SCRIPT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          greyd
# Required-Start:    $syslog $local_fs $remote_fs
# Required-Stop:     $syslog $local_fs $remote_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Greylisting policy server for Postfix and Exim
### END INIT INFO
# {mark}

PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/bin
DAEMON={program}
PIDFILE=/run/greyd.pid
test -x "$DAEMON" || exit 0

set -a
for file in /etc/default/postgrey /etc/default/greyd; do
  if [ -r "$file" ]; then . "$file"; fi
done
set +a

start() {{
  if status; then return 0; fi
  rm -f "$PIDFILE"
  "$DAEMON" serve --daemonize --pidfile="$PIDFILE" --user={user} --dbdir={folder}
}}
stop() {{
  [ -r "$PIDFILE" ] || return 0
  start-stop-daemon --stop --quiet --oknodo --retry=TERM/30/KILL/5 --pidfile "$PIDFILE" || return 1
  rm -f "$PIDFILE"
}}
status() {{
  [ -r "$PIDFILE" ] && kill -0 "$(cat "$PIDFILE")" 2>/dev/null
}}

case "$1" in
  start) start ;;
  stop) stop ;;
  restart) stop && start ;;
  reload|force-reload) status && kill -HUP "$(cat "$PIDFILE")" ;;
  status) if status; then echo "greyd is running"; else echo "greyd is not running"; exit 3; fi ;;
  *) echo "Usage: $0 {{start|stop|restart|reload|force-reload|status}}" >&2; exit 1 ;;
esac
"""


def greyds_script(program: str, user: str, folder: Path) -> str:
    """Return greyd's init script.

    It starts greyd without start-stop-daemon, which can't recognise a Python program by name.

    Args:
        program: the path of greyd.
        user: the user that greyd runs as.
        folder: the folder of the SQLite store.
    """
    return _SCRIPT.format(
        mark=_MARK, program=shlex.quote(program), user=shlex.quote(user),
        folder=shlex.quote(str(folder)),
    )  # fmt: skip


class InitScripts:
    """Starts and stops services with ``/etc/init.d/NAME`` and update-rc.d."""

    name = "init scripts"
    log_command = "tail -f /var/log/mail.log"

    @staticmethod
    def are_used() -> bool:
        """Whether this is a Debian without systemd; Gentoo's OpenRC has other scripts."""
        has_programs = all(
            shutil.which(name, path=SYSTEM_PATH) for name in ("start-stop-daemon", "update-rc.d")
        )
        return _SCRIPTS.is_dir() and has_programs and not _OPENRC.exists()

    def state(self, service: str) -> ServiceState:
        """Return the state of a script, and of the service that it started."""
        script = _SCRIPTS / service
        if not script.is_file():
            return ServiceState(exists=False)
        try:
            run_command(str(script), "status")
            is_running = True
        except ServiceError:
            is_running = False
        return ServiceState(exists=True, is_running=is_running, is_enabled=_is_enabled(service))

    def start(self, *services: str) -> None:
        """Start services one after the other."""
        for service in services:
            run_command(str(_SCRIPTS / service), "start")

    def stop(self, *services: str) -> None:
        """Stop services one after the other."""
        for service in services:
            if (_SCRIPTS / service).exists() and self.state(service).is_running:
                run_command(str(_SCRIPTS / service), "stop")

    def enable(self, *services: str) -> None:
        """Start services at boot."""
        for service in services:
            run_command("update-rc.d", service, "defaults")
            run_command("update-rc.d", service, "enable")

    def disable(self, *services: str) -> None:
        """Don't start services at boot; remove the links to the script that this command wrote."""
        for service in services:
            # This also removes the links of a systemd unit with this name, which "remove" leaves.
            run_command("update-rc.d", service, "disable")
            if _is_ours(_SCRIPTS / service):
                run_command("update-rc.d", "-f", service, "remove")

    def reload_definitions(self) -> None:
        """Do nothing: the scripts are read at each use."""

    def command(self, verb: str, *services: str) -> str:
        """Return the shell command of a change."""
        if verb in ("enable", "disable"):
            return "; ".join(f"update-rc.d {each} {verb}" for each in services)
        return "; ".join(f"{_SCRIPTS / each} {verb}" for each in services)


def _is_ours(script: Path) -> bool:
    try:
        return _MARK in script.read_text(errors="replace")
    except OSError:
        return True


def _is_enabled(service: str) -> bool:
    name = re.compile(rf"S\d\d{re.escape(service)}")
    folders = [_RUN_LEVELS / f"rc{level}.d" for level in range(2, 6)]
    return any(
        name.fullmatch(link.name)
        for folder in folders if folder.is_dir()
        for link in folder.iterdir()
    )  # fmt: skip
