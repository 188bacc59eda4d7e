"""A match's unanswered cells as a pool to choose from: what an answer would change in its map.

The model that an answer changes at once is the map from one side to the other. About its data it
is linear in the cell's place, so that the gradient of a cell's cross-entropy (Ash et al., BADGE,
ICLR 2020, equation 1) is the outer product of two short vectors: how far the predicted place would
move if the most probable answer were right, and the cell's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.active.gradients import retrieval_gradients
from napari_neurobridge.active.samplers.pool import Pool

if TYPE_CHECKING:
    from napari_neurobridge.matching.match import Match

Floats = npt.NDArray[np.float64]


def match_pool(match: Match, dataset: str) -> Pool:
    """Return the somata of a dataset, all N in the order of their side, as a pool.

    Parameters
    ----------
    match : Match
    dataset : str
        Either of its two.

    Returns
    -------
    Pool
        The entropy of each answer in bits; as features the places (N, 3), centred and divided by
        their extent; as gradients (N, 12) those of the affine map that predicts partners' places.
    """
    here = match.side(dataset).centers_um
    other = match.others_of(dataset)
    rows, probability = _answers(match, dataset)
    predicted = match.map_points(here, dataset, other.dataset)
    # Where the map folds nothing is predicted, and nothing can be learned.
    moved = np.nan_to_num(other.centers_um[rows] - predicted[:, None])
    pull = retrieval_gradients(probability, moved)
    place = here - here.mean(axis=0)
    place /= max(float(np.linalg.norm(place, axis=1).max(initial=0.0)), 1e-9)
    known = np.column_stack([np.ones(len(place)), place])
    gradients = (pull[:, :, None] * known[:, None, :]).reshape(len(pull), -1)
    return Pool(
        np.maximum(match.posterior_summary(dataset).bits, 0.0), features=place, gradients=gradients
    )


def _answers(match: Match, dataset: str) -> tuple[npt.NDArray[np.intp], Floats]:
    """Return each soma's candidates (N, K), and their probabilities and that of none (N, K + 1).

    What is not listed counts as none, which moves nothing either.
    """
    side = match.side(dataset)
    if dataset == match.datasets[0]:
        found = match.posterior
        rest = found.none + found.beyond
        return found.rows, np.column_stack([found.probability, rest])
    judged = [match.judge(uid) for uid in side.uids]
    width = max((len(one.rows) for one in judged), default=0)
    rows = np.zeros((len(judged), width), dtype=np.intp)
    probability = np.zeros((len(judged), width + 1))
    for row, one in enumerate(judged):
        rows[row, : len(one.rows)] = one.rows
        probability[row, : len(one.rows)] = one.probability
        probability[row, -1] = one.none + one.beyond
    return rows, probability
