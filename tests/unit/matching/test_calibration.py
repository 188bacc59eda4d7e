"""Probabilities that mean what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.calibration import (
    FEWEST_AUDITS,
    Audit,
    Calibration,
    audits_of,
    claimable,
    expected_false,
    fit_calibration,
    measure_calibration,
    reliability,
)
from napari_neurobridge.matching.posterior import Posterior
from napari_neurobridge.project.log.events import Event, VerdictEvidence, VerdictGiven
from napari_neurobridge.project.log.fold import fold
from napari_neurobridge.types import Role, Verdict

probabilities = st.lists(st.floats(0, 1), max_size=12).map(np.array)


def outcomes(n: int, slope: float, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """What a program says whose log odds are wrong by a straight line."""
    rng = np.random.default_rng(0)
    said = rng.uniform(0.02, 0.98, n)
    return said, rng.random(n) < expit(slope * logit(said) + offset)


def some_posterior(seed: int, n: int = 30, k: int = 6) -> Posterior:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(k + 2, 0.3), n)
    rows = np.argsort(rng.random((n, 40)), axis=1)[:, :k]
    return Posterior(rows, -np.sort(-shares[:, :k], axis=1), shares[:, k], shares[:, k + 1])


@given(probabilities, st.floats(0, 1))
def test_claims_are_the_most_that_keep_the_rate(confidence, fdr):
    chosen = claimable(confidence, fdr)
    n = int(chosen.sum())
    if n:
        assert expected_false(confidence[chosen]) <= fdr * n + 1e-9
    # One more would break the rate, and nothing left out is surer than what is in.
    best = np.sort(confidence)[::-1]
    if n < len(best):
        assert expected_false(best[: n + 1]) > fdr * (n + 1) - 1e-9
        assert n == 0 or confidence[chosen].min() >= confidence[~chosen].max()


def test_numbers_that_are_no_probabilities_are_refused():
    for bad in ([1.2], [-0.1], [np.nan]):
        with pytest.raises(InputError, match="between 0 and 1"):
            claimable(bad, 0.05)
    with pytest.raises(InputError, match="false discovery rate"):
        claimable([0.5], 1.5)


@given(
    st.floats(0.2, 4),
    st.floats(-3, 3),
    st.integers(0, 20),
)
def test_recalibrated_posteriors_still_add_up_and_keep_their_order(slope, offset, seed):
    before = some_posterior(seed)
    calibration = Calibration(slope, offset)
    after = calibration.recalibrated(before)
    total = after.probability.sum(axis=1) + after.none + after.beyond
    np.testing.assert_allclose(total, 1)
    np.testing.assert_allclose(after.confidence, calibration.apply(before.confidence))
    assert (np.diff(after.probability, axis=1) <= 1e-12).all()
    assert min(after.probability.min(), after.none.min(), after.beyond.min()) >= 0
    np.testing.assert_array_equal(after.rows, before.rows)


def test_no_calibration_changes_nothing():
    before = some_posterior(1)
    assert Calibration().recalibrated(before) is before
    np.testing.assert_allclose(Calibration().apply([0.0, 0.3, 1.0]), [0, 0.3, 1], atol=1e-8)


def test_certain_answers_can_be_doubted():
    sure = Posterior(np.array([[3, 1]]), np.array([[1.0, 0.0]]), np.zeros(1), np.zeros(1))
    after = Calibration(0.2, -1.0).recalibrated(sure)
    assert after.confidence[0] < 0.99
    assert after.probability.sum() + after.none[0] == pytest.approx(1)


def test_calibration_finds_what_distorts():
    said, right = outcomes(20_000, slope=0.5, offset=1.0)
    found = measure_calibration(said, right)
    assert (found.slope, found.offset) == pytest.approx((0.5, 1.0), abs=0.06)
    before, after = reliability(said, right), reliability(found.apply(said), right)
    assert before.error > 0.1
    assert after.error < 0.02
    assert after.log_score > before.log_score


def test_audits_count_only_from_enough_on_and_shrink_to_what_is_known():
    known = Calibration(1.2, 0.3)
    said, right = outcomes(200, slope=0.5, offset=-2.0)
    audits = [Audit(p, bool(r)) for p, r in zip(said, right, strict=True)]
    few = fit_calibration(audits[: FEWEST_AUDITS - 1], known)
    assert (few.slope, few.offset, few.source) == (1.2, 0.3, "none")
    assert few.n_audits == FEWEST_AUDITS - 1
    some = fit_calibration(audits[:FEWEST_AUDITS], known)
    many = fit_calibration(audits, known)
    assert some.source == many.source == "audits"
    # The more audits, the farther from the prior and the nearer to the truth.
    assert -2.0 < many.offset < some.offset < known.offset
    assert 0.4 < many.slope < known.slope


def test_audits_that_are_all_right_give_no_certainty():
    all_right = fit_calibration([Audit(0.9, True)] * 40)
    assert 0.9 < all_right.apply(0.9) < 0.999


def test_reliability_equals_a_count_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.55, 1.0])
    right = np.array([True, True, True, False, True])
    found = reliability(confidence, right)
    assert found.error == pytest.approx((2 * 0.05 + 3 * (1 - 2.9 / 3)) / 5)
    assert [(b.low, b.n) for b in found.bins] == [(0.5, 2), (0.9, 3)]
    assert found.log_score == pytest.approx((2 * np.log(0.95) + np.log(0.55) + np.log(0.45)) / 5)
    assert found.base_log_score == pytest.approx(0.8 * np.log(0.8) + 0.2 * np.log(0.2))
    with pytest.raises(InputError, match="at least one claim"):
        reliability([], [])


@pytest.fixture
def judged() -> Callable[..., list[Audit]]:
    """Audits of a log of (verdict, query, candidate, annotator, evidence)."""

    def audits(*answers: tuple, datasets=("two_photon", "fmost")) -> list[Audit]:
        events = []
        for number, (kind, query, candidate, annotator, evidence) in enumerate(answers):
            content = VerdictGiven(
                verdict=kind,
                query_uid=query,
                query_dataset="two_photon",
                query_role=Role.IN_VIVO,
                candidate_uid=candidate,
                candidate_dataset=candidate and "fmost",
                candidate_role=candidate and Role.EX_VIVO,
                evidence=VerdictEvidence(**evidence),
                software_version="0",
            )
            time = f"2026-01-01T00:00:{number:02d}.000000+00:00"
            events.append(
                Event(
                    id=f"{number:032x}",
                    time=time,
                    annotator=annotator,
                    sequence=number + 1,
                    kind=content.kind,
                    version=content.version,
                    payload=content.model_dump(mode="json"),
                )
            )
        return audits_of(fold(events), *datasets)

    return audits


FIRST = {"audit": True, "first_uid": "f1", "first_probability": 0.8}


def test_audits_say_whether_the_first_candidate_was_right(judged):
    found = judged(
        (Verdict.ACCEPT, "t1", "f1", "anna", FIRST),
        (Verdict.ACCEPT, "t2", "f2", "anna", FIRST),
        (Verdict.NONE, "t3", None, "anna", FIRST),
        (Verdict.REJECT, "t4", "f1", "anna", FIRST),
    )
    assert [audit.right for audit in found] == [True, False, False, False]
    assert {audit.probability for audit in found} == {0.8}


def test_what_is_no_answer_is_no_audit(judged):
    assert not judged(
        (Verdict.UNSURE, "t1", "f1", "anna", FIRST),
        (Verdict.REJECT, "t2", "f2", "anna", FIRST),
        (Verdict.ACCEPT, "t3", "f1", "anna", {**FIRST, "audit": False}),
        (Verdict.ACCEPT, "t4", "f4", "anna", {"audit": True}),
    )


def test_a_query_counts_once_for_each_annotator(judged):
    found = judged(
        (Verdict.REJECT, "t1", "f2", "anna", FIRST),
        (Verdict.ACCEPT, "t1", "f1", "anna", FIRST),
        (Verdict.NONE, "t1", None, "ben", FIRST),
    )
    assert [audit.right for audit in found] == [True, False]


def test_other_datasets_are_left_out(judged):
    answer = (Verdict.ACCEPT, "t1", "f1", "anna", FIRST)
    assert judged(answer) == [Audit(0.8, True)]
    assert judged(answer, datasets=("two_photon", "stack")) == []
