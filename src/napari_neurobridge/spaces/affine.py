"""Affine maps between two named spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray, Vec3


def as_points(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return points as a float64 array of shape (N, 3), and refuse everything else.

    Parameters
    ----------
    points : array_like, shape (N, 3) or (3,)
        µm, (z, y, x).

    Raises
    ------
    InputError
        If the last axis is not 3 long, or a coordinate is no finite number.
    """
    try:
        array = np.atleast_2d(np.asarray(points, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputError("Points must be numbers, (z, y, x) in each row.") from None
    if array.size == 0:
        return array.reshape(0, 3)
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"Points must have shape (N, 3) in (z, y, x), not {array.shape}.")
    if not np.isfinite(array).all():
        raise InputError("Points hold NaN or infinite coordinates; remove those rows.")
    return array


@dataclass(frozen=True, eq=False)
class Affine:
    """An invertible affine map from one space to another.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        Homogeneous matrix acting on column vectors (z, y, x, 1), µm to µm.
    source, target : str
        Names of the spaces.

    Raises
    ------
    InputError
        If the matrix has another shape, is not finite or cannot be inverted.
    """

    matrix: npt.NDArray[np.float64]
    source: str
    target: str

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError("An affine needs a finite 4 x 4 matrix in (z, y, x, 1).")
        if not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise InputError("The last row of an affine matrix must be 0 0 0 1.")
        scale = np.linalg.norm(matrix[:3, :3], axis=0)
        # Relative to the axes' lengths, so that nanometres are as invertible as metres.
        if abs(np.linalg.det(matrix[:3, :3])) <= 1e-9 * max(float(np.prod(scale)), 1e-300):
            raise InputError("This affine flattens space and has no inverse.")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def from_linear(
        cls, linear: FloatArray, translation: npt.ArrayLike, *, source: str, target: str
    ) -> Affine:
        """Build a map from a (3, 3) linear part and a (3,) translation in µm."""
        matrix = np.eye(4)
        matrix[:3, :3] = linear
        matrix[:3, 3] = translation
        return cls(matrix, source, target)

    @classmethod
    def from_voxels(
        cls, voxel_size_um: Vec3, *, source: str, target: str, origin_um: Vec3 = (0.0, 0.0, 0.0)
    ) -> Affine:
        """Map array indices to µm; ``origin_um`` is the centre of voxel (0, 0, 0)."""
        if len(voxel_size_um) != 3 or min(voxel_size_um) <= 0:
            raise InputError(f"Voxel sizes must be three positive µm, not {voxel_size_um}.")
        return cls.from_linear(np.diag(voxel_size_um), origin_um, source=source, target=target)

    @property
    def linear(self) -> npt.NDArray[np.float64]:
        """The (3, 3) linear part."""
        return self.matrix[:3, :3]

    @property
    def translation(self) -> npt.NDArray[np.float64]:
        """The (3,) translation in µm of the target space."""
        return self.matrix[:3, 3]

    def map_points(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points of shape (N, 3), µm (z, y, x), from source to target."""
        return as_points(points) @ self.linear.T + self.translation

    def inverse(self) -> Affine:
        """Return the map from target back to source."""
        inverted = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        return Affine(inverted, self.target, self.source)

    def then(self, other: Affine) -> Affine:
        """Return the map that applies this one first and ``other`` second.

        Raises
        ------
        InputError
            If ``other`` does not start where this map ends.
        """
        if other.source != self.target:
            raise InputError(
                f"Cannot chain {self.source} → {self.target} with {other.source} → {other.target}."
            )
        return Affine(other.matrix @ self.matrix, self.source, other.target)
