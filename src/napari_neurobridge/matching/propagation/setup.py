"""A matching problem prepared for propagation: what no round changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.spaces.gaussian_process import farthest_points, features

if TYPE_CHECKING:
    from napari_neurobridge.matching.candidate_field import CandidateField
    from napari_neurobridge.matching.propagation.problem import PropagationProblem
    from napari_neurobridge.spaces.alignment import Alignment

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PropagationSetup:
    """What no round of a propagation changes.

    Rows of ``basis``, ``noise`` and ``origin_um`` are the N queries and then the L
    landmarks.

    Attributes
    ----------
    problem : PropagationProblem
    gallery : CandidateField
    alignment : Alignment
    inducing_um : ndarray, shape (I, 3)
        Inducing points: offsets at which the features are exact.
    basis : ndarray, shape (N + L, F)
        Features of the deformation.
    noise : ndarray, shape (N + L,)
        Nominal variance of a soma's or landmark's place about the deformation.
    left_out : ndarray, shape (N + L,)
        Variance of the deformation that its features do not carry.
    origin_um : ndarray, shape (N + L, 3)
        Where the alignment's similarity puts each.
    displacement_um : ndarray, shape (L, 3)
        Of the landmarks, from there.
    paired : ndarray of bool, shape (N,)
        Queries that a person has paired.
    p_detected : ndarray, shape (N,)
        What a query's own detection says.
    """

    problem: PropagationProblem
    gallery: CandidateField
    alignment: Alignment
    inducing_um: Float64Array
    basis: Float64Array
    noise: Float64Array
    left_out: Float64Array
    origin_um: Float64Array
    displacement_um: Float64Array
    paired: BoolArray
    p_detected: Float64Array

    @classmethod
    def of(
        cls,
        problem: PropagationProblem,
        gallery: CandidateField,
        alignment: Alignment,
        n_inducing: int,
    ) -> PropagationSetup:
        """Prepare a problem."""
        landmarks = problem.landmarks
        n_queries = len(problem.queries_um)
        points = np.vstack([problem.queries_um, landmarks.source_um])
        offsets = alignment.similarity.offsets(points)
        leading = np.vstack([offsets[n_queries:], offsets[:n_queries]])
        rows = farthest_points(leading, n_inducing, min(len(landmarks), n_inducing // 2))
        basis, residual_variance = features(alignment.prior, offsets, leading[rows])
        sigma = np.full(len(points), alignment.prior.sigma_um)
        sigma[n_queries:] = landmarks.sigma(alignment.prior)
        origin = alignment.similarity.target_center_um + offsets
        paired = np.zeros(n_queries, dtype=np.bool_)
        paired[problem.pairs[:, 0]] = True
        given = problem.p_detected
        p_detected = np.ones(n_queries) if given is None else given
        return cls(
            problem,
            gallery,
            alignment,
            leading[rows],
            basis,
            sigma**2,
            residual_variance,
            origin,
            landmarks.target_um - origin[n_queries:],
            paired,
            np.clip(np.asarray(p_detected, dtype=np.float64), 0.0, 1.0),
        )


def shared_landmarks(
    first: PropagationProblem, second: PropagationProblem
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows of landmarks that are in both problems, in either."""
    known = [
        np.hstack([problem.landmarks.source_um, problem.landmarks.target_um]).round(3).tolist()
        for problem in (first, second)
    ]
    rows = {tuple(landmark): row for row, landmark in enumerate(known[1])}
    both = [(row, rows[tuple(one)]) for row, one in enumerate(known[0]) if tuple(one) in rows]
    found = np.array(both, dtype=np.intp).reshape(-1, 2)
    return found[:, 0], found[:, 1]
