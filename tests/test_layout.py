"""The tree: what a newcomer finds in it."""

from __future__ import annotations

import ast
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from tests.commands import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

MAX_MODULE_LINES = 450
MAX_PACKAGE_LINES = 2500

MODULES = sorted((CHECKOUT / "greyd").rglob("*.py"))
PACKAGES = sorted({module.parent for module in MODULES})


def line_count(module: Path) -> int:
    return len(module.read_text().splitlines())


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_a_package_can_be_read_in_an_afternoon(package: Path) -> None:
    lines = {module: line_count(module) for module in package.glob("*.py")}
    assert {name_of(m): n for m, n in lines.items() if n > MAX_MODULE_LINES} == {}
    assert sum(lines.values()) <= MAX_PACKAGE_LINES


def test_a_class_name_means_one_thing() -> None:
    places = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(module))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_limits_are_called_max_and_min() -> None:
    names = chain.from_iterable(
        (node.id for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Name))
        for module in MODULES
    )
    old = ("MOST_", "LEAST_", "LONGEST_", "LARGEST_", "SMALLEST_")
    assert {name for name in names if name.lstrip("_").startswith(old)} == set()
