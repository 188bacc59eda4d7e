"""From the seeds of one map to the matches of a whole field, and their evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.constellation.affine_search import best_per_row
from napari_neurobridge.matching.constellation.windows import one_to_one
from napari_neurobridge.matching.posterior import find_candidates
from napari_neurobridge.matching.propagation.propagate import (
    PropagationParams,
    PropagationProblem,
    run_propagation,
)
from napari_neurobridge.spaces.gaussian_process import DeformationPrior
from napari_neurobridge.spaces.landmarks import judge

if TYPE_CHECKING:
    from napari_neurobridge.matching.propagation.propagate import Propagation

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

FEWEST = 8
"""Somata of either side, and matches, below which a constellation says nothing."""

_FEWEST_SEEDS = 4
# Seeds that agree on one map need not be left out in turn, nor regions restarted often.
_PROPAGATION = PropagationParams(suspect_landmarks=0, region_restarts=1)


@dataclass(frozen=True, eq=False)
class SeededMatch:
    """A propagation from the seeds of one map, and its evidence.

    Attributes
    ----------
    pairs : ndarray of int, shape (L, 2)
        Rows of queries and gallery, one-to-one, the surest first.
    confidence : ndarray, shape (L,)
    evidence : float
        Log probability of the gallery about all mapped queries but the seeds, over chance.
    """

    pairs: RowArray
    confidence: Float64Array
    evidence: float


NOTHING = SeededMatch(np.empty((0, 2), dtype=np.intp), np.empty(0), 0.0)


def grow(
    queries_um: Float64Array,
    gallery_um: Float64Array,
    seeds: RowArray,
    linear: Float64Array,
    *,
    min_confidence: float,
) -> SeededMatch:
    """Propagate from seeds (L, 2) over the field; `NOTHING` where they contradict each other.

    Parameters
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
    seeds : ndarray of int, shape (L, 2)
    linear : ndarray, shape (3, 3)
        Linear part of the map that they agree on.
    min_confidence : float
        Of a match that is handed on.
    """
    problem = PropagationProblem(queries_um, gallery_um, seeds)
    mirrored = bool(np.linalg.det(linear) < 0)
    wrong = judge(problem.landmarks, DeformationPrior(), mirrored=mirrored, orientation=linear)
    if (wrong < 0.5).sum() < _FEWEST_SEEDS:
        return NOTHING
    found = run_propagation(problem, params=_PROPAGATION, orientation=linear)
    confidence = found.posterior.confidence
    claimed = np.flatnonzero(confidence >= min_confidence)
    if len(claimed) < FEWEST:
        return NOTHING
    pairs, confidence = one_to_one(
        np.column_stack([claimed, found.posterior.best[claimed]]), confidence[claimed]
    )
    return SeededMatch(pairs, confidence, _evidence(problem, found))


def _evidence(problem: PropagationProblem, found: Propagation) -> float:
    """Return the log probability about all places that no seed decides, over chance."""
    free = np.setdiff1d(np.arange(len(problem.queries_um)), problem.pairs[:, 0])
    candidates = find_candidates(
        CandidateField(problem.gallery_um),
        found.predicted_um[free],
        found.sigma_um[free] ** 2,
    )
    evidence = np.log1p(found.mean_p_partner * (candidates.total - 1.0))
    # A soma speaks for one query only: else all queries in one place would explain much.
    counts = best_per_row(candidates.rows[None, :, 0], evidence[None])[0]
    return float(np.where(counts, evidence, np.minimum(evidence, 0.0)).sum())
