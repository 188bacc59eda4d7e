import numpy as np
import pytest
from scipy import optimize

from napari_neurobridge.training.validation import gain_error, validation_score


def similarity(n, gain, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, n)) + gain * np.eye(n)


def scene_of(n):
    return np.zeros(n, dtype=int)


def test_it_is_near_one_when_all_are_told_apart_and_zero_when_none_are():
    assert validation_score(100 * np.eye(40), scene_of(40)) > 0.8
    assert validation_score(np.ones((40, 40)), scene_of(40)) == pytest.approx(0, abs=1e-6)


def test_it_rises_with_every_step_of_separation():
    scores = [validation_score(similarity(30, gain), scene_of(30)) for gain in range(8)]
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.3


def test_scale_and_offset_of_similarities_do_not_matter():
    values = similarity(20, 2.0)
    expected = validation_score(values, scene_of(20))
    assert validation_score(0.01 * values - 3, scene_of(20)) == pytest.approx(expected, abs=1e-6)


def test_it_is_the_likelihood_of_the_best_logistic_curve():
    n = 12
    values = similarity(n, 1.5)
    wrong = np.sort(values[~np.eye(n, dtype=bool)])
    hard, rest = wrong[-2 * n :], wrong[: -2 * n]
    slack = 1 / (n + 2)

    def loss(curve):
        def group(v, target):
            logits = curve[0] * v + curve[1]
            return np.mean(np.logaddexp(0, logits) - target * logits)

        return (
            0.5 * group(np.diag(values), 1 - slack)
            + 0.25 * group(hard, slack)
            + 0.25 * group(rest, slack)
        )

    best = optimize.minimize(loss, [1.0, 0.0], tol=1e-12).fun
    assert validation_score(values, scene_of(n)) == pytest.approx(1 - best / np.log(2), abs=1e-6)


def test_only_the_own_scene_counts():
    values = similarity(20, 2.0)
    scene = np.repeat([0, 1], 10)
    expected = validation_score(values, scene)
    values[scene[:, None] != scene[None, :]] = 50
    assert validation_score(values, scene) == pytest.approx(expected)


def test_pairs_from_as_many_scenes_count_as_one():
    values = similarity(8, 2.0)
    assert validation_score(values, np.arange(8)) == validation_score(values, scene_of(8))


def test_the_error_of_a_gain_is_its_spread_over_other_pairs():
    def pair_of_models(seed):
        common = similarity(40, 2.0, seed)
        noise = np.random.default_rng(seed + 1000).normal(size=(40, 40))
        return common, common + 0.5 * noise

    scene, gains, errors = scene_of(40), [], []
    for seed in range(40):
        before, after = pair_of_models(seed)
        gains.append(validation_score(after, scene) - validation_score(before, scene))
        errors.append(gain_error(before, after, scene))
    assert np.mean(errors) == pytest.approx(np.std(gains), rel=0.5)


def test_the_same_similarities_differ_without_error():
    values = similarity(20, 2.0)
    assert gain_error(values, values, scene_of(20)) == 0


def test_two_pairs_cannot_tell_a_gain_from_chance():
    assert gain_error(similarity(2, 0), similarity(2, 9), scene_of(2)) == np.inf
