"""Tissue on the stage of one microscope: labelled, and moved into that image's space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch

from napari_neurobridge.simulation.cloud import Part, PointCloud
from napari_neurobridge.simulation.optics.labels import Label
from napari_neurobridge.simulation.render import POINTS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_neurobridge.simulation.deformation.warp import Warp
    from napari_neurobridge.simulation.optics.clutter import Clutter
    from napari_neurobridge.simulation.tissue.tissue import Tissue

# Of a box's surface and inside that are mapped to find its place in the tissue.
_PROBES = 7
# How far a box may bulge between these probes.
_BULGE_UM = 6.0


AnyLabel = TypeVar("AnyLabel", bound=Label, covariant=True)


@dataclass(frozen=True)
class Specimen(Generic[AnyLabel]):
    """What one microscope looks at.

    Attributes
    ----------
    tissue : Tissue
        Cells and vessels.
    label : Label
        What makes cells shine.
    clutter : Clutter
        Specks and passing fibres of this side, in the image's space.
    warp : Warp
        From tissue to the image's space.
    """

    tissue: Tissue
    label: AnyLabel
    clutter: Clutter
    warp: Warp

    def cells(self, low_um: Tensor, high_um: Tensor) -> Iterator[tuple[PointCloud, PointCloud]]:
        """Yield all that cells put into a box of the image's space, some points at a time.

        Yields
        ------
        shining : PointCloud
            Fluorophore.
        bodies : PointCloud
            Cell bodies, whether they shine or not; the amount is volume.
        """
        low, high = self.tissue_box(low_um, high_um)
        for morphology in self.tissue.chunks(low, high):
            at_once = POINTS_AT_ONCE if low_um.device.type == "cpu" else len(morphology.cell)
            for some in morphology.pieces(max(1, at_once)):
                position = self.warp.map_tensor(some.position_um)
                body = some.part == int(Part.SOMA)
                yield (
                    PointCloud(position, self.label.amount(some)),
                    PointCloud(position[body], some.volume_um3[body]),
                )

    def lumen(self, low_um: Tensor, high_um: Tensor, *, point_um3: float = 2.5) -> PointCloud:
        """Fill the vessels in a box of the image's space, with a point for each so many µm³."""
        low, high = self.tissue_box(low_um, high_um)
        cloud = self.tissue.vessels.points(low, high, point_um3=point_um3)
        return PointCloud(self.warp.map_tensor(cloud.position_um), cloud.amount)

    def tissue_box(self, low_um: Tensor, high_um: Tensor) -> tuple[Tensor, Tensor]:
        """Return corners of a box of tissue that holds a box of the image's space."""
        sides = [
            np.linspace(float(low), float(high), _PROBES)
            for low, high in zip(low_um, high_um, strict=True)
        ]
        probes = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
        places = torch.from_numpy(self.warp.inverse().map_points(probes)).to(low_um)
        return places.amin(dim=0) - _BULGE_UM, places.amax(dim=0) + _BULGE_UM
