"""A smooth score of how well similarities tell partners from others, for a few pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

HARD_PER_PAIR = 2

FEWEST_TO_TELL_CHANCE = 3
"""With fewer, nobody can say how far a difference is chance."""

_NEWTON_STEPS = 50


def validation_score(
    similarity: FloatArray, scene: npt.NDArray[np.integer], *, hard_per_pair: int = HARD_PER_PAIR
) -> float:
    """Score a similarity matrix by the information it gives about who is whose partner.

    Of a few dozen pairs, ranks and counts of errors change in steps, so that chance
    decides which weights look best. Here a logistic curve is fitted to the similarities
    and scored by its log-likelihood, which every pair moves a little. As in the papers'
    protocol, half of the weight is on the partners, a quarter on the most similar wrong
    combinations, and a quarter on all other wrong ones; all within a scene.

    Parameters
    ----------
    similarity : ndarray, shape (N, N)
        Row i and column i are partners.
    scene : ndarray of int, shape (N,)
        Scene of each pair. If no scene holds two, all pairs count as one scene.
    hard_per_pair : int, default: 2
        Most similar wrong combinations, for each pair.

    Returns
    -------
    float
        Bits for each combination: 1 when all are told apart, 0 when none.
    """
    own = scene[:, None] == scene[None, :]
    if own.sum() == len(scene):
        own = np.ones_like(own)
    wrong = np.sort(similarity[own & ~np.eye(len(scene), dtype=bool)])
    n_hard = min(hard_per_pair * len(scene), max(1, len(wrong) // 2))
    rest, hard = np.split(wrong, [len(wrong) - n_hard])
    groups = [(np.diagonal(similarity), True, 0.5), (hard, False, 0.25), (rest, False, 0.25)]
    groups = [group for group in groups if len(group[0])]
    values = np.concatenate([group[0] for group in groups]).astype(np.float64)
    # Targets short of 0 and 1 keep the curve finite when all are told apart (Platt 1999).
    slack = 1 / (len(scene) + 2)
    target = np.concatenate([np.full(len(v), 1 - slack if y else slack) for v, y, _ in groups])
    weight = np.concatenate([np.full(len(v), share / len(v)) for v, _, share in groups])
    return 1 - _log_loss(values, target, weight / weight.sum()) / math.log(2)


def gain_error(
    before: FloatArray, after: FloatArray, scene: npt.NDArray[np.integer], *, parts: int = 30
) -> float:
    """Return the standard error of the difference of two scores on the same pairs.

    Jackknife: the difference is taken anew without each of ``parts`` parts of the pairs.
    (A bootstrap would draw a pair twice, and call it its own wrong partner.)

    Parameters
    ----------
    before, after : ndarray, shape (N, N)
        Similarities by two models.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    parts : int, default: 30
        Parts to leave out; as many as there are pairs, if those are fewer.
    """
    n = len(scene)
    parts = min(parts, n)
    if n <= FEWEST_TO_TELL_CHANCE:
        return math.inf
    gains = np.empty(parts)
    for part in range(parts):
        kept = np.arange(n) % parts != part
        block = np.ix_(kept, kept)
        gains[part] = validation_score(after[block], scene[kept]) - validation_score(
            before[block], scene[kept]
        )
    return float(np.sqrt((parts - 1) * gains.var()))


def _log_loss(values: FloatArray, target: FloatArray, weight: FloatArray) -> float:
    """Fit a logistic curve by Newton's method and return its weighted log loss."""
    deviation = values.std()
    scaled = (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
    design = np.stack((scaled, np.ones_like(scaled)), axis=1)
    coefficients = np.zeros(2)
    for _ in range(_NEWTON_STEPS):
        chance = _logistic(design @ coefficients)
        slope = design.T @ (weight * (target - chance))
        curvature = (design * (weight * chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-6 * np.eye(2), slope)
        coefficients += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-6:
            break
    # A curve that falls would call the less similar ones partners.
    logits = design @ coefficients if coefficients[0] > 0 else np.zeros_like(scaled)
    losses = np.logaddexp(0, logits) - target * logits
    return float(np.sum(weight * losses))


def _logistic(logits: FloatArray) -> FloatArray:
    return 0.5 * (1 + np.tanh(logits / 2))
