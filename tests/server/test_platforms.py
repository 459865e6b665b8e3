"""Where a package that greyd needs can't be loaded: one line says which, and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SQLITE = ("--store=sqlite:greyd.db",)
REDIS = ("--store=redis://127.0.0.1:1/0",)
IDENTITY = (*SQLITE, "--identity=spf")
NEEDED = {
    # module: the package that it is of, and options of a server that needs it
    "re2": ("google-re2", SQLITE),
    "uvloop": ("uvloop", SQLITE),
    "h11": ("h11", SQLITE),
    "idna": ("idna", SQLITE),
    "prometheus_client": ("prometheus-client", SQLITE),
    "hiredis": ("hiredis", REDIS),
    "redis": ("redis", REDIS),
    "aiodns": ("aiodns", IDENTITY),
    "pycares": ("pycares", IDENTITY),
    "_cffi_backend": ("cffi", IDENTITY),
    "publicsuffixlist": ("publicsuffixlist", IDENTITY),
}


def missing(folder: Path, module: str) -> str:
    """Let a module seem not to be installed."""
    text = f"No module named {module!r}"
    (folder / f"{module}.py").write_text(f"raise ModuleNotFoundError({text!r}, name={module!r})\n")
    return text


def for_another_machine(folder: Path, module: str) -> str:
    """Let a module be compiled for another kind of processor."""
    (folder / f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"\xfeELF")
    return f"{module}.cpython" if sys.implementation.name == "cpython" else module


def run_greyd(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "greyd", *words],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(folder),
            "GREYD_RUN_DIR": str(folder),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("damage", [missing, for_another_machine])
@pytest.mark.parametrize(("module", "needed"), NEEDED.items(), ids=NEEDED.keys())
def test_a_server_without_a_package_that_it_needs_ends_with_one_line(
    tmp_path: Path, module: str, needed: tuple[str, tuple[str, ...]], damage: object
) -> None:
    package, options = needed
    said = damage(tmp_path, module)  # type: ignore[operator]  # one of the two above
    done = run_greyd(tmp_path, "serve", "--inet=127.0.0.1:0", *options)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"greyd: {package} can't be loaded: ")
    assert said in line
    assert f"install greyd and its packages anew for {sys.executable}" in line
    assert "Platforms" in line


@pytest.mark.parametrize("module", ["fakeredis", "lupa"])
def test_a_server_in_memory_without_fakeredis_says_what_to_install(
    tmp_path: Path, module: str
) -> None:
    missing(tmp_path, module)
    done = run_greyd(tmp_path, "serve", "--inet=127.0.0.1:0", "--store=memory://")
    assert done.returncode == 2
    assert done.stderr == (
        "greyd: memory:// needs the package fakeredis: pip install 'greyd[memory]'\n"
    )


def test_a_server_in_memory_with_a_fakeredis_for_another_machine_ends_with_one_line(
    tmp_path: Path,
) -> None:
    said = for_another_machine(tmp_path, "lupa")
    done = run_greyd(tmp_path, "serve", "--inet=127.0.0.1:0", "--store=memory://")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("greyd: lupa can't be loaded: ")
    assert said in line


@pytest.mark.parametrize("url", ["sqlite:greyd.db", "redis://127.0.0.1:1/0"])
def test_only_the_store_in_memory_loads_fakeredis(tmp_path: Path, url: str) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from greyd.config.settings import Settings\n"
        "from greyd.store.opening import open_store\n"
        "open_store(Settings(store=sys.argv[1]), Path())\n"
        "print(*sorted({'fakeredis', 'lupa', 'redis'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == (["redis"] if url.startswith("redis") else [])


@pytest.mark.parametrize(
    "words", [["check-whitelist", "list"], ["doctor"], ["explain", "192.0.2.1", "a@b", "c@d"]]
)
def test_a_command_without_a_package_that_it_needs_ends_with_one_line(
    tmp_path: Path, words: list[str]
) -> None:
    missing(tmp_path, "re2")
    done = run_greyd(tmp_path, *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("greyd: google-re2 can't be loaded: No module named 're2'; ")


@pytest.mark.parametrize("words", [["--help"], ["list", "--help"], ["explain", "--help"]])
def test_the_help_works_without_a_package_that_commands_need(
    tmp_path: Path, words: list[str]
) -> None:
    missing(tmp_path, "re2")
    done = run_greyd(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_package_that_also_calls_itself_re2_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "re2.py").write_text("def compile(pattern, flags=0): ...\n")
    done = run_greyd(tmp_path, "serve", "--inet=127.0.0.1:0", *SQLITE)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"google-re2 can't be loaded: {tmp_path}/re2.py is another package" in line


def test_a_package_that_no_option_needs_is_not_missed(tmp_path: Path) -> None:
    for module in ("aiodns", "hiredis", "fakeredis", "publicsuffixlist"):
        missing(tmp_path, module)
    done = run_greyd(tmp_path, "serve", "--inet=127.0.0.1:0", "--delay=no", *SQLITE)
    (line,) = done.stderr.splitlines()
    assert line.startswith("greyd: --delay=no: expected a whole number")
