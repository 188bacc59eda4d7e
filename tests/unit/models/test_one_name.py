"""Nobody but the package of models names the bundled model."""

from __future__ import annotations

import ast
from pathlib import Path

import napari_neurobridge

SOURCES = Path(napari_neurobridge.__file__).parent
NAMES = {"DEFAULT_MODEL", "DEFAULT_MATCHER", "'compact'"}
# The recipe of the bundled model says what it makes.
MAKES_IT = {("training/encoder_task.py", "'compact'")}


def modules() -> list[str]:
    files = (path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.py"))
    return sorted(file for file in files if not file.startswith("models/"))


def test_no_module_outside_models_names_the_bundled_model() -> None:
    assert modules()
    found = {
        (module, word)
        for module in modules()
        for word in words(SOURCES / module)
        if word in NAMES and (module, word) not in MAKES_IT
    }
    assert not found


def words(path: Path) -> set[str]:
    """Return names and imported names of a module, and its strings with quotes around them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Name(id=word) | ast.Attribute(attr=word) | ast.alias(name=word):
                found.add(word)
            case ast.Constant(value=str(word)):
                found.add(repr(word))
    return found
