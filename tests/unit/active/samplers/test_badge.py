"""BADGE against loops over every pair, against its own probabilities, and scikit-activeml."""

import numpy as np
import pytest

from napari_neurobridge.active.gradients import class_gradients
from napari_neurobridge.active.samplers.badge import badge
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.errors import InputError


def pool_of(gradients: np.ndarray) -> Pool:
    return Pool(uncertainty=np.zeros(len(gradients)), gradients=gradients)


def shares_by_hand(gradients: np.ndarray, chosen: list[int]) -> np.ndarray:
    """k-means++: each row's squared distance from the nearest chosen one, as a share."""
    squared = []
    for row in gradients:
        distances = [
            sum((a - b) ** 2 for a, b in zip(row, gradients[c], strict=True)) for c in chosen
        ]
        squared.append(min(distances))
    if sum(squared) == 0:
        squared = [0.0 if row in chosen else 1.0 for row in range(len(gradients))]
    return np.array(squared) / sum(squared)


def by_hand(
    gradients: np.ndarray, count: int, rng: np.random.Generator, after: tuple[int, ...] = ()
) -> list[int]:
    chosen = list(after) or [int(np.argmax([np.linalg.norm(row) for row in gradients]))]
    while len(chosen) < count + len(after):
        shares, lot = shares_by_hand(gradients, chosen), rng.random()
        chosen.append(int(np.flatnonzero(np.cumsum(shares) / shares.sum() > lot)[0]))
    return chosen[len(after) :]


@pytest.mark.parametrize(("n", "count", "seed"), [(1, 1, 0), (9, 4, 1), (9, 9, 2), (60, 20, 3)])
def test_it_draws_as_kmeans_plus_plus_does(n, count, seed):
    gradients = np.random.default_rng(seed).normal(size=(n, 5))
    rows = badge(pool_of(gradients), count, np.random.default_rng(seed))
    assert rows.tolist() == by_hand(gradients, count, np.random.default_rng(seed))


@pytest.mark.parametrize("after", [(3,), (0, 7, 2), tuple(range(8))])
def test_it_goes_on_after_rows_that_were_chosen_before(after):
    gradients = np.random.default_rng(0).normal(size=(20, 5))
    rows = badge(pool_of(gradients), 6, np.random.default_rng(1), after=after)
    assert rows.tolist() == by_hand(gradients, 6, np.random.default_rng(1), after)
    assert not set(rows.tolist()) & set(after)
    with pytest.raises(InputError, match="cannot be chosen"):
        badge(pool_of(gradients), 21 - len(after), np.random.default_rng(1), after=after)


def test_each_pair_comes_as_often_as_it_should():
    gradients = np.random.default_rng(0).normal(size=(5, 2))
    rng, draws = np.random.default_rng(1), 4000
    first = int(np.linalg.norm(gradients, axis=1).argmax())
    seconds = np.bincount([badge(pool_of(gradients), 2, rng)[1] for _ in range(draws)], minlength=5)
    expected = shares_by_hand(gradients, [first])
    deviation = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(seconds / draws - expected) <= 4 * deviation).all()


def test_copies_of_what_is_chosen_come_last():
    gradients = np.array([[3.0, 0], [3, 0], [0, 0], [0, 0], [0, 2]])
    for seed in range(20):
        rows = badge(pool_of(gradients), 5, np.random.default_rng(seed)).tolist()
        assert sorted(rows) == [0, 1, 2, 3, 4]
        assert len({tuple(gradients[row]) for row in rows[:3]}) == 3


def test_sure_items_are_drawn_by_lot():
    rows = [badge(pool_of(np.zeros((4, 3))), 4, np.random.default_rng(s)).tolist() for s in (0, 3)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in rows)
    assert rows[0] != rows[1]


def test_it_draws_as_scikit_activeml_does():
    """Which takes the origin for one more seed, as if a sure item had been chosen."""
    from skactiveml.base import SkactivemlClassifier
    from skactiveml.pool import Badge

    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6))
    probability = rng.dirichlet([0.5, 0.5, 0.5], size=40)

    class Fixed(SkactivemlClassifier):
        def fit(self, X, y, sample_weight=None):
            return self

        def predict_proba(self, X):
            return probability

    theirs, utilities = Badge(random_state=1).query(
        features, np.full(40, np.nan), Fixed(), fit_clf=False, batch_size=8, return_utilities=True
    )
    gradients = np.vstack([class_gradients(probability, features), np.zeros(18)])
    lots = ScriptedLots([40, *(int(row) for row in theirs[1:])])
    ours = badge(pool_of(gradients), 9, lots)
    assert ours.tolist() == [int(theirs[0]), 40, *(int(row) for row in theirs[1:])]
    expected = np.nan_to_num(utilities[1:])
    np.testing.assert_allclose([shares[:40] for shares in lots.shares[1:]], expected, atol=1e-12)


class ScriptedLots(np.random.Generator):
    """Draws what it is told, and remembers with which probabilities it was asked to."""

    def __init__(self, rows: list[int]) -> None:
        super().__init__(np.random.PCG64(0))
        self.rows, self.shares = iter(rows), []

    def choice(self, _a, size=None, replace=True, p=None, axis=0, shuffle=True):
        self.shares.append(np.array(p))
        return next(self.rows)


def test_without_gradients_it_is_refused():
    with pytest.raises(InputError, match="BADGE needs the gradient embeddings"):
        badge(Pool(uncertainty=np.ones(3)), 1, np.random.default_rng(0))
