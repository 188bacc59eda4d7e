"""Whether a voxel size can be meant: a slip of units makes every distance wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_neurobridge.types import Vec3

LEAST_UM, MOST_UM = 0.05, 50.0
"""Voxels of light microscopes, from super-resolution to a coarse overview of a brain."""

MOST_EXTENT_UM = 50_000.0
"""No mouse or rat brain is longer."""


def doubt_of(voxel_size_um: Vec3, shape: tuple[int, int, int]) -> str:
    """Return why a voxel size looks like a mistake; empty when it does not.

    Parameters
    ----------
    voxel_size_um : Vec3
        µm (z, y, x).
    shape : tuple of int
        Voxels along z, y and x. The thickness of a single plane is never doubted.
    """
    for axis, size, length in zip("zyx", voxel_size_um, shape, strict=True):
        if length > 1 and not LEAST_UM <= size <= MOST_UM:
            # The neighbouring unit that makes it usual is what was probably meant.
            guess, unit = (size / 1e3, "nm") if size > MOST_UM else (size * 1e3, "mm")
            meant = f"; is {size:g} in {unit}, which is {guess:.3g} µm?"
            usual = LEAST_UM <= guess <= MOST_UM
            return (
                f"{size:g} µm along {axis} is unusual, {LEAST_UM:g} to {MOST_UM:g} µm are usual"
                f"{meant if usual else ''}"
            )
    for axis, size, length in zip("zyx", voxel_size_um, shape, strict=True):
        if length > 1 and size * length > MOST_EXTENT_UM:
            return f"{size:g} µm along {axis} makes the image {size * length / 1e3:.3g} mm long"
    return ""
