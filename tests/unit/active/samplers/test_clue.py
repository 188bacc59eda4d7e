"""CLUE against loops, against the best of all clusterings, and scikit-activeml."""

import itertools

import numpy as np
import pytest

from napari_neurobridge.active.samplers.clue import RESTARTS, clue
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.errors import InputError


def best_clustering(features: np.ndarray, weights: np.ndarray, count: int) -> list[list[int]]:
    """Try every assignment of a handful of rows; return the clusters of least weighted inertia."""
    best, least = [], np.inf
    for labels in itertools.product(range(count), repeat=len(features)):
        if len(set(labels)) < count:
            continue
        clusters = [[r for r, own in enumerate(labels) if own == label] for label in range(count)]
        inertia = 0.0
        for rows in clusters:
            centre = np.average(features[rows], axis=0, weights=weights[rows])
            inertia += sum(weights[r] * ((features[r] - centre) ** 2).sum() for r in rows)
        if inertia < least:
            best, least = clusters, inertia
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_takes_what_is_nearest_to_the_weighted_centres(seed, count):
    rng = np.random.default_rng(seed)
    features, uncertainty = rng.normal(size=(7, 2)), rng.uniform(0.1, 2, size=7)
    features += 3 * np.arange(7)[:, None] % (3 * count)  # so that k-means finds the best clusters
    clusters = best_clustering(features, uncertainty, count)
    clusters.sort(key=lambda rows: -uncertainty[rows].sum())
    taken: list[int] = []
    for rows in clusters:
        centre = np.average(features[rows], axis=0, weights=uncertainty[rows])
        order = np.argsort(((features - centre) ** 2).sum(axis=1))
        taken.append(int(order[0]))
    assert len(set(taken)) == count, "an example whose centres share their nearest row"
    rows = clue(Pool(uncertainty=uncertainty, features=features), count, np.random.default_rng(0))
    assert rows.tolist() == taken


def test_uncertainty_draws_the_centres_and_the_first_question_stands_for_most():
    features = np.array([[0.0], [1], [2], [10], [11], [12]])
    uncertainty = np.array([0.0, 0, 5, 1, 0, 0])
    rows = clue(Pool(uncertainty=uncertainty, features=features), 2, np.random.default_rng(0))
    assert rows.tolist() == [2, 3]


def test_where_nothing_is_uncertain_all_weigh_alike():
    features = np.array([[0.0], [1], [2], [10], [11], [12]])
    rows = clue(Pool(uncertainty=np.zeros(6), features=features), 2, np.random.default_rng(0))
    assert sorted(rows.tolist()) == [1, 4]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("uncertainty", [np.array([0, 0, 0, 0, 3.0]), np.ones(5)])
def test_every_row_comes_once_even_where_rows_are_alike(uncertainty):
    features = np.array([[1.0, 1], [1, 1], [1, 1], [2, 2], [2, 2]])
    rows = clue(Pool(uncertainty=uncertainty, features=features), 5, np.random.default_rng(0))
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("seed", range(4))
def test_it_chooses_what_scikit_activeml_chooses(seed):
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Clue

    rng = np.random.default_rng(seed)
    features = rng.normal(size=(80, 4))
    probability = rng.dirichlet([0.6, 0.6, 0.6], size=80)

    class Fixed(SkactivemlClassifier):
        def fit(self, X, y, sample_weight=None):
            return self

        def predict_proba(self, X):
            return probability

    entropy = -(probability * np.log(probability)).sum(axis=1)
    draw = int(np.random.default_rng(seed).integers(2**31))
    settings = {"n_init": RESTARTS, "random_state": draw}
    theirs = Clue(cluster_algo_dict=settings, random_state=0).query(
        features, np.full(80, np.nan), Fixed(), fit_estimator=False, batch_size=10
    )
    ours = clue(Pool(entropy, features), 10, np.random.default_rng(seed))
    assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_without_features_it_is_refused():
    with pytest.raises(InputError, match="CLUE needs the features"):
        clue(Pool(uncertainty=np.ones(3)), 1, np.random.default_rng(0))
