"""A field of somata whose truth is known, for tests of matching from coordinates alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import special_ortho_group

from napari_neurobridge.matching.propagation.propagate import PropagationParams, PropagationProblem

SIZE = np.array([250.0, 400.0, 400.0])
PARAMS = PropagationParams(n_inducing=120)


@dataclass
class World:
    """Queries, and the gallery's row of each."""

    queries: np.ndarray
    gallery: np.ndarray
    partner: np.ndarray

    def problem(self, landmarks, **options) -> PropagationProblem:
        """Return the problem with some queries (rows) as landmarks."""
        pairs = np.column_stack([landmarks, self.partner[landmarks]])
        return PropagationProblem(self.queries, self.gallery, pairs, **options)


def make_world() -> World:
    """Return a field under an affine map and waves that no Gaussian process drew."""
    rng = np.random.default_rng(11)
    points = rng.uniform(0, 1, (1600, 3)) * SIZE
    linear = special_ortho_group.rvs(3, random_state=rng) @ np.diag([0.9, 1.05, 1.1])
    bent = points + 5 * np.sin(points[:, [1, 2, 0]] / 70)
    gallery = bent @ linear.T + [900, 300, -50] + rng.normal(0, 1.5, points.shape)
    chosen = rng.permutation(len(points))[:250]
    order = rng.permutation(len(points))
    partner = np.argsort(order)[chosen]
    return World(points[chosen], gallery[order], partner)


def landmarks(count: int, seed: int = 0) -> np.ndarray:
    """Return rows of that many queries."""
    return np.random.default_rng(seed).choice(250, count, replace=False)
