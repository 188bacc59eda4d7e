"""Hypothesis strategies for positions and the maps between spaces."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_neurobridge.spaces import Affine, Orientation
from napari_neurobridge.types import Vec3

ALL_AXES = tuple(
    "".join(sign + axis for sign, axis in zip(signs, axes, strict=True))
    for axes in permutations("zyx")
    for signs in product("+-", repeat=3)
)
"""The 48 ways in which three signed axes can lie in three others."""

coordinates = st.floats(-1e4, 1e4, allow_nan=False, width=32)
positions: st.SearchStrategy[Vec3] = st.tuples(coordinates, coordinates, coordinates)
voxel_sizes: st.SearchStrategy[Vec3] = st.tuples(*[st.floats(0.05, 50)] * 3)


def points(min_size: int = 0, max_size: int = 20) -> st.SearchStrategy[npt.NDArray[np.float64]]:
    """Draw points of shape (N, 3)."""
    return st.integers(min_size, max_size).flatmap(
        lambda n: npst.arrays(np.float64, (n, 3), elements=coordinates)
    )


@st.composite
def orientations(draw: st.DrawFn) -> Orientation:
    """Draw any permuted, mirrored, turned and scaled placing."""
    return Orientation(
        axes=draw(st.sampled_from(ALL_AXES)),
        angle_deg=draw(st.floats(-180, 180)),
        expansion=draw(st.floats(0.3, 3)),
        shift_um=draw(positions),
    )


@st.composite
def affines(draw: st.DrawFn, source: str = "a", target: str = "b") -> Affine:
    """Draw a well-conditioned map: anisotropic voxels into an arbitrarily placed dataset."""
    voxels = Affine.from_voxels(
        draw(voxel_sizes), source=source, target="between", origin_um=draw(positions)
    )
    placing = draw(orientations()).to_affine(
        source="between",
        target=target,
        source_center_um=draw(positions),
        target_center_um=draw(positions),
    )
    return voxels.then(placing)
