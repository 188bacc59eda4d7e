"""Matched points of two images, each with the weight that verification gave it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.similarity import spanned_axes

Float64Array = npt.NDArray[np.float64]

# Places nearer to each other than this are one place.
_DIGITS_UM = 6


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Points seen in two spaces, and how much each pair counts in a fit.

    They differ from `Landmarks` in what is known of them: a weight that says whether the
    pair is right, not a standard deviation that says how exactly it was placed.

    Parameters
    ----------
    source_um, target_um : array_like, shape (N, 3)
        µm (z, y, x) of either space.
    weights : array_like, shape (N,) or scalar, optional
        In [0, 1], such as the geometric consistency C(i, j) of each match; 1 by default.
        What has weight 0 takes no part.
    source, target : str
        Names of the spaces.

    Raises
    ------
    InputError
        If the two sides or the weights differ in number, or something is no finite number.
    """

    source_um: Float64Array
    target_um: Float64Array
    weights: Float64Array = field(default_factory=lambda: np.ones(()))
    source: str = "source"
    target: str = "target"

    def __post_init__(self) -> None:
        here, there = as_points(self.source_um), as_points(self.target_um)
        if len(here) != len(there):
            raise InputError(f"{len(here)} points cannot be paired with {len(there)}.")
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.shape not in ((), (len(here),)):
            raise InputError(f"{len(here)} matches need as many weights, not {weights.shape}.")
        weights = np.broadcast_to(weights, len(here)).copy()
        if not ((weights >= 0) & (weights <= 1)).all():
            raise InputError("The weight of a match must be a number from 0 to 1.")
        for name, value in (("source_um", here), ("target_um", there), ("weights", weights)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.source_um)

    @property
    def axes(self) -> Float64Array:
        """Unit vectors that the matches extend along in the source, (0 to 3, 3)."""
        return spanned_axes(self.source_um, self.weights)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Correspondences:
        """Return some of the matches."""
        return replace(
            self,
            source_um=self.source_um[rows],
            target_um=self.target_um[rows],
            weights=self.weights[rows],
        )

    def used(self) -> npt.NDArray[np.intp]:
        """Return the rows that take part: weight above 0, and each pair once, the surest.

        Raises
        ------
        InputError
            If there is none.
        """
        surest = np.argsort(-self.weights, kind="stable")
        surest = surest[self.weights[surest] > 0]
        if not len(surest):
            raise InputError("There is no match with a weight above 0, so nothing can be fitted.")
        both = np.round(np.hstack([self.source_um, self.target_um])[surest], _DIGITS_UM)
        return np.sort(surest[np.unique(both, axis=0, return_index=True)[1]])

    def merged(self) -> Correspondences:
        """Return the matches with one target for each place: the weighted mean of its targets.

        The weights of a place add up, to 1 at most.
        """
        matches = self.take(self.used())
        places, which = np.unique(
            np.round(matches.source_um, _DIGITS_UM), axis=0, return_inverse=True
        )
        total = np.bincount(which.ravel(), weights=matches.weights)
        mean = [
            np.bincount(which.ravel(), weights=matches.weights * column) / total
            for column in matches.target_um.T
        ]
        return replace(
            matches,
            source_um=places,
            target_um=np.column_stack(mean),
            weights=np.minimum(total, 1.0),
        )
