import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.metrics import roc_auc_score

from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.training import protocol
from napari_neurobridge.training.protocol import (
    Trials,
    best_threshold,
    bootstrap_intervals,
    classify,
    draw_trials,
    reference_similarity,
)


def random_similarity(n, seed=0, gain=2.0):
    return np.random.default_rng(seed).normal(size=(n, n)) + gain * np.eye(n)


def test_each_positive_meets_two_hard_and_two_random_negatives_of_its_scene():
    n = 106
    scene = np.repeat([3, 7], 53)
    similarity = random_similarity(n)
    trials = draw_trials(similarity, scene, np.random.default_rng(0))
    assert trials.positive.sum() == n
    assert len(trials) == 5 * n
    assert (scene[trials.query] == scene[trials.candidate]).all()
    asked = set(zip(trials.query.tolist(), trials.candidate.tolist(), strict=True))
    assert len(asked) == len(trials)
    for first in (0, 53):
        block = similarity[first : first + 53, first : first + 53]
        off = np.where(np.eye(53, dtype=bool), -np.inf, block)
        hardest = np.argsort(off, axis=None)[-106:]
        for row, column in zip(*np.unravel_index(hardest, off.shape), strict=True):
            assert (first + row, first + column) in asked


def test_the_same_reference_asks_every_model_the_same():
    reference, scene = random_similarity(60), np.zeros(60, int)
    first, second = (draw_trials(reference, scene, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.query, second.query)
    assert np.array_equal(first.candidate, second.candidate)
    other = draw_trials(reference, scene, np.random.default_rng(5))
    assert not np.array_equal(first.candidate, other.candidate)


def test_small_scenes_share_a_group_so_that_single_pairs_have_negatives_too():
    trials = draw_trials(random_similarity(6), np.arange(6), np.random.default_rng(0))
    assert trials.positive.sum() == 6
    assert (~trials.positive).sum() == 24
    among = draw_trials(
        random_similarity(6), np.arange(6), np.random.default_rng(0), among=np.array([1, 4, 5])
    )
    assert set(among.query) | set(among.candidate) == {1, 4, 5}


def test_large_scenes_are_asked_about_in_groups_of_the_papers_size():
    n = 212
    similarity = random_similarity(n)
    # All of the hardest lie between the first and the last quarter of the scene.
    similarity[:53, -53:] = 9.0
    trials = draw_trials(similarity, np.zeros(n, int), np.random.default_rng(0))
    assert trials.scores(similarity).max() < 9.0


def test_the_reference_knows_a_cell_that_is_off_centre_and_brighter():
    rng = np.random.default_rng(0)
    cells = ndimage.gaussian_filter(rng.random((6, 150, 150)), (0, 8, 8))
    cells = (cells - cells.min()) / np.ptp(cells)
    moved = np.stack([np.roll(cell, (3, -3), axis=(0, 1)) for cell in cells]) ** 0.7
    pairs = PairSet(cells.astype(np.float32), moved.astype(np.float32), np.zeros(6, int))
    similarity = reference_similarity(pairs)
    assert similarity.dtype == np.float32
    assert np.abs(similarity).max() <= 1 + 1e-5
    assert (similarity.argmax(axis=1) == np.arange(6)).all()
    assert similarity.diagonal().min() > 0.8


def test_crops_without_contrast_are_like_nothing():
    flat = np.full((2, 150, 150), 0.3, np.float32)
    noise = np.random.default_rng(0).random((2, 150, 150), dtype=np.float32)
    assert not reference_similarity(PairSet(flat, noise, np.zeros(2, int))).any()


def test_the_threshold_is_where_recall_and_specificity_are_best_together():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    positive = np.array([True, True, False, True, False, False])
    assert best_threshold(scores, positive) == pytest.approx(0.4)  # 3 of 3 and 2 of 3
    # A cut cannot pass between equal scores.
    tied = np.array([0.5, 0.5, 0.5, 0.1])
    threshold = best_threshold(tied, np.array([True, False, False, False]))
    assert threshold == pytest.approx(0.3)


def test_the_test_pairs_are_judged_by_the_threshold_of_the_validation_pairs():
    n = 20
    test = np.where(np.eye(n, dtype=bool), 0.5, 0.3)
    validation = np.where(np.eye(n, dtype=bool), 0.9, 0.7)
    trials = draw_trials(test, np.zeros(n, int), np.random.default_rng(0))
    judged = classify(test, trials, trials, validation_similarity=validation)
    assert judged.threshold == pytest.approx(0.8)
    assert (judged.recall, judged.specificity, judged.auc) == (0.0, 1.0, 1.0)
    assert (judged.confusion.false_negative, judged.confusion.true_negative) == (20, 80)
    expected = stats.binomtest(0, 20).proportion_ci(0.95, method="wilson")
    assert judged.intervals["recall"] == pytest.approx((0.0, expected.high))


def test_all_right_of_a_few_pairs_is_no_certainty():
    """Resampling five pairs that are all right draws nothing but right ones."""
    n = 5
    similarity = np.where(np.eye(n, dtype=bool), 0.9, 0.1)
    trials = draw_trials(similarity, np.zeros(n, int), np.random.default_rng(0))
    judged = classify(similarity, trials, trials)
    assert (judged.recall, judged.specificity, judged.auc) == (1.0, 1.0, 1.0)
    expected = stats.binomtest(n, n).proportion_ci(0.95, method="wilson")
    for name in ("recall", "specificity"):
        assert judged.intervals[name] == pytest.approx((expected.low, 1.0))
    assert judged.intervals["auc"][0] < 0.9


def test_no_interval_is_narrower_than_that_of_resampling():
    n = 60
    similarity = random_similarity(n, 3)
    trials = draw_trials(similarity, np.zeros(n, int), np.random.default_rng(0))
    judged = classify(similarity, trials, trials)
    drawn = bootstrap_intervals(trials.scores(similarity), trials, judged.threshold)
    for name, (low, high) in judged.intervals.items():
        assert low <= drawn[name][0] <= getattr(judged, name) <= drawn[name][1] <= high


def test_intervals_are_as_wide_as_repeated_experiments_scatter():
    n, seeds = 53, 60
    found = []
    for seed in range(seeds):
        similarity = random_similarity(n, seed)
        trials = draw_trials(random_similarity(n, 1000 + seed), np.zeros(n, int),
                             np.random.default_rng(seed))  # fmt: skip
        scores = trials.scores(similarity)
        recall = (scores[trials.positive] >= 1.0).mean()
        auc = roc_auc_score(trials.positive, scores)
        found.append((recall, auc))
    intervals = bootstrap_intervals(scores, trials, 1.0)
    for values, name in zip(np.array(found).T, ("recall", "auc"), strict=True):
        low, high = intervals[name]
        assert high - low == pytest.approx(3.92 * values.std(), rel=0.45)
    low, high = intervals["auc"]
    assert low < roc_auc_score(trials.positive, scores) < high


def test_a_pair_that_appears_in_many_trials_makes_its_interval_wider():
    # The same 40 errors of 400, once of forty cells and once of two.
    query = np.repeat(np.arange(40), 10)
    candidate = (query + np.tile(np.arange(1, 11), 40)) % 40
    positives = np.arange(40)
    trials = Trials(np.append(positives, query), np.append(positives, candidate))
    spread = np.append(np.ones(40), np.tile(np.arange(10) == 0, 40))
    one_cell = np.append(np.ones(40), np.isin(query, (0, 1, 2, 3)))
    widths = []
    for scores in (spread, one_cell):
        low, high = bootstrap_intervals(scores, trials, 0.5)["specificity"]
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_weighted_area_agrees_with_scikit_learn_ties_included(monkeypatch):
    scores = np.array([0.9, 0.4, 0.4, 0.4, 0.1])
    positive = np.array([True, True, False, False, False])
    trials = Trials(np.array([0, 1, 0, 1, 2]), np.array([0, 1, 1, 2, 0]))
    monkeypatch.setattr(np.random, "default_rng", lambda _: type("R", (), {"multinomial": ones})())
    low, high = protocol.bootstrap_intervals(scores, trials, 0.5, resamples=3)["auc"]
    assert low == high == pytest.approx(roc_auc_score(positive, scores))


def ones(_, n, chances, size):
    return np.ones((size, n), int)
