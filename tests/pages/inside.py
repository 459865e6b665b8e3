"""Run a page's blocks on the disposable machine: ``python -m tests.pages.inside PAGE``."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.rules.reasons import OUTCOMES
from tests.pages import day, every_command, machine, mail, predecessors, stand_ins, systems
from tests.pages.blocks import CHECKOUT, Page, PageError
from tests.processes import slowness

if TYPE_CHECKING:
    from tests.pages.blocks import Block

SERVER = re.compile(r"(\S*/)?greyd serve(?!.*(--help|--version|--daemonize))|make serve")
"""A command that runs until it is stopped, and logs its addresses when it is ready."""

PARAMETER_FILES = {"main.cf", "extra.cf", "postfix_custom.conf.master"}
"""Names of files whose lines become parameters of Postfix."""

OF_A_SERVER_THAT_RUNS = {"intervening", "looking-in", "operations"}
"""Pages about a running service that has already received requests."""

_QUESTION = (
    "printf 'request=smtpd_access_policy\\nclient_address=192.0.2.7\\n"
    "client_name=mail.example.com\\nsender=alice{}@example.com\\nrecipient=bob@example.org\\n\\n'"
    " | nc -q1 127.0.0.1 10023"
)

_SECONDS = 60


class Terminal:
    """The terminal for the page's commands: its current folder and its running server.

    A server in the foreground is left running, and stopped (Ctrl-C) when the next one is started.
    """

    def __init__(self) -> None:
        self.folder = str(CHECKOUT)
        self._server: subprocess.Popen[bytes] | None = None

    def type(
        self, where: str, command: str, *, ends: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; ``ends`` means that it ends by itself, even if it looks like a server."""
        if SERVER.match(command) and not ends:
            self._serve(where, command)
            return subprocess.CompletedProcess(command, 0, "", "")
        if re.search(r"systemctl (start|restart|enable --now) (greyd|postgrey)", command):
            self.stop()
        script = 'cd "$1"; eval "$2"; pwd >/run/folder'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script, "bash", self.folder, command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS * slowness(),
        )
        if done.returncode == 0:
            self.folder = Path("/run/folder").read_text().strip()
        return done

    def _serve(self, where: str, command: str) -> None:
        self.stop()
        if "--delay=" in command:
            # The page sets its own delay, and no other one.
            os.environ.pop("GREYD_DELAY", None)
        # A page may go on to another machine; here it is the same, with the same port.
        script = "systemctl stop postgrey; systemctl stop greyd; true"
        subprocess.run(["bash", "-c", script], capture_output=True, timeout=_SECONDS * slowness())
        log = Path("/run/server.log")
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _SECONDS * slowness()
        while "listens on" not in log.read_text():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise PageError(f"{where}: {command}\ndid not start:\n{log.read_text()}")
            time.sleep(0.05)
        time.sleep(0.1)
        if warnings := re.findall(
            # There is no DNS here either.
            r"^warning: (?!running as root|the DNS list |the DNS resolver ).*",
            log.read_text(),
            re.MULTILINE,
        ):
            raise PageError(f"{where}: {command}\nwarns: {warnings}")

    def stop(self) -> None:
        """Stop the server, as Ctrl-C does."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(20)
            self._server = None


def commands(text: str) -> list[str]:
    """Split a script into its commands, each of which may have several lines."""
    found, lines = [], ""
    for line in text.splitlines(keepends=True):
        lines += line
        checked = subprocess.run(["bash", "-n"], input=lines, capture_output=True, text=True)
        open_end = checked.returncode or checked.stderr or lines.endswith("\\\n")
        if not open_end:
            if lines.strip() and not re.fullmatch(r"(\s*#.*\n?|\s)*", lines):
                found.append(re.sub(r"\s+# .*$", "", lines.strip(), flags=re.MULTILINE))
            lines = ""
    if lines.strip():
        raise PageError(f"no end: {lines}")
    return found


# Blocks -----------------------------------------------------------------------------------------


def run(block: Block, terminal: Terminal) -> None:
    """Run a block according to its language."""
    {
        "sh": _run_script,
        "console": _run_dialogue,
        "cf": _set_parameters,
        "ini": _write_ini,
        "toml": _write_toml,
        "yaml": _write_yaml,
        "text": _write_text,
        "log": _check_reasons,
        "exim": lambda *_: None,
        "promql": _check_query,
    }[block.language](block, terminal)


def _run_script(block: Block, terminal: Terminal) -> None:
    for command in commands(block.text):
        done = terminal.type(block.where, command)
        if done.returncode:
            raise PageError(f"{block.where}: {command}\nstatus {done.returncode}\n{done.stdout}")


def _run_dialogue(block: Block, terminal: Terminal) -> None:
    for part in re.split(r"(?m)^\$ ", block.text)[1:]:
        lines = part.splitlines(keepends=True)
        count = 1
        while lines[count - 1].endswith("\\\n"):
            count += 1
        command, expected = (
            "".join(lines[:count]).strip(),
            [line.rstrip() for line in lines[count:]],
        )
        done = terminal.type(block.where, command, ends=bool(expected))
        if not expected and done.returncode:
            raise PageError(f"{block.where}: {command}\nstatus {done.returncode}\n{done.stdout}")
        # A page has ordinary spaces where a terminal must not break a line.
        output = done.stdout.strip().replace("\u00a0", " ") + "\n"
        if not re.fullmatch(_pattern(expected), output):
            shown = "\n".join(expected)
            raise PageError(f"{block.where}: {command}\nanswers\n{done.stdout}\nand not\n{shown}")


def _pattern(lines: list[str]) -> str:
    """Return the pattern of an output: … matches anything in a line, or any lines."""
    whole = [re.escape(line).replace("…", ".*") + r"\n" for line in lines]
    return "".join(r"(?:.*\n)*" if line == r".*\n" else line for line in whole) or r"\n"


def _set_parameters(block: Block, _terminal: Terminal) -> None:
    if Path(block.title).name not in PARAMETER_FILES:
        raise PageError(f"{block.where}: no rule for {block.title}")
    try:
        # The machine has no MySQL; a table that finds nothing takes its place.
        mail.set_parameters(re.sub(r"proxy:mysql:[\w./-]+", "static:DUNNO", block.text))
        mail.deliver_greylisted()
    except mail.MailError as error:
        raise PageError(f"{block.where}: {error}") from None


def _write(block: Block, terminal: Terminal) -> Path:
    path = Path(terminal.folder) / block.title
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)
    return path


def _write_ini(block: Block, terminal: Terminal) -> None:
    path = _write(block, terminal)
    if path.match("/etc/default/*") or path.match("/etc/sysconfig/*"):
        subprocess.run(["sh", "-euc", f". {path}"], check=True)
    elif path.match("/etc/systemd/system/*.service") or path.match("/etc/systemd/system/*.timer"):
        stand_ins.verify(path)
    elif path.match("/etc/systemd/system/*.service.d/*.conf"):
        # Verifies the drop-in with its unit.
        stand_ins.Unit(path.parent.name.removesuffix(".d"))
    else:
        raise PageError(f"{block.where}: no rule for {block.title}")


def _write_toml(block: Block, terminal: Terminal) -> None:
    from greyd.config.loading import read_settings

    settings = read_settings([f"--config={_write(block, terminal)}"])
    if settings.warnings:
        raise PageError(f"{block.where}: {settings.warnings}")


def _write_yaml(block: Block, terminal: Terminal) -> None:
    import yaml

    from greyd.config.errors import SettingsError
    from greyd.config.loading import read_settings

    path = _write(block, terminal)
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise PageError(f"{block.where}: {error}") from None
    if "services" not in document:
        return
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, path], capture_output=True, text=True)
    if done.returncode:
        raise PageError(f"{block.where}: {done.stdout}")
    for name, service in document["services"].items():
        try:
            settings = read_settings([], service.get("environment", {}))
        except SettingsError as error:
            raise PageError(f"{block.where}: {name}: {error}") from None
        if settings.warnings:
            raise PageError(f"{block.where}: {name}: {settings.warnings}")


def _write_text(block: Block, terminal: Terminal) -> None:
    from greyd.whitelist.entries import read_whitelist_file
    from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists

    path = _write(block, terminal)
    if block.text.startswith("#!"):
        _check_script(block, terminal, path)
    elif path.suffix == ".py":
        ast.parse(block.text)
    if "whitelist_" in path.name:
        source = [read_whitelist_file(str(path))]
        clients = "whitelist_clients" in path.name
        lists = Whitelists(
            ClientWhitelist(source if clients else []),
            RecipientWhitelist([] if clients else source),
        )
        if lists.diagnostics:
            raise PageError(f"{block.where}: {[str(each) for each in lists.diagnostics]}")


def _check_script(block: Block, terminal: Terminal, path: Path) -> None:
    """Let its shell check a script; run the one that changes Postfix's parameters."""
    shell = block.text.partition("\n")[0].removeprefix("#!")
    command = f"{shell} -n {path}"
    if "postconf -e" in block.text:
        command += f" && {shell} {path} && {shell} {path}"
    done = terminal.type(block.where, command)
    if done.returncode:
        raise PageError(f"{block.where}: {done.stdout}")


