"""No module needs itself: imports form no circle, not even one that is closed in a function."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_neurobridge

PACKAGE = Path(napari_neurobridge.__file__).parent
ROOT = PACKAGE.name


def statements(node: ast.AST, *, in_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that run, without those for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            otherwise = ast.Module(child.orelse, type_ignores=[])
            yield from statements(otherwise, in_functions=in_functions)
        elif in_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(child, in_functions=in_functions)


def names(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Yield what a statement may import, modules and what is in them alike."""
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif statement.module is not None:
        yield statement.module
        yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def graph_of(package: Path) -> dict[str, set[str]]:
    """Return the modules of a package that each of its modules imports."""
    files = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # The package itself offers its public names late, from modules that know its version.
        found = statements(tree, in_functions=module != package.name)
        imported = {name for statement in found for name in names(statement)}
        graph[module] = (imported & files.keys()) - {module}
        # `from package.room import module` runs the room, too, but needs nothing of it.
        graph[module] -= {name for name in graph[module] if _is_only_a_room(name, imported, files)}
    return graph


def _is_only_a_room(name: str, imported: set[str], files: dict[str, Path]) -> bool:
    inside = {other for other in imported if other.rpartition(".")[0] == name}
    return bool(inside) and inside <= files.keys()


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of one circle, in order; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_there_is_no_circle() -> None:
    graph = graph_of(PACKAGE)
    assert len(graph) > 200
    project = graph[f"{ROOT}.project.folder"]
    assert f"{ROOT}.project.store" in project, "imports are found at all"
    assert circle_in(graph) == []


@pytest.mark.parametrize(
    ("one", "other", "closed"),
    [
        ("from room import other", "from room.one import thing", True),
        ("def f():\n    import room.other", "import room.one", True),
        ("from room.other import thing", "import math", False),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import room.other",
            "import room.one",
            False,
        ),
    ],
)
def test_a_circle_is_found(tmp_path: Path, one: str, other: str, closed: bool) -> None:
    folder = tmp_path / "room"
    folder.mkdir()
    for name, code in (("__init__", ""), ("one", one), ("other", other)):
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    found = circle_in(graph_of(folder))
    assert bool(found) is closed
    assert set(found) == ({"room.one", "room.other"} if closed else set())
