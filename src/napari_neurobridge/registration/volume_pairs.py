"""Whether a plane and a volume show the same soma, judged by slabs of the volume."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.slabs import PIXEL_UM
from napari_neurobridge.registration.soma_pairs import CropSource, fitted_linear, log_ratios

if TYPE_CHECKING:
    from napari_neurobridge.registration.slabs import SliceableVolume
    from napari_neurobridge.registration.soma_pairs import SomaPairNet
    from napari_neurobridge.types import Vec3

Float64Array = npt.NDArray[np.float64]

THICKNESS_UM = 10.0
"""Of a slab: somata within it are cut by a plane in its middle, or lie close to it."""


@dataclass(frozen=True, eq=False)
class SlabImages:
    """Slabs of a volume across the optical axis as crops are cut from them, read when asked for.

    Each is kept: 4 bytes for each µm² and `THICKNESS_UM` of depth.

    Attributes
    ----------
    volume : SliceableVolume, shape (Z, Y, X)
    voxel_size_um : Vec3
    axis : int
        Of the volume, along which the two-photon microscope looks.
    """

    volume: SliceableVolume
    voxel_size_um: Vec3
    axis: int = 0
    _known: dict[int, CropSource] = field(default_factory=dict, init=False, repr=False)

    @property
    def across(self) -> tuple[int, int]:
        """The other two axes, in their order."""
        first, second = (other for other in range(3) if other != self.axis)
        return first, second

    def nearest(self, depths_um: Float64Array) -> npt.NDArray[np.intp]:
        """Return the numbers of the slabs that hold places at some depths (K,)."""
        last = (self.volume.shape[self.axis] - 1) * self.voxel_size_um[self.axis]
        inside = np.clip(depths_um, 0.0, last)
        return np.asarray(inside / THICKNESS_UM, dtype=np.intp)

    def image(self, number: int) -> CropSource:
        """Return the brightest voxels of a slab; nothing where it has no contrast."""
        if number not in self._known:
            step = self.voxel_size_um[self.axis]
            first = int(np.ceil(number * THICKNESS_UM / step - 1e-9))
            stop = max(int(np.ceil((number + 1) * THICKNESS_UM / step - 1e-9)), first + 1)
            count = self.volume.shape[self.axis]
            box = [slice(None)] * 3
            box[self.axis] = slice(min(first, count - 1), min(stop, count))
            values = np.asarray(self.volume[tuple(box)]).max(axis=self.axis).astype(np.float32)
            steps = [self.voxel_size_um[other] for other in self.across]
            if values.min() == values.max():
                self._known[number] = CropSource(np.zeros((1, 1), dtype=np.float32), PIXEL_UM)
            else:
                plane = PlanarImage.squared(values, (steps[0], steps[1]), PIXEL_UM)
                self._known[number] = CropSource.of(plane)
        return self._known[number]


@dataclass(frozen=True, eq=False)
class VolumePairJudge:
    """Judges pairs of somata of a plane and of a volume.

    Attributes
    ----------
    net : SomaPairNet
    plane : CropSource
    slabs : SlabImages
    """

    net: SomaPairNet
    plane: CropSource
    slabs: SlabImages

    def __call__(self, source_um: Float64Array, target_um: Float64Array) -> Float64Array:
        """Return how much likelier the two of each pair are one soma than two by what they show.

        Parameters
        ----------
        source_um, target_um : ndarray, shape (K, 3)
            Pairs that one map brings together, µm (z, y, x) of the plane, which lies across z, and
            of the volume.

        Returns
        -------
        ndarray of float64, shape (K,)
            Log likelihood ratios; 0, which says nothing, where the pairs fit no map.
        """
        here, there = source_um[:, 1:], target_um[:, list(self.slabs.across)]
        linear = fitted_linear(here, there)
        if linear is None:
            return np.zeros(len(here))
        shape = self.net.config.crop_px, self.net.config.pixel_um
        seen = self.plane.crops(here, *shape, np.linalg.inv(linear))
        shown = np.empty_like(seen)
        slabs = self.slabs.nearest(target_um[:, self.slabs.axis])
        for number in np.unique(slabs).tolist():
            rows = slabs == number
            shown[rows] = self.slabs.image(number).crops(there[rows], *shape)
        return log_ratios(self.net, seen, shown)
