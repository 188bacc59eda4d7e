"""Views draw from the blinded snapshot: none of their modules reads what the program thinks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_neurobridge

PACKAGE = Path(napari_neurobridge.__file__).parent
VIEWS = sorted(path for room in ("widgets", "viewer") for path in (PACKAGE / room).rglob("*.py"))

SCORES = frozenset(
    # of a candidate, of a pair, and of a ranking
    {"probability", "similarity", "residual_um", "score_um", "in_set", "rank"}
    | {"ranking", "p_none", "none_in_set", "expected"}
    # of the question before it is blinded, and of the match of all cells
    | {"answer", "choice", "partners", "judge", "expect"}
)
OPEN = {
    "questions": frozenset(
        {"snapshot", "snapshot_changed", "look_requested", "progress", "select", "click"}
        | {"choose", "next_query", "flicker", "look_deeper"}
    ),
    # Counts over all cells, which say nothing about the one that is asked about.
    "matches": frozenset(
        {"match_changed", "claims_changed", "has_match", "updating", "problem", "notes"}
        | {"n_changed", "claims", "fdr", "set_fdr", "decoys", "check_decoys", "agreement"}
        | {"find_start", "save_pairs", "n_doubtful", "is_aligned"}
        | {"next_cut", "again", "cancelled", "checking"}
    ),
}
"""What views may use of the workbench's two parts that know scores."""

TYPES = frozenset({"Answer", "Candidate", "Judged", "Match", "MatchedPair", "Ranking"})


def _reads(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(part) | ast.Attribute(attr=part), attr=name) if (
                name not in OPEN.get(part, {name})
            ):
                yield f"{part}.{name}"
            case ast.Attribute(attr=name) if name in SCORES:
                yield name
            case ast.ImportFrom(names=names):
                yield from (one.name for one in names if one.name in TYPES)
            case ast.Call(func=ast.Name("getattr"), args=[_, ast.Constant(str(name)), *_]):
                yield from {name} & SCORES


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_view_reads_scores_but_from_the_snapshot(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    read = set(_reads(path))
    assert not read, f"{name} reads {', '.join(sorted(read))}; draw from QuestionSnapshot instead"


@pytest.mark.parametrize(
    "source",
    [
        "shown = workbench.questions.answer",
        "changed = self._workbench.matches.changed",
        "text = str(candidate.probability)",
        "if self._workbench.matches.match is None: pass",
        "from napari_neurobridge.types import Ranking",
        "getattr(candidate, 'residual_um')",
    ],
)
def test_a_reading_view_is_found(source: str, tmp_path: Path) -> None:
    path = tmp_path / "view.py"
    path.write_text(source)
    assert set(_reads(path))
