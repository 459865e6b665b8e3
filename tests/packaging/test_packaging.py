"""The wheel, the examples, and the checks of a release."""

from __future__ import annotations

import itertools
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from greyd import __version__
from greyd.config.option import Arity
from greyd.config.options import BY_NAME
from greyd.config.server_settings import SERVICE_FILES
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_environment, from_table, from_words
from greyd.config.store_folder import SERVICE_FOLDER
from tests.processes import program
from tests.wheels import CHECKOUT, build_wheel

PACKAGING = CHECKOUT / "packaging"
RELEASE: dict[str, Any] = runpy.run_path(str(PACKAGING / "release.py"))


@pytest.fixture(scope="module")
def deb() -> dict[str, Any]:
    """What packaging/build_deb.py defines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PACKAGING))
        return runpy.run_path(str(PACKAGING / "build_deb.py"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


# The wheel ----------------------------------------------------------------------------------------


def test_the_wheel_holds_what_is_needed_and_nothing_else(wheel: Path) -> None:
    names = RELEASE["names_in"](wheel)
    assert RELEASE["faults_of_archive"](names, RELEASE["IN_THE_WHEEL"]) == []
    tops = {name.split("/")[0] for name in names}
    assert tops == {"greyd", f"greyd-{__version__}.dist-info", f"greyd-{__version__}.data"}


def test_the_wheel_has_a_manual_page_of_each_command(wheel: Path) -> None:
    in_wheel = {Path(name).name for name in RELEASE["names_in"](wheel) if "/man8/" in name}
    assert in_wheel == {page.name for page in (PACKAGING / "man").iterdir()}


def test_the_same_commit_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel(tmp_path / "again").read_bytes() == wheel.read_bytes()
    other = build_wheel(tmp_path / "other", epoch=1_600_000_000)
    assert other.read_bytes() != wheel.read_bytes(), "it is the commit's time that counts"


def test_the_wheel_names_every_file_in_its_record(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        record = archive.read(f"greyd-{__version__}.dist-info/RECORD").decode()
        assert {line.split(",")[0] for line in record.splitlines()} == set(archive.namelist())


def test_files_that_do_not_belong_in_an_archive_are_found() -> None:
    names = ["greyd-1/greyd/__pycache__/cli.cpython-311.pyc", "greyd-1/.mypy_cache/x", "greyd-1/a"]
    faults = RELEASE["faults_of_archive"](names, ["/a", "/LICENSE"])
    assert faults == [
        "/LICENSE is missing from the archive",
        f"{names[0]} does not belong in the archive",
        f"{names[1]} does not belong in the archive",
    ]


# The release --------------------------------------------------------------------------------------


def test_a_tree_with_changes_is_not_released() -> None:
    (fault,) = RELEASE["faults_of_checkout"](
        " M greyd/cli/main.py\n?? x", "## 1.2.3 – today", "1.2.3"
    )
    assert fault.startswith("greyd/cli/main.py: not committed; ")


@pytest.mark.parametrize("changes", ["# Changes\n\n## 1.2.4 – soon\n\n## 1.2.3 – today\n", ""])
def test_a_version_that_the_changes_do_not_begin_with_is_not_released(changes: str) -> None:
    (fault,) = RELEASE["faults_of_checkout"]("", changes, "1.2.3")
    assert "CHANGELOG.md begins with" in fault
    assert "1.2.3" in fault
    assert "\n" not in fault


def test_this_version_is_the_one_that_the_changes_begin_with() -> None:
    changes = (CHECKOUT / "CHANGELOG.md").read_text()
    assert RELEASE["faults_of_checkout"]("", changes, __version__) == []


def test_the_list_of_packages_gets_hashes_and_loses_addresses() -> None:
    locked = "A_b==1.0 ; x\n    --hash=sha256:" + "0" * 64 + " \\\n    --hash=sha256:" + "1" * 64
    package = {"name": "a-b", "version": "1.0", "externalReferences": [{"url": "https://a"}]}
    listed = {
        "metadata": {"component": {}, "tools": {"components": []}},
        "components": [package],
    }
    made = RELEASE["complete_sbom"](listed, "1.2.3", locked, {"a-b": "MIT style"})
    (component,) = made["components"]
    assert [each["content"][0] for each in component["hashes"]] == ["0", "1"]
    assert component["licenses"][0]["license"]["name"] == "MIT style"
    assert "https" not in str(made)
    assert made["metadata"]["component"]["version"] == "1.2.3"


def test_every_locked_package_has_its_hashes_and_no_address() -> None:
    for name in ("run", "dev", "release"):
        text = (CHECKOUT / "requirements" / f"{name}.txt").read_text()
        assert "://" not in text
        locked = RELEASE["locked_hashes"](text)
        assert len(locked) > 10
        assert all(locked.values())


# The examples -------------------------------------------------------------------------------------


def uncommented(path: Path) -> str:
    """Return a file of examples with its examples switched on."""
    return re.sub(r"^#(?=\w+ ?=)", "", path.read_text(), flags=re.MULTILINE)


def test_every_example_of_the_toml_file_is_a_setting() -> None:
    table = tomllib.loads(uncommented(PACKAGING / "examples" / "greyd.toml"))
    assert len(table) > 10
    settings = merge_settings(from_table(table, "greyd.toml"))
    assert settings.warnings == ()


def test_every_example_of_the_environment_file_is_a_setting() -> None:
    text = uncommented(PACKAGING / "default" / "greyd")
    lines = [line.partition("=") for line in text.splitlines() if re.match(r"\w+=", line)]
    variables = {name: value.strip('"') for name, _, value in lines}
    assert len(variables) > 5
    given, unknown = from_environment(variables)
    assert unknown == []
    assert merge_settings(from_words(variables, "GREYD_OPTS")[0], given).verbose


_EXAMPLES = re.compile(r"not the defaults", re.IGNORECASE)
"""Begins the part of the environment file whose lines differ from the defaults."""


def commented_settings(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings that a file of examples shows: the defaults, and the others."""
    text = path.read_text()
    if path.suffix == ".toml":
        # "#key = value" is a default, "# key = value" an example.
        shown = [
            from_lines(re.findall(rf"^#{mark}(\w+ = .*)$", text, re.MULTILINE))
            for mark in ("", " ")
        ]
        return shown[0], shown[1]
    parts = _EXAMPLES.split(text)
    assert len(parts) == 2, f"{path} has defaults and examples"
    of_part = []
    for part in parts:
        lines = re.findall(r"^#(\w+ ?=.*)$", part, flags=re.MULTILINE)
        pairs = [line.partition("=") for line in lines]
        variables = {name: value.strip('"') for name, _, value in pairs}
        given, _ = from_environment(variables)
        given += from_words(variables, "GREYD_OPTS")[0]
        of_part.append({each.option.name: each.text for each in given})
    return of_part[0], of_part[1]


