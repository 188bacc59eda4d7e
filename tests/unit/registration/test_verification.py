import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.common_frame import LEVELS
from napari_neurobridge.registration.gccm import Gccm, GccmConfig, InlierResponse
from napari_neurobridge.registration.subsets import SubsetConfig
from napari_neurobridge.registration.verification import (
    Departure,
    GccmVerifier,
    Magsac,
    MatchVerifier,
    NoVerification,
    Ransac,
    SubsetResidual,
    similarity_residuals,
)

RESPONSES = tuple(InlierResponse(inlier_ratio=r, mean=r, tau=r, width=0.1) for r in (0.2, 0.5, 0.8))
FEW = SubsetConfig(count=60, per_match=4)


def module(dims: int) -> Gccm:
    torch.manual_seed(0)
    config = GccmConfig(position_dim=dims, hidden=8, subsets=FEW, responses=RESPONSES)
    return Gccm(config).eval()


def all_verifiers(dims: int) -> list[MatchVerifier]:
    found: list[MatchVerifier] = [
        NoVerification(),
        GccmVerifier(module(dims)),
        GccmVerifier(module(dims), adaptive=True),
        SubsetResidual(dims, subsets=FEW),
        SubsetResidual(dims, kernel_um=5.0, subsets=FEW),
        *(Departure(stiffness) for stiffness in range(LEVELS)),
        Ransac(),
        Ransac("affine"),
    ]
    if dims == 2 and importlib.util.find_spec("cv2"):
        found.append(Magsac())
    return found


BOTH = [(dims, verifier) for dims in (2, 3) for verifier in all_verifiers(dims)]


def similar(dims: int, wrong: int, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches of one similarity, the first of them mistakes."""
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 200, (count, dims))
    turn = 0.3 if dims == 2 else (0.1, 0.2, 0.3)
    moved = SimilarityTransform(scale=1.1, rotation=turn, dimensionality=dims)(source) + 40
    target = moved + rng.normal(0, 0.3, moved.shape)
    target[:wrong] = rng.uniform(0, 250, (wrong, dims))
    return source, target, np.arange(count) >= wrong


@pytest.mark.parametrize(("dims", "verifier"), BOTH)
def test_each_match_has_a_finite_score_that_is_the_same_again(
    dims: int, verifier: MatchVerifier
) -> None:
    source, target, _ = similar(dims, 20)
    # Far from the origin, and one match twice.
    source, target = np.vstack([source, source[:1]]) + 1e5, np.vstack([target, target[:1]]) - 1e5
    score = verifier.score(source, target)
    assert score.shape == (61,)
    assert np.isfinite(score).all()
    assert np.array_equal(score, verifier.score(source, target))


@pytest.mark.parametrize(
    ("dims", "verifier"),
    [(d, v) for d, v in BOTH if not isinstance(v, NoVerification | GccmVerifier)],
)
def test_rivals_find_the_mistakes_of_one_similarity(dims: int, verifier: MatchVerifier) -> None:
    source, target, right = similar(dims, 15)
    least = 0.95
    if isinstance(verifier, SubsetResidual):
        verifier = replace(verifier, subsets=SubsetConfig())
        # Without a kernel, a mistake far off spoils the mean of all that it meets.
        least = 0.95 if verifier.kernel_um else 0.85
    order = np.argsort(-verifier.score(source, target))
    assert right[order[:45]].mean() > least


@pytest.mark.parametrize(("dims", "verifier"), BOTH)
def test_what_cannot_be_verified_is_refused_in_a_sentence(
    dims: int, verifier: MatchVerifier
) -> None:
    source, target, _ = similar(dims, 0)
    with pytest.raises(InputError, match="as many places on both sides"):
        verifier.score(source, target[:-1])
    with pytest.raises(InputError, match="as many places on both sides"):
        verifier.score(source[:, :1], target[:, :1])
    holed = target.copy()
    holed[3, 0] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        verifier.score(source, holed)
    with pytest.raises(InputError, match="at least"):
        verifier.score(source[:0], target[:0])


@pytest.mark.parametrize("dims", [2, 3])
def test_three_matches_are_too_few_for_subsets_of_four(dims: int) -> None:
    source, target, _ = similar(dims, 0)
    for verifier in (GccmVerifier(module(dims)), SubsetResidual(dims)):
        with pytest.raises(InputError, match="at least 4 matches, and there are 3"):
            verifier.score(source[:3], target[:3])


def test_a_module_of_the_other_dimension_is_refused() -> None:
    source, target, _ = similar(3, 0)
    with pytest.raises(InputError, match="of 2 coordinates"):
        GccmVerifier(module(2)).score(source, target)


@pytest.mark.parametrize("dims", [2, 3])
def test_matches_at_one_place_have_scores(dims: int) -> None:
    source = np.ones((9, dims))
    for verifier in all_verifiers(dims):
        assert np.isfinite(verifier.score(source, source)).all()


def test_the_adaptive_score_is_the_probability_of_the_confidence() -> None:
    source, target, _ = similar(2, 20)
    confidence = GccmVerifier(module(2)).score(source, target)
    ratio = np.clip(confidence.mean(), 0.2, 0.8)
    expected = 1 / (1 + np.exp(-(confidence - ratio) / 0.1))
    assert GccmVerifier(module(2), adaptive=True).score(source, target) == pytest.approx(expected)


@settings(deadline=None)
@given(seed=st.integers(0, 200), dims=st.sampled_from([2, 3]))
def test_residuals_are_those_of_a_reference_library(seed: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = rng.uniform(0, 50, (2, 6, dims))
    rows = torch.tensor([[0, 1, 2, 3], [2, 3, 4, 5]])
    found = similarity_residuals(torch.from_numpy(source), torch.from_numpy(target), rows)
    for row, residual in zip(rows.numpy(), found.tolist(), strict=True):
        fitted = SimilarityTransform.from_estimate(source[row], target[row])
        off = fitted.residuals(source[row], target[row])
        assert residual == pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-6)
