"""Candidate sets with a stated coverage."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.conformal import fit_conformal, sets_from_audits
from napari_neurobridge.matching.posterior import Posterior
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import VerdictEvidence


def world(n: int, seed: int, *, honest: bool, k: int = 8) -> tuple[Posterior, np.ndarray]:
    """Posteriors, and truths drawn from them or from something much flatter."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.r_[np.full(k, 0.15), 0.3, 0.05], n)
    order = np.argsort(-shares[:, :k], axis=1)
    rows = np.arange(k)[None] + 100 * np.arange(n)[:, None]
    weight = shares if honest else shares**0.3
    weight = weight / weight.sum(axis=1, keepdims=True)
    column = (weight.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    partner = np.where(column < k, column + 100 * np.arange(n), np.where(column == k, -1, 10**6))
    listed = np.take_along_axis(shares[:, :k], order, axis=1)
    rows = np.take_along_axis(rows, order, axis=1)
    return Posterior(rows, listed, shares[:, k], shares[:, k + 1]), partner


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_sets_cover_what_they_say_even_if_probabilities_do_not(honest, coverage):
    covered = []
    for split in range(30):
        rule = fit_conformal(*world(400, 2 * split, honest=honest), coverage=coverage)
        asked, truth = world(400, 2 * split + 1, honest=honest)
        covered.append(rule.sets(asked).covers(asked.rows, truth).mean())
    assert np.mean(covered) == pytest.approx(coverage, abs=0.015)


def test_membership_equals_a_loop_over_sorted_answers():
    known, truth = world(200, 0, honest=True)
    rule = fit_conformal(known, truth)
    asked, _ = world(40, 1, honest=True)
    sets = rule.sets(asked, seed=5)
    luck = np.random.default_rng([5, 1]).random((40, 1))[:, 0]
    for row in range(40):
        shares = [*asked.probability[row], asked.none[row], asked.beyond[row]]
        member = [*sets.listed[row], sets.none[row], sets.beyond[row]]
        mass = 0.0
        for answer in np.argsort(-np.array(shares), kind="stable"):
            expected = mass + (1 - luck[row]) * shares[answer] <= rule.threshold
            assert member[answer] == expected
            mass += shares[answer]
        assert sets.size[row] == sum(member)


def test_a_set_is_never_empty_when_asked_so():
    known, truth = world(400, 0, honest=True)
    rule = fit_conformal(known, truth, coverage=0.3)
    assert (rule.sets(known).size == 0).any()
    filled = rule.sets(known, at_least_one=True)
    assert (filled.size >= 1).all()
    assert (
        filled.covers(known.rows, truth).mean() >= rule.sets(known).covers(known.rows, truth).mean()
    )


def test_too_few_queries_exclude_nothing():
    known, truth = world(5, 0, honest=True)
    asked, _ = world(10, 1, honest=True)
    sets = fit_conformal(known, truth, coverage=0.9).sets(asked)
    assert (sets.size == asked.rows.shape[1] + 2).all()


def test_nonsense_is_refused():
    known, truth = world(5, 0, honest=True)
    with pytest.raises(InputError, match="truth of each"):
        fit_conformal(known, truth[:3])
    with pytest.raises(InputError, match="coverage"):
        fit_conformal(known, truth, coverage=1.0)


def test_thirty_audits_make_the_rule_and_fewer_do_not(points_world, tmp_path):
    project = points_world.project(tmp_path / "p.neurobridge")
    masses = np.random.default_rng(2).uniform(0, 0.6, 40).round(3)
    for number, (two_photon, fmost) in enumerate(points_world.some(40)):
        evidence = VerdictEvidence(audit=True, mass_above=float(masses[number]))
        annotate.accept(project, two_photon, fmost, annotator="me", evidence=evidence)
        if number == 28:
            rule = sets_from_audits(project.state(), "two_photon", "fmost")
            assert (rule.n, rule.threshold) == (0, 0.9)
    rule = sets_from_audits(project.state(), "fmost", "two_photon", 0.9)
    assert rule.n == 40
    assert rule.threshold == np.sort(masses)[36]  # ceil(0.9 * 41) - 1
    assert rule.holds(0.0)
    assert not rule.holds(0.7)
    assert sets_from_audits(project.state(), "fmost", "moon").n == 0


def test_other_questions_than_audits_say_nothing(points_world, tmp_path):
    project = points_world.project(tmp_path / "p.neurobridge")
    for two_photon, fmost in points_world.some(35):
        evidence = VerdictEvidence(audit=False, mass_above=0.3)
        annotate.accept(project, two_photon, fmost, annotator="me", evidence=evidence)
    assert sets_from_audits(project.state(), "two_photon", "fmost").n == 0
