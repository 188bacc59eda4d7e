"""What the Insight dock shows, without a dock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.projects import ThumbnailEncoder, true_partner
from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.evaluation import Evaluation, Progress, compare_in_steps
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import ModelAdopted
from napari_neurobridge.workbench import insights as insights_module
from napari_neurobridge.workbench.insight_steps import (
    Subject,
    evaluate_subject_in_steps,
)
from napari_neurobridge.workbench.workbench import Workbench


@pytest.fixture
def workbench(loop: Loop, project: Project) -> Iterator[Workbench]:
    bench = Workbench(loop)
    bench.session.set_project(project)
    yield bench
    bench.close()


def _accept(project: Project, count: int) -> None:
    for uid in list(project.state().somata["two_photon"])[:count]:
        annotate.accept(project, uid, true_partner(uid), annotator="me", force=True)


def _evaluate(project: Project) -> Evaluation:
    *progress, evaluation = evaluate_subject_in_steps(
        project, ThumbnailEncoder(), Subject.of_project(project)
    )
    assert all(isinstance(step, Progress) for step in progress)
    assert isinstance(evaluation, Evaluation)
    return evaluation


def test_an_evaluation_says_how_often_partners_are_found(project: Project) -> None:
    _accept(project, 6)
    evaluation = _evaluate(project)
    matrix = evaluation.compared["thumbnail"]
    curve = evaluation.curves()["thumbnail"]
    found = [np.mean((matrix >= np.diag(matrix)[:, None]).sum(axis=1) <= k) for k in range(1, 7)]
    np.testing.assert_allclose(curve, found)
    assert curve[0] == evaluation.report.topk["1"]
    assert [side.shape for side in evaluation.map] == [(6, 2), (6, 2)]
    subject = Subject.of_project(project)
    assert [b.uid for _, b in subject.pairs] == [true_partner(a.uid) for a, _ in subject.pairs]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pairs_are_refused(project: Project, count: int) -> None:
    _accept(project, count)
    with pytest.raises(InputError, match=f"at least 2 accepted pairs, not {count}"):
        _evaluate(project)


def test_plain_measures_compare_the_same_crops(project: Project) -> None:
    from napari_neurobridge.training.plain_measures import PlainMeasure, plain_similarity

    _accept(project, 2)
    evaluation = _evaluate(project)
    *progress, compared = compare_in_steps(evaluation)
    assert list(compared.compared) == ["thumbnail", *PlainMeasure]
    assert [step.done for step in progress] == list(range(10))
    pairs = evaluation.pairs
    np.testing.assert_allclose(
        compared.compared["pearson"],
        plain_similarity(PlainMeasure.PEARSON, pairs.two_photon, pairs.fmost),
        atol=1e-5,
    )


def test_an_evaluation_is_outdated_by_a_pair_a_move_and_a_turn(
    workbench: Workbench, project: Project, loop: Loop
) -> None:
    insights = workbench.insights
    _accept(project, 3)
    insights.evaluate()
    loop.run_until(lambda: insights.evaluation is not None)
    assert not insights.is_outdated
    workbench.verdicts.undo()  # nothing of this hand's to undo
    assert not insights.is_outdated
    _accept(project, 4)
    assert insights.is_outdated

    insights.evaluate()
    loop.run_until(lambda: not insights.is_outdated)
    soma = insights.subject.pairs[0][0]
    workbench.verdicts.move_somata("two_photon", [soma.uid], [(1.0, 2.0, 3.0)])
    assert insights.is_outdated


def test_another_model_outdates_an_evaluation(
    workbench: Workbench, project: Project, loop: Loop
) -> None:
    insights = workbench.insights
    _accept(project, 3)
    insights.evaluate()
    loop.run_until(lambda: insights.evaluation is not None)
    assert not insights.is_outdated
    adopted = ModelAdopted(
        model="mine", model_kind="encoder", weights_hash="a" * 12, origin="project",
        software_version="1",
    )  # fmt: skip
    project.record("me", lambda _: [adopted])
    assert insights.is_outdated


def test_a_pair_that_is_asked_about_blindly_is_hidden(
    workbench: Workbench, project: Project, loop: Loop
) -> None:
    insights = workbench.insights
    _accept(project, 3)
    insights.evaluate()
    loop.run_until(lambda: insights.evaluation is not None)
    uid = insights.subject.pairs[1][0].uid
    workbench.questions.select("two_photon", uid)
    assert (insights.selected_row, insights.hidden_row) == (1, None)
    workbench.questions.select("two_photon", insights.subject.pairs[2][0].uid, audit=True)
    assert (insights.selected_row, insights.hidden_row) == (None, 2)


def test_rankings_slip_in_between_two_steps(
    workbench: Workbench, project: Project, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def endless(*_: Any) -> Iterator[Progress]:
        while True:
            asked.append(1)
            yield Progress(len(asked), 0, "working")

    monkeypatch.setattr(insights_module, "evaluate_subject_in_steps", endless)
    _accept(project, 2)
    workbench.insights.evaluate()
    loop.run_until(lambda: len(asked) > 3)
    workbench.questions.next_query()
    loop.run_until(lambda: workbench.questions.answer is not None)
    assert workbench.insights.progress is not None

    workbench.insights.cancel()
    assert workbench.insights.progress is None
    count = len(asked)
    answered: list[bool] = []
    workbench.session.jobs.submit("probe", lambda: True, answered.append, pytest.fail)
    loop.run_until(lambda: bool(answered))
    assert len(asked) <= count + 1, "only the step that was running was finished"


def test_an_evaluation_of_a_project_that_was_closed_is_dropped(
    workbench: Workbench, project: Project, loop: Loop
) -> None:
    _accept(project, 2)
    workbench.insights.evaluate()
    workbench.session.set_project(None)
    answered: list[bool] = []
    workbench.session.jobs.submit("probe", lambda: True, answered.append, pytest.fail)
    loop.run_until(lambda: bool(answered))
    assert workbench.insights.evaluation is None
    assert workbench.insights.progress is None


def test_the_pair_that_is_asked_about_is_known(
    workbench: Workbench, project: Project, loop: Loop
) -> None:
    insights = workbench.insights
    _accept(project, 3)
    insights.evaluate()
    loop.run_until(lambda: insights.evaluation is not None)
    assert insights.selected_row is None
    for fmost in (False, True):
        insights.select(2, fmost=fmost)
        assert workbench.questions.query.uid == insights.subject.pairs[2][fmost].uid
        assert insights.selected_row == 2
    workbench.questions.select("two_photon", workbench.questions.queue()[0].uid)
    uid = insights.subject.pairs[1][0].uid
    workbench.questions.select("two_photon", uid, audit=True)
    assert insights.selected_row is None, "its place beside its partner would tell"


@pytest.mark.parametrize("audit", [False, True])
def test_an_audit_is_explained_without_its_similarity(
    workbench: Workbench,
    project: Project,
    loop: Loop,
    monkeypatch: pytest.MonkeyPatch,
    audit: bool,
) -> None:
    from napari_neurobridge.insight import attention

    flat = np.zeros((150, 150), np.float32)
    maps = attention.AttentionMaps(*[flat] * 4, *[np.full(2, 0.5, np.float32)] * 2, similarity=0.5)
    monkeypatch.setattr(attention, "attention_maps", lambda *_: maps)
    uid = workbench.questions.queue()[0].uid
    workbench.questions.select("two_photon", uid, audit=audit)
    loop.run_until(lambda: workbench.questions.answer is not None)
    assert workbench.insights.can_explain is not audit, "nothing is picked in an audit"
    workbench.questions.choose(2)
    workbench.insights.explain()
    loop.run_until(lambda: workbench.insights.attention is not None)
    explained = workbench.insights.attention
    assert explained.candidate.uid == workbench.questions.choice.uid
    assert explained.maps.similarity == (None if audit else 0.5)


def test_evaluating_without_a_project_says_what_to_do(loop: Loop) -> None:
    bench = Workbench(loop)
    heard: list[str] = []
    bench.session.notified.connect(lambda notice: heard.append(notice.text))
    bench.insights.evaluate()
    bench.insights.explain()
    assert len(heard) == 2
    assert all("Data dock" in text for text in heard)
    bench.close()
