"""Which way the crops of a dataset are held: as the orientation says, or as the alignment does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.jacobian import jacobian_of

if TYPE_CHECKING:
    from napari_neurobridge.spaces.graph import Transform

Float64Array = npt.NDArray[np.float64]

# Over this much to either side: what the whole crop does, not one bend in it.
_STEP_UM = 20.0
# What the tissue does around: where it differs much from the crop, the alignment folds there.
_WIDE_UM = 150.0
_LARGEST_STRETCH = 1.6
_LARGEST_ANISOTROPY = 2.0
# Crops are not worth cutting again for less.
_SMALLEST_TURN = np.deg2rad(3.0)
_SMALLEST_STRETCH = 1.05


@dataclass(frozen=True, eq=False)
class CropFrame:
    """How crops of one dataset are held, so that both sides of a pair show the same view.

    Attributes
    ----------
    orientation : ndarray, shape (3, 3)
        Takes offsets in a crop (depth, row, column) to offsets in the dataset's space, both
        µm, as the orientation says.
    alignment : Transform or None
        What the frame follows instead, where it can: the map to this dataset from the one
        whose optical axis crops look along.
    alignment_id : str
        Names the alignment.
    reference : ndarray, shape (3, 3), or None
        How the crops of that other dataset are held, by its orientation.
    """

    orientation: Float64Array
    alignment: Transform | None = None
    alignment_id: str = ""
    reference: Float64Array | None = None

    @property
    def key(self) -> str:
        """A short name: "orientation", or "alignment" and its id."""
        return "orientation" if self.alignment is None else f"alignment {self.alignment_id}"

    def identity(self) -> dict[str, Any]:
        """Return what decides how crops are held, for a digest of it; numbers are rounded."""
        linear = {"linear": np.round(self.orientation, 9).tolist()}
        return linear if self.alignment is None else {**linear, "frame": self.key}

    def linears(self, centers_um: npt.ArrayLike) -> Float64Array:
        """Return how the crops at some places are held.

        Parameters
        ----------
        centers_um : array_like, shape (N, 3)
            µm (z, y, x) of the dataset.

        Returns
        -------
        ndarray, shape (3, 3) or (N, 3, 3)
            As `orientation`; one for each place in the frame of an alignment: rotation, tilt and
            scales of its derivative there, without shear. The orientation stands in where that
            is within 3° and 5 % of it, and where the alignment has no inverse, folds, or
            stretches tissue implausibly.
        """
        if self.alignment is None:
            return self.orientation
        centers = as_points(centers_um)
        usual = np.broadcast_to(self.orientation, (len(centers), 3, 3))
        try:
            places = self.alignment.inverse().map_points(centers)
            local = jacobian_of(self.alignment, places, _STEP_UM)
            wide = jacobian_of(self.alignment, places, _WIDE_UM)
        except InputError:
            return usual
        held = without_shear(local if self.reference is None else local @ self.reference)
        follow = _is_sound(local, wide)
        follow[follow] = _is_noticeable(self.orientation, held[follow])
        return np.where(follow[:, None, None], held, usual)

    def departs(self, centers_um: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Return which crops (N,) at some places are held otherwise than oriented."""
        held = np.broadcast_to(self.linears(centers_um), (len(as_points(centers_um)), 3, 3))
        return np.asarray((held != self.orientation).any(axis=(1, 2)))


def without_shear(linear: Float64Array) -> Float64Array:
    """Return linear maps (N, 3, 3) without the shear: a turn, and a scale along each axis before.

    Few landmarks know shear least, and a crop that is sheared is like none of the training.
    """
    left, _, right = np.linalg.svd(linear)
    turn = left @ right
    stretch = turn.swapaxes(-1, -2) @ linear
    return np.asarray(turn * np.diagonal(stretch, axis1=-2, axis2=-1)[..., None, :])


def _is_noticeable(oriented: Float64Array, held: Float64Array) -> npt.NDArray[np.bool_]:
    """Return which frames (N, 3, 3) are turned or stretched enough to cut crops again, (N,)."""
    left, sizes, right = np.linalg.svd(np.linalg.inv(oriented) @ held)
    cosine = (np.trace(left @ right, axis1=1, axis2=2) - 1) / 2
    turned = np.arccos(np.clip(cosine, -1, 1)) > _SMALLEST_TURN
    stretched = (np.abs(np.log(sizes)) > np.log(_SMALLEST_STRETCH)).any(axis=1)
    return np.asarray(turned | stretched)


def _is_sound(local: Float64Array, wide: Float64Array) -> npt.NDArray[np.bool_]:
    """Return where derivatives (N, 3, 3) are what tissue around them (N, 3, 3) may do, (N,)."""
    around = np.linalg.svd(wide, compute_uv=False)
    sound = around[:, 0] < _LARGEST_ANISOTROPY * around[:, -1]
    safe = np.where(sound[:, None, None], wide, np.eye(3))
    stretch = local @ np.linalg.inv(safe)
    sizes = np.linalg.svd(stretch, compute_uv=False)
    sound &= (sizes[:, 0] < _LARGEST_STRETCH) & (sizes[:, -1] > 1 / _LARGEST_STRETCH)
    return np.asarray(sound & (np.linalg.det(stretch) > 0))
