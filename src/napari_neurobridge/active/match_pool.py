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
    found = match.posterior
    if dataset == match.datasets[0]:
        rest = found.none + found.beyond
        return found.rows, np.column_stack([found.probability, rest])
    n_here = len(match.side(dataset))
    query, column = np.nonzero(found.probability > 0)
    share, soma = found.probability[query, column], found.rows[query, column]
    order = np.argsort(soma, kind="stable")
    query, soma, share = query[order], soma[order], share[order]
    place = np.arange(len(soma)) - np.searchsorted(soma, soma)
    width = int(place.max(initial=-1)) + 1
    rows = np.zeros((n_here, width), dtype=np.intp)
    probability = np.zeros((n_here, width + 1))
    rows[soma, place], probability[soma, place] = query, share
    probability[:, -1] = np.clip(1.0 - probability.sum(axis=1), 0.0, 1.0)
    return rows, probability
