"""Shot and read noise that belongs to the voxel, not to the order of drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.lattice import Boxes

_PER_WORD = 4
# A lattice has room for 2**20 voxels along y and x around its origin.
_WORDS_IN_ROW = 1 << 18
_ROWS_IN_PLANE = 1 << 20


def voxel_normals(key: Key, boxes: Boxes, device: torch.device) -> Tensor:
    """Return one standard normal number for each voxel of a lattice, shape (B, D, H, W).

    Four neighbours along x share one word of random bits.
    """
    width = boxes.shape[2]
    z, y, x = (boxes.index(axis) for axis in range(3))
    rows = (z * _ROWS_IN_PLANE)[:, :, None] + y[:, None, :]
    words = x[:, :1] // _PER_WORD + torch.arange((width + 2 * _PER_WORD - 2) // _PER_WORD)
    index = (rows * _WORDS_IN_ROW).to(device)[..., None] + words.to(device)[:, None, None, :]
    numbers = key.normal(index, _PER_WORD).flatten(-2)
    skipped = [start[2] % _PER_WORD for start in boxes.starts]
    if len(set(skipped)) == 1:
        return numbers[..., skipped[0] : skipped[0] + width]
    return torch.stack(
        [row[..., skip : skip + width] for row, skip in zip(numbers, skipped, strict=True)]
    )


def shoot_(signal: Tensor, photons: float, read_noise: float, key: Key, boxes: Boxes) -> Tensor:
    """Add shot and read noise in place: variance ``signal / photons + read_noise²``.

    Shot noise is Gaussian: at tens of photons a Poisson distribution nearly is.

    Parameters
    ----------
    signal : Tensor, shape (B, D, H, W)
        Expected intensity of the voxels of `boxes`.
    photons : float
        Detected photons per voxel from intensity 1.
    read_noise : float
        Standard deviation of the part that does not depend on the signal.
    key : Key
        Names the exposure.
    boxes : Boxes
        Which voxels of the camera's lattice these are.
    """
    deviation = (signal / photons).clamp_(min=0).add_(read_noise**2).sqrt_()
    return signal.addcmul_(deviation, voxel_normals(key, boxes, signal.device))