def from_lines(lines: list[str]) -> dict[str, str]:
    """Return the options that lines of TOML set, and their texts."""
    given = from_table(tomllib.loads("\n".join(lines)), "greyd.toml")
    return {each.option.name: each.text for each in given}


def is_default(name: str, text: str) -> bool:
    """Whether a text sets an option to its default."""
    option = BY_NAME[name]
    values = [getattr(Settings(), option.field)]
    if name == "dbdir":
        values = [SERVICE_FOLDER]
    elif option.kind is Arity.MANY:
        values = [option.read(option.default)] if option.default else []
    return option.read(text) in values


@pytest.mark.parametrize("file", ["examples/greyd.toml", "default/greyd"])
def test_an_example_is_called_a_default_only_if_it_is_one(file: str) -> None:
    defaults, others = commented_settings(PACKAGING / file)
    assert defaults
    assert others
    assert [name for name, text in defaults.items() if not is_default(name, text)] == []
    assert [name for name, text in others.items() if is_default(name, text)] == []


def test_the_readme_names_the_defaults_of_the_options() -> None:
    text = (CHECKOUT / "README.md").read_text().replace("`--dbdir`", "--dbdir")
    rows = re.findall(r"^\| `--([a-z-]+)=[^`]*` \| ([^|]+?) \|", text, re.MULTILINE)
    assert len(rows) > 4
    assert [name for name, default in rows if default != BY_NAME[name].shown_default] == []


def test_the_commands_read_the_environment_files_of_the_unit() -> None:
    unit = (PACKAGING / "systemd" / "greyd.service").read_text()
    files = re.findall(r"^EnvironmentFile=-(.*)$", unit, re.MULTILINE)
    assert [Path(file) for file in files] == list(SERVICE_FILES)


def test_the_debian_package_takes_only_files_that_are_there() -> None:
    config = (PACKAGING / "deb" / "nfpm.yaml").read_text()
    sources = re.findall(r"(?:src|postinstall|preremove|postremove): ([^,\s]+)", config)
    own = [each.removeprefix("build/deb/") for each in sources if "/packaging/" in each]
    assert len(own) > 8
    assert [each for each in own if not (CHECKOUT / each).exists()] == []
    assert len([each for each in sources if each.startswith("build/deb/")]) == len(sources)


# The Debian package -------------------------------------------------------------------------------


def test_the_program_of_the_debian_package_starts_greyd() -> None:
    command = [sys.executable, "-I", PACKAGING / "deb" / "greyd", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"greyd {__version__}\n"), done.stderr


