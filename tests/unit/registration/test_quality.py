"""A registration is accepted on its evidence, or refused with the reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_neurobridge.registration.quality import AcceptanceCriteria, Evidence, decide

GOOD = Evidence(
    n_source=500,
    n_target=600,
    n_initial=300,
    n_verified=220,
    n_agreeing=200,
    inlier_ratio=0.7,
    coverage=0.8,
    coverage_cell_um=64.0,
    overlap=1.0,
    spread=0.9,
    kind="affine",
    residual_median_um=1.5,
    residual_mean_um=2.0,
    residual_p90_um=4.0,
    scale=0.9,
    angle_deg=10.0,
    stretch=1.1,
    area_change=1.2,
    n_wrong_pose=10,
    wrong_pose_deg=180.0,
    margin=20.0,
)

share = st.floats(0, 1)


@st.composite
def evidences(draw) -> Evidence:
    initial = draw(st.integers(0, 500))
    verified = draw(st.integers(0, initial))
    return Evidence(
        n_source=draw(st.integers(0, 500)),
        n_target=draw(st.integers(0, 500)),
        n_initial=initial,
        n_verified=verified,
        n_agreeing=draw(st.integers(0, verified)),
        inlier_ratio=draw(share),
        coverage=draw(st.none() | share),
        overlap=draw(st.none() | share),
        spread=draw(st.none() | share),
        kind="affine",
        residual_median_um=draw(st.none() | st.floats(0, 50)),
        scale=draw(st.none() | st.floats(0.05, 20)),
        stretch=draw(st.none() | st.floats(1, 5)),
        area_change=draw(st.none() | st.floats(1, 10)),
        folded=draw(st.booleans()),
        turned_over=draw(st.booleans()),
        n_wrong_pose=draw(st.integers(0, 500)),
        wrong_pose_deg=draw(st.none() | st.floats(0, 360)),
        wrong_pose_mirrored=draw(st.booleans()),
        margin=draw(st.none() | st.floats(0, 100)),
    )


def test_good_evidence_is_accepted_with_its_numbers() -> None:
    decision = decide(GOOD)
    assert decision.accepted
    assert decision.failed == ()
    for words in ("200 of 300", "affine", "20 times", "80%", "1.5 µm"):
        assert words in decision.reason


@pytest.mark.parametrize(
    ("changes", "criterion", "words"),
    [
        ({"n_source": 0}, "least_matches", "The source shows nothing"),
        ({"n_target": 0}, "least_matches", "The target shows nothing"),
        ({"n_agreeing": 3, "n_verified": 3}, "least_matches", "Only 3 of 300 matches"),
        ({"n_agreeing": 80}, "least_agreement", "36% of the 220"),
        ({"inlier_ratio": 0.05}, "least_inlier_ratio", "5% of the 300"),
        ({"spread": 0.01}, "least_spread", "about a line"),
        ({"coverage": 0.1}, "least_coverage", "10% of the overlap"),
        ({"overlap": 0.02}, "least_overlap", "2% of the source"),
        ({"residual_median_um": 12.3}, "largest_residual_um", "12.3 µm off"),
        ({"residual_median_um": None}, "largest_residual_um", "too few matches"),
        ({"scale": 0.1}, "largest_scale", "lengths 10-fold"),
        ({"stretch": 2.5}, "largest_stretch", "2.5-fold"),
        ({"area_change": 4.0}, "largest_area_change", "4-fold"),
        ({"area_change": None, "folded": True}, "folded", "folds"),
        ({"turned_over": True}, "turned_over", "mirrored"),
        ({"margin": None}, "least_margin", "No other pose"),
        ({"margin": 1.5, "n_wrong_pose": 133}, "least_margin", "turned by 180°, 133 matches"),
    ],
)
def test_each_criterion_refuses_with_its_numbers(changes, criterion, words) -> None:
    decision = decide(GOOD.model_copy(update=changes))
    assert not decision.accepted
    assert decision.failed[0] == criterion
    assert words in decision.reason


def test_a_pose_that_is_better_by_far_is_named_first() -> None:
    worse = {"n_agreeing": 3, "n_verified": 9, "margin": 0.02, "n_wrong_pose": 180}
    found = GOOD.model_copy(update={**worse, "wrong_pose_mirrored": True, "wrong_pose_deg": 60.0})
    decision = decide(found)
    assert decision.failed[0] == "least_margin"
    assert decision.reason.startswith("The source seems mirrored and turned by 60°: 180 matches")


@given(evidences())
def test_a_reason_is_one_sentence_and_every_failure_is_a_criterion(evidence) -> None:
    decision = decide(evidence)
    assert decision.reason.endswith(".")
    assert ". " not in decision.reason
    assert decision.accepted == (not decision.failed)
    known = {*AcceptanceCriteria.model_fields, "folded", "turned_over"}
    assert set(decision.failed) <= known


@given(evidences(), st.integers(4, 100))
def test_nothing_is_accepted_with_fewer_matches_than_the_least(evidence, least) -> None:
    if decide(evidence, AcceptanceCriteria(least_matches=least)).accepted:
        assert evidence.n_agreeing >= least


BETTER = {
    "inlier_ratio": share,
    "coverage": share,
    "overlap": share,
    "spread": share,
    "margin": st.floats(0, 1000),
}


@given(evidences() | st.just(GOOD), st.data())
def test_more_of_what_speaks_for_it_never_turns_it_down(evidence, data) -> None:
    name = data.draw(st.sampled_from(sorted(BETTER)))
    now, more = getattr(evidence, name), data.draw(BETTER[name])
    improved = evidence.model_copy(update={name: max(now or 0.0, more)})
    assert decide(improved).accepted >= decide(evidence).accepted
    assert set(decide(improved).failed) <= set(decide(evidence).failed)


@given(evidences() | st.just(GOOD), st.integers(0, 300))
def test_more_agreeing_matches_never_turn_it_down(evidence, more) -> None:
    count = min(evidence.n_agreeing + more, evidence.n_verified)
    improved = evidence.model_copy(update={"n_agreeing": count})
    assert decide(improved).accepted >= decide(evidence).accepted


@given(evidences() | st.just(GOOD))
def test_stricter_criteria_accept_no_more(evidence) -> None:
    usual = AcceptanceCriteria()
    strict = usual.model_copy(update={"least_matches": 50, "least_margin": 5.0})
    assert decide(evidence, strict).accepted <= decide(evidence, usual).accepted


def test_criteria_come_back_from_a_model_card() -> None:
    criteria = AcceptanceCriteria(least_matches=33, least_margin=3.5)
    assert AcceptanceCriteria.model_validate_json(criteria.model_dump_json()) == criteria
    with pytest.raises(ValidationError):
        AcceptanceCriteria(least_matches=3)
    with pytest.raises(ValidationError):
        AcceptanceCriteria.model_validate({"least_matchs": 30})
