"""Which pairs of a project are for what: audits, rejections and overlapping crops."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence
from napari_neurobridge.training.splits import Separation
from napari_neurobridge.types import SomaSource
from napari_neurobridge.workflows import training_set
from napari_neurobridge.workflows.training_set import plan_training

N = 60
FIELD_UM = (100.0, 1200.0, 1200.0)
AUDIT = VerdictEvidence(audit=True)


@pytest.fixture
def wide_project(empty_project: Project) -> Project:
    """A project of points whose field is wide, without verdicts; equal numbers are partners."""
    places = np.random.default_rng(5).uniform(0, 1, (N, 3)) * FIELD_UM
    for name in empty_project.datasets:
        annotate.add_somata(
            empty_project, name, places, source=SomaSource.IMPORTED, annotator="fixture"
        )
    return empty_project


def sides(project: Project) -> list[tuple[str, str]]:
    one, two = (sorted(project.state().somata[name]) for name in ("two_photon", "fmost"))
    return list(zip(one, two, strict=True))


def accept(project: Project, rows: range, evidence: VerdictEvidence | None = None) -> None:
    uids = sides(project)
    for row in rows:
        annotate.accept(project, *uids[row], annotator="me", evidence=evidence or VerdictEvidence())


def uids_of(plan: training_set.TrainingPlan, rows: np.ndarray) -> set[str]:
    return {plan.pairs[row][0].uid for row in rows}


def test_random_checks_are_never_learned_and_lie_in_the_test_part_or_apart(
    wide_project: Project,
) -> None:
    accept(wide_project, range(40))
    accept(wide_project, range(40, 52), AUDIT)
    plan = plan_training(wide_project)
    audits = {uid for uid, _ in sides(wide_project)[40:52]}
    assert plan.split.separation is Separation.BLOCKS
    assert not audits & uids_of(plan, plan.split.train)
    assert not audits & uids_of(plan, plan.split.validation)
    held = uids_of(plan, plan.split.test) | uids_of(plan, plan.split.audits)
    assert audits <= held


def test_rejected_candidates_are_learned_where_their_crops_show_nothing_of_the_test_part(
    wide_project: Project,
) -> None:
    accept(wide_project, range(50))
    plan = plan_training(wide_project)
    uids = sides(wide_project)
    by_uid = {uid: row for row, (uid, _) in enumerate(uids)}
    train = [by_uid[uid] for uid in uids_of(plan, plan.split.train)]
    test = [by_uid[uid] for uid in uids_of(plan, plan.split.test)]
    one, other, third, far = train[0], train[1], train[2], test[0]
    for query, candidate in ((one, other), (far, one), (one, far)):
        annotate.reject(wide_project, uids[query][0], uids[candidate][1], annotator="me")
    # A random check teaches nothing, and what somebody accepts is no negative.
    annotate.reject(wide_project, uids[third][0], uids[one][1], annotator="me", evidence=AUDIT)
    again = plan_training(wide_project)
    assert [(a.uid, b.uid) for a, b in again.rejected] == [(uids[one][0], uids[other][1])]
    annotate.accept(wide_project, uids[one][0], uids[other][1], annotator="you", force=True)
    now = {(a.uid, b.uid) for a, b in plan_training(wide_project).rejected}
    assert (uids[one][0], uids[other][1]) not in now


def test_free_labels_are_claims_of_cells_that_nobody_judged_clear_of_the_other_parts(
    wide_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(wide_project, range(50))
    uids = sides(wide_project)
    state = wide_project.state()
    claims = tuple(
        (state.soma(one), state.soma(two)) for one, two in [uids[52], uids[55], uids[59]]
    )
    monkeypatch.setattr(training_set, "_claimed_from_places", lambda *_: claims)
    plan = plan_training(wide_project, free_labels=True)
    held = np.concatenate([plan.split.test, plan.split.validation])
    places = np.array([plan.pairs[row][0].center_um for row in held])
    expected = [
        one.uid
        for one, _ in claims
        if np.abs(places[:, 1:] - one.center_um[1:]).max(axis=1).min() >= 120
    ]
    assert [one.uid for one, _ in plan.free] == expected
    assert plan_training(wide_project).free == ()


def test_claims_from_places_name_no_cell_that_somebody_judged(wide_project: Project) -> None:
    accept(wide_project, range(30))
    uids = sides(wide_project)
    annotate.reject(wide_project, uids[35][0], uids[36][1], annotator="me")
    free = training_set._claimed_from_places(wide_project, None)
    assert len(free) > 10  # both sides are the same points
    named = {soma.uid for pair in free for soma in pair}
    judged = {uid for row in range(30) for uid in uids[row]} | {uids[35][0], uids[36][1]}
    assert not named & judged
    right = sum((one.uid, two.uid) in set(uids) for one, two in free)
    assert right == len(free)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_pairs_are_refused_in_a_sentence(wide_project: Project, n: int) -> None:
    accept(wide_project, range(n))
    uids = sides(wide_project)
    annotate.reject(wide_project, uids[10][0], uids[11][1], annotator="me")  # teaches nothing alone
    with pytest.raises(InputError, match=f"at least 6 pairs and there are {n}"):
        plan_training(wide_project)


def test_random_checks_alone_teach_nothing(wide_project: Project) -> None:
    accept(wide_project, range(3))
    accept(wide_project, range(3, 20), AUDIT)
    with pytest.raises(InputError, match="at least 4 pairs that answer no random check"):
        plan_training(wide_project)
