"""Layers below the command line and the docks state facts; only those two say what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_neurobridge
from napari_neurobridge.cli import _remedies
from napari_neurobridge.errors import ErrorKind, InputError, InvalidActionError
from napari_neurobridge.workbench import remedies

PACKAGE = Path(napari_neurobridge.__file__).parent
# They speak to people in their own words.
FACES = ("cli", "workbench", "viewer", "widgets", "demo.py")
# Scripts that make the bundled models: they have options, and their cards quote the command.
SCRIPTS = {"training/bundled_encoder.py", "training/matcher_task.py", "training/matcher_card.py"}

FACE_WORDS = re.compile(
    r"(?<![\w-])--[a-z]{2,}|(?<!napari-)neurobridge [a-z]|\b[Dd]ocks?\b|\b[Pp]ress\b"
    r"|\bwith '(annotate|init|index|detect|match|train|export|models)'"
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Return all strings of a module but those that stand alone, which document."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documenting = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documenting
        ):
            yield node.lineno, node.value


def test_lower_layers_name_no_option_no_command_and_no_dock() -> None:
    named = [
        f"{name}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in [path.relative_to(PACKAGE).as_posix()]
        if not name.startswith(FACES) and name not in SCRIPTS
        for line, text in texts(path)
        if FACE_WORDS.search(text)
    ]
    assert named == []


@pytest.mark.parametrize("kind", ErrorKind)
def test_the_command_line_knows_a_remedy_of_each_kind(kind: ErrorKind) -> None:
    message = _remedies.explain(InputError("Something is amiss.", kind=kind))
    assert message == f"Something is amiss; {_remedies.REMEDIES[kind]}."


def test_each_face_speaks_its_own_words() -> None:
    error = InputError("The somata of 'fmost' are not indexed.", kind=ErrorKind.NOT_INDEXED)
    assert _remedies.explain(error).endswith("not indexed; run 'neurobridge index'.")
    assert remedies.explain(error).endswith("not indexed; press Index in the Data dock.")
    assert not any("neurobridge" in text or "--" in text for text in remedies.REMEDIES.values())
    assert not any("dock" in text for text in _remedies.REMEDIES.values())


def test_without_a_kind_the_facts_stand_alone() -> None:
    error = InvalidActionError("They are accepted.", forceable=True)
    assert error.forceable
    assert error.kind is None
    assert _remedies.explain(error) == remedies.explain(error) == "They are accepted."
