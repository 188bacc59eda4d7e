"""The simulated annotator, at work on a project through the plugin's own queue."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.active.queue import AUDIT_EVERY
from napari_neurobridge.benchmarks import effort
from napari_neurobridge.benchmarks.effort import (
    QUEUES,
    EffortParameters,
    EffortRequest,
    benchmark_effort,
)
from napari_neurobridge.benchmarks.effort_projects import TableField
from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.calibration import audits_of
from napari_neurobridge.project.folder import Project


@pytest.fixture(scope="module")
def pairs() -> PointPairs:
    """40 cells, lying another way than the gallery; five of the last ten have no partner."""
    rng = np.random.default_rng(3)
    gallery = rng.uniform(0, 180, (120, 3))
    partner = rng.choice(120, 40, replace=False)
    queries = gallery[partner][:, [2, 0, 1]] * 1.05 + rng.normal(0, 1, (40, 3))
    partner[30::2] = -1
    return PointPairs(queries, gallery, partner)


@pytest.fixture
def projects(monkeypatch: pytest.MonkeyPatch) -> list[Project]:
    """What annotators worked on, as it was when they were done."""
    seen: list[Project] = []
    monkeypatch.setattr(Project, "close", lambda project: seen.append(project))
    return seen


def test_every_queue_matches_the_cells_in_the_end(pairs):
    asked = EffortParameters(questions=6, draws=1, errors=0.0, queues=QUEUES)
    result = benchmark_effort(TableField(pairs), asked)
    assert [curve.queue for curve in result.results] == list(QUEUES)
    assert (result.n_queries, result.n_gallery) == (40, 120)
    for curve in result.results:
        assert curve.right[-1] > 0.9 > curve.right[0]
        assert curve.worst == curve.right


def test_the_default_is_what_the_plugin_asks_by(pairs, projects, monkeypatch):
    asked_by = []
    real = effort.questions_of

    def watched(project, match, strategy=None, **more):
        items = real(project, match, strategy, **more)
        asked_by.append((strategy, len(project.state().pairs), match, items[0]))
        return items

    monkeypatch.setattr(effort, "questions_of", watched)
    asked = EffortParameters(questions=11, draws=1, errors=0.0, queues=("default",))
    benchmark_effort(TableField(pairs), asked)
    assert all(strategy is None for strategy, *_ in asked_by)
    assert [item.audit for *_, item in asked_by] == [
        place % AUDIT_EVERY == AUDIT_EVERY - 1 for place in range(11)
    ]
    # From four pairs on it is the least certain cell, of all that wait.
    for _, accepted, match, item in asked_by:
        assert (item.uncertainty is not None) == (accepted >= 4 and not item.audit)
        assert (match is None) == (accepted == 0)
    (project,) = projects
    state = project.state()
    assert len(state.verdicts) == 11
    assert len(audits_of(state, "two_photon", "fmost")) == 2


def test_every_annotator_is_asked_in_another_order_and_errs_alike_by_seed(pairs):
    asked = EffortParameters(questions=4, draws=2, errors=0.5, queues=("default",))
    first, again = (benchmark_effort(TableField(pairs), asked).results[0] for _ in range(2))
    assert first.right == again.right
    assert first.worst != first.right


def test_wrong_answers_name_no_partner_that_is_taken(pairs, projects):
    asked = EffortParameters(questions=6, draws=1, errors=1.0, queues=("random",))
    benchmark_effort(TableField(pairs), asked)
    state = projects[0].state()
    assert len(state.pairs) + len(state.none) == 6
    assert not state.disputed


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"queues": ("luck",)}, "no queue luck; choose among default"),
        ({"questions": 41}, "40 cells to ask, not 41"),
        ({"questions": 0}, "questions"),
        ({"errors": 1.5}, "errors"),
    ],
)
def test_senseless_requests_are_refused(pairs, request_, says):
    with pytest.raises(InputError, match=says):
        benchmark_effort(TableField(pairs), EffortParameters(**request_))


def test_images_need_a_scene(monkeypatch):
    monkeypatch.setattr(EffortRequest, "encoder", lambda self: object())
    with pytest.raises(InputError, match="images need a scene"):
        effort.run(EffortRequest(images=True))