LOCKED = """\
always==1.0 \\
    --hash=sha256:0 \\
    --hash=sha256:1
    # via greyd
elsewhere==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:2
early==1.0 ; python_full_version < '3.11.3' \\
    --hash=sha256:3
late==1.0 ; python_version >= '3.13' and platform_machine == 'aarch64' \\
    --hash=sha256:4
"""


@pytest.mark.parametrize(
    ("python", "machine", "needed"),
    [
        ("3.11", "x86_64", ["always", "early"]),
        ("3.11", "aarch64", ["always", "early"]),
        ("3.12", "aarch64", ["always"]),
        ("3.13", "x86_64", ["always"]),
        ("3.13", "aarch64", ["always", "late"]),
    ],
)
def test_the_debian_package_gets_what_its_python_needs_and_not_what_the_builder_s_does(
    deb: dict[str, Any], python: str, machine: str, needed: list[str]
) -> None:
    text = deb["locked_for"](LOCKED, python, machine)
    assert re.findall(r"^(\w+)==1.0 \\$", text, re.MULTILINE) == needed
    assert text.startswith(LOCKED.partition("elsewhere")[0])
    assert ";" not in text


def test_debian_12_s_python_gets_all_that_redis_needs(deb: dict[str, Any]) -> None:
    locked = (CHECKOUT / "requirements" / "run.txt").read_text()
    assert "async-timeout==" in deb["locked_for"](locked, "3.11", "x86_64")
    assert "colorama==" not in deb["locked_for"](locked, "3.11", "x86_64")


def test_versions_of_the_debian_package_are_in_the_order_of_their_release(
    deb: dict[str, Any],
) -> None:
    program("dpkg")
    versions = ["0.1.0", "0.2.0.dev0", "0.2.0a1", "0.2.0b2", "0.2.0rc1", "0.2.0", "0.2.0.post1"]
    made = [f"{deb['debian_version'](each)}-1~py3.11" for each in versions]
    made.insert(-1, "0.2.0-2~py3.11")
    # In the letters' order dev comes behind b, so a build for developers is compared by itself.
    made.remove("0.2.0~dev0-1~py3.11")
    for older, newer in itertools.pairwise(made):
        compared = subprocess.run(["dpkg", "--compare-versions", older, "lt", newer])
        assert compared.returncode == 0, f"{older} is not older than {newer}"
    for other in ("0.1.0-1~py3.11", "0.2.0-1~py3.11"):
        relation = "gt" if other.startswith("0.1") else "lt"
        command = ["dpkg", "--compare-versions", "0.2.0~dev0-1~py3.11", relation, other]
        assert subprocess.run(command).returncode == 0


# The image ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "ldd", "is_built"),
    [
        ("x86_64", "ldd (Debian GLIBC 2.41-12) 2.41", True),
        ("aarch64", "ldd (Debian GLIBC 2.36-9+deb12u10) 2.36", True),
        ("x86_64", "ldd (Ubuntu GLIBC 2.39-0ubuntu8.4) 2.39", True),
        ("aarch64", "ldd (GNU libc) 2.34", True),
        ("x86_64", "musl libc (x86_64)", False),
        ("aarch64", "musl libc (aarch64)", False),
        ("armv7l", "ldd (Debian GLIBC 2.36-9+deb12u10) 2.36", False),
        ("riscv64", "ldd (Debian GLIBC 2.41-12) 2.41", False),
        ("x86_64", "sh: ldd: not found", False),
    ],
)
def test_the_image_is_built_for_the_platforms_that_the_page_names_and_no_other(
    tmp_path: Path, machine: str, ldd: str, is_built: bool
) -> None:
    dockerfile = (CHECKOUT / "docker" / "Dockerfile").read_text()
    (check,) = re.findall(r"^RUN (case .*?\n +esac)$", dockerfile, re.MULTILINE | re.DOTALL)
    for name, line in (("uname", machine), ("ldd", ldd)):
        program_ = tmp_path / name
        program_.write_text(f"#!/bin/sh\necho '{line}'\n")
        program_.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", check],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if is_built else 2)
    assert is_built or re.fullmatch(
        r"greyd: \S+ with this C library is not supported: .*Platforms\)\n", done.stderr
    )


# The page for packagers ---------------------------------------------------------------------------


def test_the_page_for_packagers_names_what_greyd_needs() -> None:
    page = (CHECKOUT / "docs" / "install.md").read_text()
    table = page.partition("## For packagers")[2].partition("\n## ")[0]
    row = r"^\| ([a-z0-9.-]+)[^|]*\| ([0-9.]+)[^|]*\|"
    told = dict(re.findall(row, table, re.MULTILINE))
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = dict(
        re.fullmatch(r"([a-z0-9.-]+)(?:\[.*\])?>=([0-9.]+).*", each).groups()  # type: ignore[union-attr]  # all are so written
        for each in project["dependencies"]
    )
    assert told == needed
