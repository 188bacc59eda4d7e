"""Random checks: a draw that nobody can choose, answers of its own, and an honest certificate."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.calibration import audits_of
from napari_neurobridge.matching.conformal import sets_from_audits
from napari_neurobridge.matching.matched_pairs import MatchedPair
from napari_neurobridge.matching.proportions import most_wrong
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.checks import draw_order
from napari_neurobridge.project.log.events import UndoScope, VerdictEvidence
from napari_neurobridge.project.log.judging import Judgement
from napari_neurobridge.types import SomaSource, Verdict
from napari_neurobridge.workflows.match import Claims
from napari_neurobridge.workflows.random_check import (
    Outcome,
    certify,
    draw_check,
    latest_certificate,
    outcomes,
    waiting_pairs,
    write_certificate,
)

N = 60


@pytest.fixture
def project(empty_project: Project) -> Project:
    for name in empty_project.datasets:
        annotate.add_somata(
            empty_project, name, [[0, 0, 20.0 * i] for i in range(N)], source=SomaSource.IMPORTED
        )
    return empty_project


@pytest.fixture
def claims(project: Project) -> Claims:
    sides = (list(project.state().somata[name]) for name in ("two_photon", "fmost"))
    return Claims(
        tuple(
            MatchedPair(one, other, 0.99 - 0.001 * row, 1.0, 5.0, False)
            for row, (one, other) in enumerate(zip(*sides, strict=True))
        ),
        expected_false=1.0,
    )


def draw(project: Project, claims: Claims, share: float = 0.05, seed: str | None = None):
    pairs = list(waiting_pairs(project.state(), claims).values())
    return draw_check(project, pairs, share, fdr=0.05, annotator="me", seed=seed)


def answer(project: Project, check, verdicts, annotator: str = "me") -> None:
    evidence = VerdictEvidence(audit=True, check=check.event_id, first_uid="fm-1",
                               first_probability=0.9, mass_above=0.5)  # fmt: skip
    annotate.judge_together(
        project,
        [
            Judgement(verdict, *pair, evidence=evidence)
            for pair, verdict in zip(check.drawn, verdicts, strict=False)
        ],
        annotator=annotator,
    )


def now(project: Project):
    return certify(project.state().checks[-1], project.state())


def test_the_least_certain_pair_comes_first_and_judged_ones_not_at_all(project, claims):
    pairs = list(waiting_pairs(project.state(), claims))
    assert pairs[0] == (claims.pairs[-1].in_vivo_uid, claims.pairs[-1].ex_vivo_uid)
    annotate.unsure(project, *pairs[0])
    annotate.accept(project, *pairs[1])
    assert list(waiting_pairs(project.state(), claims)) == pairs[2:]


def test_a_draw_is_what_its_seed_says_and_is_kept(project, claims):
    first = draw(project, claims, seed="a")
    assert draw(project, claims, seed="a").drawn == first.drawn
    assert draw(project, claims, seed="b").drawn != first.drawn
    assert len(set(first.drawn)) == first.content.n < N
    reopened = Project.open(project.path)
    assert reopened.state().checks[0].drawn == first.drawn
    reopened.close()


def test_every_pair_is_drawn_as_often_as_any_other():
    pairs = [(f"tp-{i}", f"fm-{i}") for i in range(10)]
    counts = Counter(pair for seed in range(2000) for pair in draw_order(pairs, str(seed))[:3])
    # 600 of 2000 each; five standard deviations.
    assert all(abs(counts[pair] - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5 for pair in pairs)


def test_nothing_is_certified_before_the_end(project, claims):
    check = draw(project, claims)
    answer(project, check, [Verdict.ACCEPT] * (check.content.n - 1))
    half = now(project)
    assert (half.complete, half.most_wrong, half.n_answered) == (False, None, check.content.n - 1)
    assert f"{check.content.n - 1} of {check.content.n} looked at" in half.in_words()
    with pytest.raises(InputError, match="no finished random check"):
        latest_certificate(project)


def test_all_right_certifies_what_was_wanted(project, claims):
    check = draw(project, claims)
    answer(project, check, [Verdict.ACCEPT] * check.content.n)
    found = latest_certificate(project)
    assert found.reached
    assert found.in_words() == (
        f"At most 5 % of the 60 remaining pairs wrong (95 % confidence): {check.content.n} "
        "audited, none wrong."
    )


def test_errors_raise_the_bound_and_doubt_counts_as_one(project, claims):
    check = draw(project, claims)
    n = check.content.n
    answer(project, check, [Verdict.REJECT, Verdict.UNSURE] + [Verdict.ACCEPT] * (n - 2))
    found = now(project)
    assert found.n_wrong == 2
    assert found.most_wrong == most_wrong(2, n, N)
    assert not found.reached


def test_who_changes_an_answer_does_not_better_the_certificate(project, claims):
    check = draw(project, claims)
    n = check.content.n
    answer(project, check, [Verdict.REJECT] + [Verdict.ACCEPT] * (n - 1))
    annotate.accept(project, *check.drawn[0], annotator="me")
    assert now(project).n_wrong == 1
    annotate.reject(project, *check.drawn[1], annotator="somebody")
    assert outcomes(project.state().checks[0], project.state())[check.drawn[1]] is Outcome.CHANGED
    assert now(project).n_wrong == 2


def test_what_cannot_be_asked_any_more_counts_as_wrong(project, claims):
    check = draw(project, claims)
    (one, other), (gone, _), *_ = check.drawn
    partner = next(
        u for u in project.state().somata["fmost"] if u not in dict(check.drawn).values()
    )
    annotate.accept(project, one, partner)
    annotate.delete_soma(project, gone)
    answered = [pair for pair in check.drawn if pair not in ((one, other), check.drawn[1])]
    evidence = VerdictEvidence(audit=True, check=check.event_id)
    for pair in answered:
        annotate.accept(project, *pair, evidence=evidence)
    found = now(project)
    assert found.complete
    assert found.n_wrong == 2


def test_its_answers_are_not_those_of_the_queues_audits(project, claims):
    """They were chosen for being probable: what learns from audits must not see them."""
    check = draw(project, claims)
    answer(project, check, [Verdict.ACCEPT] * check.content.n)
    assert audits_of(project.state(), "two_photon", "fmost") == []
    assert sets_from_audits(project.state(), "two_photon", "fmost").n == 0


def test_a_page_of_answers_is_undone_at_once_and_the_draw_is_not(project, claims):
    check = draw(project, claims)
    answer(project, check, [Verdict.ACCEPT] * 20)
    annotate.undo(project, "me", scope=UndoScope.HAND)
    assert now(project).n_answered == 0
    annotate.redo(project, "me", scope=UndoScope.HAND)
    assert now(project).n_answered == 20
    annotate.undo(project, "me", scope=UndoScope.HAND)
    with pytest.raises(InputError, match="nothing"):
        annotate.undo(project, "me", scope=UndoScope.HAND)


def test_it_is_written_for_programs_and_for_people(project, claims, tmp_path):
    check = draw(project, claims)
    answer(project, check, [Verdict.ACCEPT] * check.content.n)
    found = latest_certificate(project)
    told = json.loads(write_certificate(found, tmp_path / "c.json").read_text())
    assert (told["seed"], told["most_wrong"]) == (check.content.seed, found.most_wrong)
    assert "crops" in told["limits"]
    with write_certificate(found, tmp_path / "c.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["two_photon_uid"], row["fmost_uid"]) for row in rows] == list(check.drawn)
    assert {row["outcome"] for row in rows} == {"right"}
    for suffix in ("png", "pdf"):
        assert write_certificate(found, tmp_path / f"c.{suffix}").stat().st_size > 1000
    with pytest.raises(InputError, match="not as"):
        write_certificate(found, Path("c.docx"))


def test_nothing_left_is_nothing_to_draw_from(project):
    with pytest.raises(InputError, match="No claimed pair"):
        draw_check(project, [], 0.02, fdr=0.05)
