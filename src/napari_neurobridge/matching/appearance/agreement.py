"""How often pictures and places, each by itself, name the same cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.calibration import COORDINATES, claimable
from napari_neurobridge.types import DEFAULT_FDR

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_neurobridge.matching.appearance.likelihood import Margins
    from napari_neurobridge.matching.propagation.propagate import Propagation

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

REACH_UM = 40.0
"""Pictures choose among the somata this near to where a partner is expected."""

FEWEST_TO_TELL = 10
"""Cells for which both must speak before their agreement is told."""


@dataclass(frozen=True)
class Agreement:
    """In how many cells pictures confirm what places claim.

    Attributes
    ----------
    n_both : int
        Cells for which places claim a partner and pictures choose one.
    n_agree : int
        Those of them for which it is the same.
    by_chance : float
        How many would be, were the pictures to choose blindly.
    """

    n_both: int
    n_agree: int
    by_chance: float

    @property
    def share(self) -> float:
        """Agreeing among the cells where both speak; 0 if there are none."""
        return self.n_agree / self.n_both if self.n_both else 0.0

    def __str__(self) -> str:
        if self.n_both < FEWEST_TO_TELL:
            return (
                f"Pictures and places both speak for too few cells to compare them ({self.n_both})."
            )
        return (
            f"Pictures agree with places in {self.n_agree} of {self.n_both} cells where both "
            f"speak (about {self.by_chance:.0f} by chance)."
        )


def agreement_of(
    found: Propagation, margins: Margins, *, without: Collection[int] = ()
) -> Agreement:
    """Ask pictures about what places claim in a finished match.

    Places claim at a false discovery rate of 5 %, from the grown alignment and coordinates alone,
    so that no cell's own picture decides its claim. Where the alignment has grown with the
    pictures' help, those of other cells had a part in where a partner is expected; leaving
    that out, too, would take a second match.

    Parameters
    ----------
    found : Propagation
    margins : Margins
        How alike the pictures are.
    without : collection of int
        Rows of queries that are left out, such as those that a person has paired.
    """
    state = found.state
    problem = replace(state.setup.problem, log_ratio=None)
    bare = replace(state, setup=replace(state.setup, problem=problem))
    by_place = COORDINATES.recalibrated(bare.query_posterior()[0])
    claims = claimable(by_place.confidence, DEFAULT_FDR)
    claims[list(without)] = False
    claimed = np.where(claims, by_place.best, -1)
    return compare_witnesses(claimed, found.predicted_um, problem.gallery_um, margins)


def compare_witnesses(
    claimed: RowArray,
    expected_um: Float64Array,
    gallery_um: Float64Array,
    margins: Margins,
    *,
    reach_um: float = REACH_UM,
) -> Agreement:
    """Compare what places claim with what pictures choose nearby.

    A picture chooses the most similar of the somata within reach of the expected place, if that
    soma's most similar query, of those expected within reach of it, is the same one. Beyond this
    gate, places have no say in it. With a single soma in the gate there is no choice.

    Parameters
    ----------
    claimed : ndarray of int, shape (N,)
        Row of the gallery that places alone claim for each query, -1 where they claim none.
    expected_um : ndarray, shape (N, 3)
        Where the partner of each is expected, judged without the query itself.
    gallery_um : ndarray, shape (M, 3)
    margins : Margins
        How alike the pictures are.
    reach_um : float
    """
    near = cKDTree(expected_um).sparse_distance_matrix(
        cKDTree(gallery_um), reach_um, output_type="ndarray"
    )
    query, soma = near["i"].astype(np.intp), near["j"].astype(np.intp)
    alike = margins.between(query, soma)
    seen = np.isfinite(alike)
    query, soma, alike = query[seen], soma[seen], alike[seen]
    choices = np.bincount(query, minlength=len(claimed))
    chosen = _best(query, soma, alike, len(claimed))
    chooser = _best(soma, query, alike, len(gallery_um))
    rows = np.flatnonzero((claimed >= 0) & (chosen >= 0) & (choices > 1))
    rows = rows[chooser[chosen[rows]] == rows]
    return Agreement(
        len(rows),
        int((chosen[rows] == claimed[rows]).sum()),
        float((1 / choices[rows]).sum()),
    )


def _best(own: RowArray, other: RowArray, value: Float64Array, count: int) -> RowArray:
    """Return, for each of ``count`` rows, the other of its pair of the highest value, or -1."""
    best = np.full(count, -1, dtype=np.intp)
    order = np.argsort(value, kind="stable")
    best[own[order]] = other[order]
    return best