def _check_reasons(block: Block, _terminal: Terminal) -> None:
    for action, reason in re.findall(r"action=(\w+), reason=([\w -]+\w)", block.text):
        if (action, reason) not in OUTCOMES:
            raise PageError(f"{block.where}: {action}, {reason}: greyd does not say that")


def _check_query(block: Block, _terminal: Terminal) -> None:
    import yaml

    rule = {"record": "page", "expr": block.text}
    rules = Path("/run/query.yml")
    rules.write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": [rule]}]}))
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True)
    if done.returncode:
        raise PageError(f"{block.where}: {done.stdout}{done.stderr}")


def _prepare(page: Page, terminal: Terminal) -> None:
    """Prepare the machine for the page."""
    if "redis.example.net" in page.text:
        machine.start_redis()
    if page.path.stem in OF_A_SERVER_THAT_RUNS:
        stand_ins.install_greyd()
        terminal.type(page.name, "systemctl start greyd redis-server")
        for number in range(3):
            # Mail that waits: somebody's whom the pages speak of.
            terminal.type(page.name, _QUESTION.format(number))
    if page.path.stem == "a-day-with-greyd":
        day.make(terminal.type)
    if page.name == "docs/what-if.md":
        # What the page compares with is greyd's own delay.
        del os.environ["GREYD_DELAY"]
    if page.name in ("README.md", "docs/migrating.md", "docs/replacing-postgrey.md"):
        by_script = page.name == "docs/migrating.md"
        predecessors.make(terminal.type, by_script=by_script)
    if page.path.parent.name == "systems":
        systems.set_up(page.path.stem, Path(terminal.folder), terminal.type)
    if page.name == "README.md":
        # It begins with a greyd of its own on the same port.
        terminal.type(page.name, "systemctl stop postgrey")


def _greylists_after(page: Page, block: Block) -> bool:
    """Whether a product's Postfix greylists mail after this block."""
    if page.path.parent.name != "systems":
        return False
    words = systems.SYSTEMS[page.path.stem].greylists_after
    return bool(words) and words in block.text


def main(name: str) -> int:
    """Run a page; returns the exit status."""
    page = Page(CHECKOUT / name)
    machine.set_up()
    terminal = Terminal()
    _prepare(page, terminal)
    try:
        for block in page.blocks:
            run(block, terminal)
            if page.name == "docs/postfix.md" and "known_clients" in block.text:
                mail.check_the_tips()
            if page.name == "docs/doctor.md" and "postfix-config >>" in block.text:
                mail.reload()
                mail.check_the_tips()
            if page.name == "README.md" and "systemctl start postgrey" in block.text:
                every_command.run(block.where, terminal.type, "/var/lib/postgrey/greyd.db")
            if _greylists_after(page, block):
                mail.reload()
                mail.deliver_greylisted()
            sys.stdout.write(f"{block.where}: {block.language} {block.title}\n")
            sys.stdout.flush()
    except (PageError, mail.MailError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    finally:
        terminal.stop()
    return 0


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main(sys.argv[1]))
