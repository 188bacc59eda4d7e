"""What is supposed is what the verdict then does, and is written nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.project.log.supposing import suppose
from napari_neurobridge.types import SomaSource, Verdict


@pytest.fixture
def uids(empty_project: Project) -> tuple[list[str], list[str]]:
    """Three somata on each side; the first pair is accepted, the second rejected by another."""
    places = [(0.0, 0.0, float(x)) for x in range(0, 90, 30)]
    sides = [
        [
            soma.uid
            for soma in annotate.add_somata(
                empty_project, name, places, source=SomaSource.IMPORTED, annotator="me"
            )
        ]
        for name in ("two_photon", "fmost")
    ]
    here, there = sides
    annotate.accept(empty_project, here[0], there[0], annotator="me")
    annotate.reject(empty_project, here[1], there[1], annotator="another")
    annotate.none(empty_project, here[2], annotator="me")
    return here, there


def _said(project: Project) -> tuple[object, ...]:
    state = project.state()
    verdicts = {(v.annotator, v.pair, v.query_uid, v.verdict) for v in state.verdicts}
    return verdicts, dict(state.agreed), state.disputed, dict(state.none)


@pytest.mark.parametrize(
    ("query", "candidate"),
    [(0, 1), (0, 0), (1, 1), (1, 2), (2, 2), (2, 0), (0, None), (1, None), (2, None)],
    ids=str,
)
def test_a_supposed_verdict_says_what_it_would(empty_project, uids, query, candidate) -> None:
    here, there = uids
    before, position = _said(empty_project), empty_project.log.position()
    partner = None if candidate is None else there[candidate]
    verdict = Verdict.NONE if partner is None else Verdict.ACCEPT
    supposed = suppose(empty_project, Judgement(verdict, here[query], partner), "me")
    assert (empty_project.log.position(), _said(empty_project)) == (position, before)
    if partner is None:
        annotate.none(empty_project, here[query], annotator="me")
    else:
        annotate.accept(empty_project, here[query], partner, annotator="me", force=True)
    after = _said(empty_project)
    state = empty_project.state()
    verdicts = {(v.annotator, v.pair, v.query_uid, v.verdict) for v in supposed.verdicts}
    assert (verdicts, supposed.agreed, supposed.disputed, supposed.none) == after
    kept = ("verdicts", "agreed", "disputed", "none", "histories")
    same = {name: getattr(state, name) for name in kept}
    assert replace(supposed, **same) == state, "nothing else is another"


def test_what_cannot_be_said_cannot_be_supposed(empty_project, uids) -> None:
    here, _ = uids
    with pytest.raises(InputError, match="both lie in"):
        suppose(empty_project, Judgement(Verdict.ACCEPT, here[0], here[1]), "me")
