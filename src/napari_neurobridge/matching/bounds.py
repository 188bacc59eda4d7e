"""What one side of a match shows of the tissue: a convex region, and who is expected outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError, cKDTree

from napari_neurobridge.spaces.alignment import NotInvertibleError
from napari_neurobridge.types import USUAL_SOMA_DIAMETER_UM

if TYPE_CHECKING:
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment
    from napari_neurobridge.types import Expected, Vec3

Float64Array = npt.NDArray[np.float64]

# A place counts as outside when it lies so many standard deviations beyond a face.
_DEVIATIONS = 1.0
_FEWEST_FOR_HULL = 20


@dataclass(frozen=True, eq=False)
class Bounds:
    """The box of an image, or the convex hull of somata where there is no image.

    Attributes
    ----------
    normals : ndarray, shape (F, 3)
        Of the faces, outward, of length 1, (z, y, x).
    offsets_um : ndarray, shape (F,)
        Distance of each face from 0 µm along its normal.
    """

    normals: Float64Array
    offsets_um: Float64Array

    @classmethod
    def of_volume(cls, extent_um: Vec3) -> Bounds:
        """Take an image from 0 µm to ``extent_um``; a soma may lie half beyond its border."""
        corners = np.array([[0.0, 0.0, 0.0], extent_um])
        return cls._of_box(corners, USUAL_SOMA_DIAMETER_UM / 2)

    @classmethod
    def of_somata(cls, centers_um: Float64Array) -> Bounds:
        """Take the hull of somata (N, 3), wider by the usual distance between two of them."""
        nearest = np.asarray(cKDTree(centers_um).query(centers_um, k=[2])[0])
        margin = max(float(np.median(nearest)), USUAL_SOMA_DIAMETER_UM / 2)
        corners = np.stack([centers_um.min(axis=0), centers_um.max(axis=0)])
        if len(centers_um) < _FEWEST_FOR_HULL:
            return cls._of_box(corners, margin)
        try:
            faces = ConvexHull(centers_um).equations
        except QhullError:  # all of them in one plane
            return cls._of_box(corners, margin)
        return cls(faces[:, :3], margin - faces[:, 3])

    @classmethod
    def _of_box(cls, corners_um: Float64Array, margin_um: float) -> Bounds:
        low, high = corners_um
        normals = np.concatenate([np.eye(3), -np.eye(3)])
        return cls(normals, np.concatenate([high, -low]) + margin_um)

    def exclude(
        self, mean_um: npt.ArrayLike, covariance_um2: npt.ArrayLike
    ) -> npt.NDArray[np.bool_]:
        """Return which expected places lie clearly outside, (N,).

        Parameters
        ----------
        mean_um : array_like, shape (N, 3)
        covariance_um2 : array_like, shape (N, 3, 3)
            Beyond a face by more than one standard deviation along its normal is outside.
        """
        beyond = np.asarray(mean_um) @ self.normals.T - self.offsets_um
        variance = np.einsum(
            "fi,nij,fj->nf", self.normals, np.asarray(covariance_um2), self.normals
        )
        return np.asarray((beyond > _DEVIATIONS * np.sqrt(variance)).any(axis=1))

    def excludes(self, expected: Expected | None) -> bool:
        """As `exclude`, for one place; what is not known is not outside."""
        if expected is None:
            return False
        return bool(self.exclude([expected.center_um], [expected.covariance_um2])[0])

    def exclude_mapped(
        self, way: Alignment | InverseAlignment, places_um: Float64Array
    ) -> npt.NDArray[np.bool_]:
        """As `exclude`, for where places (N, 3) of the other side are mapped to.

        Where the map folds nobody knows, and no place is outside.
        """
        try:
            return self.exclude(*way.expect(places_um))
        except NotInvertibleError:
            return np.zeros(len(places_um), dtype=np.bool_)
