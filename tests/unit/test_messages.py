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
SCRIPTS = {
    "training/bundled_encoder.py",
    "training/encoder_card.py",
    "training/gccm_card.py",
    "training/command.py",
    "training/feature_card.py",
    "training/feature_task.py",
    "training/gccm_task.py",
    "training/left_out.py",
    "training/matcher_card.py",
    "training/matcher_task.py",
    "training/segmenter_card.py",
    "training/segmenter_task.py",
    "training/soma_pair_card.py",
    "training/semantic_task.py",
    "training/soma_pair_task.py",
}

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


OPTION_OR_COMMAND = re.compile(r"(?<![\w-])--[a-z]{2,}|(?<!napari-)\bneurobridge [a-z]+")
# Commands that docks run as child processes, whose errors they show. What orient refuses by the
# name of an option is about options that no dock gives.
RUN_BY_DOCKS = {"somata.py": "detect", "retrieval.py": "index", "export.py": "export"}
RUN_BY_DOCKS |= {"segmenter.py": "train_segmenter"}


def test_docks_name_no_option_and_no_command() -> None:
    """Arguments of child processes are single words; sentences are for people."""
    named = [
        f"{name}:{line}: {text}"
        for folder in ("workbench", "viewer", "widgets")
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for name in [path.relative_to(PACKAGE).as_posix()]
        for line, text in texts(path)
        if " " in text.strip() and OPTION_OR_COMMAND.search(text)
    ]
    assert named == []


def test_no_error_of_a_command_that_docks_run_names_an_option() -> None:
    named = []
    for name, command in RUN_BY_DOCKS.items():
        tree = ast.parse((PACKAGE / "cli" / name).read_text(encoding="utf-8"))
        functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
        for node in ast.walk(functions[command]):
            if isinstance(node, ast.Raise):
                named += [f"{name}: {t}" for t in _texts_in(node) if OPTION_OR_COMMAND.search(t)]
    assert named == []


def _texts_in(tree: ast.AST) -> list[str]:
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [node.value for node in constants if isinstance(node.value, str)]


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
