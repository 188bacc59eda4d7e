"""One class, one name: a reader who searches for a class finds one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import napari_neurobridge

PACKAGE = Path(napari_neurobridge.__file__).parent

# Name: why two classes may share it.
ALLOWED: dict[str, str] = {}


def classes() -> dict[str, list[str]]:
    """Return the modules in which a class of each name is defined, functions included."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module)
    return found


def test_no_two_classes_share_a_name() -> None:
    shared = {name: modules for name, modules in classes().items() if len(modules) > 1}
    assert {name: modules for name, modules in shared.items() if name not in ALLOWED} == {}


def test_no_reason_is_left_over() -> None:
    assert [name for name in ALLOWED if len(classes().get(name, [])) < 2] == []
