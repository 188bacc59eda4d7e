import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.gccm import InlierResponse
from napari_neurobridge.registration.inlier_ratio import estimate_inliers

RATIOS = np.linspace(0.1, 0.9, 9)


def confidences(ratio: float, count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw the confidences of a module that counts a subset only when all four are right."""
    right = rng.random(count) < ratio
    with_it, without = ratio**3, 0.05
    mean = np.where(right, with_it + without, without)
    return np.clip(rng.normal(mean, 0.02), 0, 1), right


def responses() -> tuple[InlierResponse, ...]:
    rng = np.random.default_rng(0)
    rows = []
    for ratio in RATIOS:
        drawn, right = confidences(ratio, 20_000, rng)
        # As likely right as wrong: where the fewest errors are made.
        cuts = np.linspace(0, 1, 501)
        tau = cuts[np.argmax([((drawn > cut) == right).mean() for cut in cuts])]
        rows.append(InlierResponse(inlier_ratio=ratio, mean=drawn.mean(), tau=tau, width=0.005))
    return tuple(rows)


@pytest.mark.parametrize("ratio", [0.25, 0.45, 0.65, 0.85])
def test_a_known_ratio_is_found_and_its_threshold_separates(ratio: float) -> None:
    drawn, right = confidences(ratio, 2000, np.random.default_rng(1))
    found = estimate_inliers(drawn, responses())
    assert found.inlier_ratio == pytest.approx(ratio, abs=0.05)
    kept = drawn > found.tau
    if ratio > 0.4:
        assert (kept == right).mean() > 0.95
    # A threshold that suits many right matches loses those of a set that has few.
    unsuited = responses()[-1].tau
    assert (kept == right).mean() >= ((drawn > unsuited) == right).mean()


def test_the_probability_is_a_half_at_the_threshold_and_rises() -> None:
    found = estimate_inliers(np.full(9, 0.2), responses())
    chance = found.probability(np.array([found.tau - 0.1, found.tau, found.tau + 0.1]))
    assert chance[1] == pytest.approx(0.5)
    assert chance[0] < 0.01 < 0.99 < chance[2]
    near = found.probability(found.tau + found.width)
    assert np.log(near / (1 - near)) == pytest.approx(1.0)


def test_beyond_what_was_measured_the_first_or_last_ratio_counts() -> None:
    rows = responses()
    assert estimate_inliers(np.zeros(5), rows).inlier_ratio == pytest.approx(0.1)
    assert estimate_inliers(np.ones(5), rows).tau == rows[-1].tau


def test_what_tells_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="never measured"):
        estimate_inliers(np.ones(5), ())
    with pytest.raises(InputError, match="no matches"):
        estimate_inliers(np.ones(0), responses())
