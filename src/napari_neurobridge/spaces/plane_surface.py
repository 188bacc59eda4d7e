"""The surface that somata of one plane lie on in the other space, and how well it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import as_points
from napari_neurobridge.spaces.similarity import span

if TYPE_CHECKING:
    from napari_neurobridge.spaces.alignment import Alignment, InverseAlignment

Float64Array = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]

SPACING_UM = 20.0
_PLANE = 2
# A wider field gets wider meshes, lest one soma far off asks for millions of them.
_MOST_ALONG = 100


@dataclass(frozen=True, eq=False)
class PlaneSurface:
    """A plane of one space in the other, as a net of meshes.

    Attributes
    ----------
    vertices_um : ndarray, shape (V, 3)
        µm (z, y, x) of the other space.
    faces : ndarray of int, shape (F, 3)
        Rows of the vertices of each triangle.
    sigma_um : ndarray, shape (V,)
        Standard deviation along the surface's normal: of where the cells' tissue lies, without
        the noise of a soma's own place.
    lines : ndarray of int, shape (E, 2)
        Rows of the vertices that each side of a mesh joins.
    """

    vertices_um: Float64Array
    faces: IndexArray
    sigma_um: Float64Array
    lines: IndexArray

    def crossing(self, axis: int, depth_um: float) -> tuple[Float64Array, Float64Array]:
        """Return where the surface crosses a slice.

        Parameters
        ----------
        axis : int
            Of (z, y, x), which the slice is at right angles to.
        depth_um : float
            Where the slice lies along it.

        Returns
        -------
        lines : ndarray, shape (S, 2, 3)
            µm (z, y, x): where each line begins, and its way to where it ends.
        sigma_um : ndarray, shape (S,)
            Standard deviation of the surface there.
        """
        above = self.vertices_um[self.faces, axis] > depth_um
        crossed = np.flatnonzero(above.any(axis=1) & ~above.all(axis=1))
        above, faces = above[crossed], self.faces[crossed]
        # One corner of each triangle lies on the one side, and two on the other.
        alone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), above.argmin(axis=1))
        each = np.arange(len(faces))
        tip = faces[each, alone]
        ends = []
        for step in (1, 2):
            base = faces[each, (alone + step) % 3]
            high, low = self.vertices_um[tip, axis], self.vertices_um[base, axis]
            share = ((depth_um - high) / (low - high))[:, None]
            ends.append((1 - share) * self.vertices_um[tip] + share * self.vertices_um[base])
        lines = np.stack([ends[0], ends[1] - ends[0]], axis=1)
        return lines, self.sigma_um[faces].mean(axis=1)


def lies_in_plane(points_um: npt.ArrayLike) -> bool:
    """Return whether somata (N, 3) lie in one plane, but not on a line."""
    return span(as_points(points_um)) == _PLANE


def plane_surface(
    alignment: Alignment | InverseAlignment,
    points_um: npt.ArrayLike,
    spacing_um: float = SPACING_UM,
) -> PlaneSurface:
    """Lay a net over the somata of one plane and map it to the other space.

    It covers the convex hull of the somata, and about one mesh around it.

    Parameters
    ----------
    alignment : Alignment or InverseAlignment
        From the plane's space to the other.
    points_um : array_like, shape (N, 3)
        The plane's somata, µm (z, y, x) of its own space.
    spacing_um : float
        Side of a mesh, in the plane's own space; more in fields wider than 100 meshes.

    Raises
    ------
    InputError
        If the somata do not lie in one plane, or the spacing is no length.
    NotInvertibleError
        If the alignment folds there.
    """
    points = as_points(points_um)
    if not lies_in_plane(points):
        raise InputError("These somata do not lie in one plane, so they have no surface.")
    if not (np.isfinite(spacing_um) and spacing_um > 0):
        raise InputError(f"A surface needs meshes of a positive size in µm, not {spacing_um:g}.")
    center = points.mean(axis=0)
    axes = _axes_within(np.linalg.svd(points - center, full_matrices=False)[2][-1])
    flat, cells = _grid((points - center) @ axes.T, spacing_um)
    vertices, covariance = alignment.predict(center + flat @ axes)
    faces = np.vstack([cells[:, [0, 1, 2]], cells[:, [1, 3, 2]]])
    sides = np.vstack([cells[:, pair] for pair in ([0, 1], [0, 2], [1, 3], [2, 3])])
    normal = _normals(vertices, faces)
    variance = np.einsum("vi,vij,vj->v", normal, covariance, normal)
    return PlaneSurface(vertices, faces, np.sqrt(variance), np.unique(sides, axis=0))


def _axes_within(normal: Float64Array) -> Float64Array:
    """Return two unit vectors (2, 3) within a plane, the first along one of (z, y, x) at best."""
    nearest = int(np.abs(normal).argmin())
    first = np.eye(3)[nearest] - normal[nearest] * normal
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _grid(flat_um: Float64Array, spacing_um: float) -> tuple[Float64Array, IndexArray]:
    """Return a grid over points (N, 2), (V, 2), and the four corners of each of its meshes."""
    low, high = flat_um.min(axis=0), flat_um.max(axis=0)
    step = max(spacing_um, float((high - low).max()) / _MOST_ALONG)
    # The grid's middle is that of the field, two meshes beyond it on each side.
    count = np.ceil((high - low) / step).astype(int) + 5
    first = (low + high - (count - 1) * step) / 2
    rows, columns = np.indices(count).reshape(2, -1)
    grid = first + step * np.column_stack([rows, columns])
    hull = ConvexHull(flat_um).equations
    # A mesh's diagonal: all corners of a mesh that touches the hull are that near.
    inside = ((grid @ hull[:, :2].T + hull[:, 2]) <= np.sqrt(2) * step).all(axis=1)
    corner = np.flatnonzero((rows < count[0] - 1) & (columns < count[1] - 1))
    cells = corner[:, None] + np.array([0, 1, count[1], count[1] + 1])
    cells = cells[inside[cells].all(axis=1)]
    used, renumbered = np.unique(cells, return_inverse=True)
    return grid[used], renumbered.reshape(-1, 4)


def _normals(vertices: Float64Array, faces: IndexArray) -> Float64Array:
    """Return the unit normal at each vertex, (V, 3): the mean of its triangles', by their area."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    across = np.cross(second - first, third - first)
    normal = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normal, faces[:, corner], across)
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))
