"""What would be claimed where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.calibration import Calibration, claimable
from napari_neurobridge.matching.candidate_field import CandidateField
from napari_neurobridge.matching.propagation.propagate import run_propagation

if TYPE_CHECKING:
    from napari_neurobridge.matching.posterior import Posterior
    from napari_neurobridge.matching.propagation.propagate import Propagation, PropagationProblem
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

DecoyKind = Literal["shift", "mirror"]

_DIRECTIONS = 4
# A shift goes this many spacings of somata, and this many standard deviations of the places
# where nine in ten partners are expected, away from the true partner.
_SPACINGS, _DEVIATIONS = 3.0, 6.0
_REACHED = 0.9
# A place is empty when its somata are rarer than this share of those at the true place.
_EMPTY = 0.5
_NEIGHBOURS = 8


@dataclass(frozen=True)
class DecoyCheck:
    """What was claimed among somata none of which is the partner.

    Attributes
    ----------
    n_claimed, n_asked : int
        Claims, and queries asked; each decoy asks all that it can.
    n_decoys : int
        Galleries that were made.
    """

    n_claimed: int
    n_asked: int
    n_decoys: int

    @property
    def share(self) -> float:
        """Claims among the queries asked; 0 if there are none."""
        return self.n_claimed / self.n_asked if self.n_asked else 0.0


def decoy_claims(
    problem: PropagationProblem,
    fdr: float,
    kind: DecoyKind = "shift",
    seed: int = 0,
    *,
    found: Propagation | None = None,
    calibration: Calibration | None = None,
    rematch: bool = False,
    orientation: FloatArray | None = None,
) -> DecoyCheck:
    """Ask for partners in a gallery that holds none, and count what would be claimed.

    All somata of the gallery but the landmarks' are moved together, by more than the reach
    of any query, or mirrored: as dense and as clustered as before, but without a true partner.
    Appearances move along.

    The alignment of the match stays as it is, and with it the chance of a partner: the answers
    are those that the program would give to cells whose partner alone is missing. Matching anew
    would tell it that hardly any cell has a partner, so that it hardly claims; ``rematch`` does
    that, as a check of the propagation itself.

    Queries whose place in the decoy is empty, at a border or nearer to the true partner than
    the shift is long, are not asked.

    Parameters
    ----------
    problem : PropagationProblem
    fdr : float
        Expected share of false claims.
    kind : {"shift", "mirror"}
        Several random shifts, or a mirror across each axis of the gallery.
    seed : int
        Draws the shifts.
    found : Propagation, optional
        Of the problem; made if not given.
    calibration : Calibration, optional
        Of the confidences.
    rematch : bool
        Match anew in each decoy.
    orientation : ndarray, shape (3, 3), optional
        That ``found`` was matched with.
    """
    if kind not in ("shift", "mirror"):
        raise InputError(f"A decoy is a 'shift' or a 'mirror', not '{kind}'.")
    found = found or run_propagation(problem, orientation=orientation)
    calibration = calibration or Calibration()
    others = np.ones(len(problem.queries_um), dtype=np.bool_)
    others[problem.pairs[:, 0]] = False
    distance = _distance_um(problem, found)
    n_claimed = n_asked = n_decoys = 0
    for moved in _moved(problem.gallery_um, kind, distance, np.random.default_rng(seed)):
        gallery = moved.copy()
        gallery[problem.pairs[:, 1]] = problem.gallery_um[problem.pairs[:, 1]]
        decoy = replace(problem, gallery_um=gallery)
        asked = others & _askable(problem.gallery_um, moved, found.predicted_um, distance)
        judged = (
            run_propagation(decoy, orientation=orientation).posterior
            if rematch
            else _judged(found, decoy)
        )
        sure = calibration.recalibrated(judged).confidence[asked]
        n_claimed += int(claimable(sure, fdr).sum())
        n_asked += int(asked.sum())
        n_decoys += 1
    return DecoyCheck(n_claimed, n_asked, n_decoys)


def _judged(found: Propagation, decoy: PropagationProblem) -> Posterior:
    """Return the posterior of a decoy gallery under the alignment of a match."""
    gallery = CandidateField(decoy.gallery_um)
    return found.state.among(decoy, gallery).query_posterior()[0]


def _distance_um(problem: PropagationProblem, found: Propagation) -> float:
    """Return how far somata must move to be out of reach of the queries they were near."""
    spacing = CandidateField(problem.gallery_um).typical_density ** (-1 / 3)
    sigma = found.sigma_um[found.active] if found.active.any() else found.sigma_um
    return float(max(_SPACINGS * spacing, _DEVIATIONS * np.quantile(sigma, _REACHED)))


def _moved(
    gallery_um: Float64Array, kind: DecoyKind, distance: float, rng: np.random.Generator
) -> list[Float64Array]:
    """Return the gallery in several other places, (M, 3) each."""
    if kind == "shift":
        direction = rng.normal(size=(_DIRECTIONS, 3))
        direction *= distance / np.linalg.norm(direction, axis=1, keepdims=True)
        return [gallery_um + step for step in direction]
    middle = (gallery_um.min(axis=0) + gallery_um.max(axis=0)) / 2
    return [middle + (gallery_um - middle) * (1 - 2 * axis) for axis in np.eye(3)]


def _askable(
    gallery_um: Float64Array, moved_um: Float64Array, expected_um: Float64Array, distance: float
) -> BoolArray:
    """Return the queries at whose place the decoy has other somata, and enough, (N,)."""
    true, decoy = cKDTree(gallery_um), cKDTree(moved_um)
    count = min(_NEIGHBOURS, len(gallery_um))
    reach, decoy_reach = (
        np.asarray(tree.query(expected_um, k=[count])[0])[:, 0] for tree in (true, decoy)
    )
    enough = decoy_reach**3 * _EMPTY <= reach**3
    nearest = np.asarray(true.query(expected_um)[1])
    # Shifts move all alike; near the plane of a mirror somata hardly move.
    gone = np.linalg.norm(moved_um[nearest] - gallery_um[nearest], axis=1) >= 0.99 * distance
    return np.asarray(enough & gone)
