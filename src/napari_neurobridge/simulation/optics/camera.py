"""What the rest of the simulator asks of a microscope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from napari_neurobridge.simulation.lattice import Boxes
    from napari_neurobridge.simulation.parameters import Range
    from napari_neurobridge.types import Vec3


class Camera(Protocol):
    """One imaging session; all it does is a function of its key and of positions.

    Attributes
    ----------
    voxel_um : Vec3
        Step of the camera's lattice along the image's axes: voxel (i, j, k) is centred at
        (i, j, k) * `voxel_um` in the image's space.
    lumen_step_um : Vec3
        Step of the lattice on which `expose` takes the lumen of vessels.
    """

    voxel_um: Vec3
    lumen_step_um: Vec3

    def sigma_um(self, z_um: Tensor) -> Tensor:
        """Return the standard deviations (n, 3) of the point spread at positions z (n,)."""

    def lumen_boxes(self, boxes: Boxes) -> Boxes:
        """Return the boxes of the lumen's lattice that these boxes of voxels need."""
        return boxes.nodes(self.voxel_um, self.lumen_step_um)

    def plane_shift_um(self, plane: Tensor) -> Tensor:
        """Return where planes really look, relative to where they should.

        Parameters
        ----------
        plane : Tensor of int64, shape (n,)
            Lattice index along z.

        Returns
        -------
        Tensor, shape (n, 3)
            µm (z, y, x): the plane shows what lies at its own position plus this.
        """

    def expose(
        self,
        density: Tensor,
        lumen: Tensor | None,
        boxes: Boxes,
        *,
        bodies: Tensor | None = None,
    ) -> Tensor:
        """Turn fluorophore into an image.

        Parameters
        ----------
        density : Tensor, shape (B, D, H, W)
            Fluorophore for each µm³, blurred by the point spread; 1 is a median soma.
        lumen : Tensor, shape (B, d, h, w), or None
            Share of each node of `lumen_boxes(boxes)` that is the inside of a vessel, 0 … 1,
            blurred by the point spread; None where there are no vessels.
        boxes : Boxes
            Which voxels of the camera's lattice these are.
        bodies : Tensor, shape (B, d, h, w), optional
            Share of each node of `lumen_boxes(boxes)` that is cell body, whether it shines or
            not, 0 … 1: there the background is darker.

        Returns
        -------
        Tensor, shape (B, D, H, W)
            Intensity with noise, which can be slightly negative in the dark.
        """


def draw(bounds: Range, rng: np.random.Generator) -> float:
    """Return a number drawn uniformly from a range."""
    return float(rng.uniform(*bounds))
