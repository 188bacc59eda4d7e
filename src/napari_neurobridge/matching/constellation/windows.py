"""Windows of somata that the network matches as a whole, and the matches of all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# The spacing follows from the distance of the n-th neighbour, as among random points.
_NTH = 8
# Share of a window that is its own; the rest overlaps its neighbours.
_OWN = 0.7
_TRIAL_DEG = 18.0


def common_spacing_um(queries_um: Float64Array, gallery_um: Float64Array) -> float:
    """Return the typical edge of the cube that a soma has to itself, over both sides."""
    return float(np.sqrt(spacing_um(queries_um) * spacing_um(gallery_um)))


def spacing_um(points: Float64Array) -> float:
    """Return the typical edge of the cube that a soma has to itself."""
    nth = min(_NTH, len(points) - 1)
    away = np.asarray(cKDTree(points).query(points, k=[nth + 1])[0])
    return float(np.median(away) * (4 / 3 * np.pi / nth) ** (1 / 3))


def windows(points: Float64Array, size: int) -> list[RowArray]:
    """Return rows of overlapping compact windows of at most ``size`` points; all are covered."""
    all_rows = np.arange(len(points))
    if len(points) <= size:
        return [all_rows]
    tree = cKDTree(points)
    found = []
    for leaf in _leaves(points, all_rows, max(1, int(_OWN * size))):
        inside = points[leaf]
        centre = (inside.min(axis=0) + inside.max(axis=0)) / 2
        near = np.asarray(tree.query(centre, k=size)[1])
        others = near[~np.isin(near, leaf)][: size - len(leaf)]
        found.append(np.concatenate([leaf, others]))
    return found


def _leaves(points: Float64Array, rows: RowArray, most: int) -> list[RowArray]:
    """Halve along the longest side until each part is small enough."""
    if len(rows) <= most:
        return [rows]
    inside = points[rows]
    axis = int(np.argmax(np.ptp(inside, axis=0)))
    order = rows[np.argsort(inside[:, axis], kind="stable")]
    half = len(order) // 2
    return [*_leaves(points, order[:half], most), *_leaves(points, order[half:], most)]


def trial_rotations(count: int) -> Float64Array:
    """Return rotations (K, 3, 3) about the identity, so that ±30° about any axis is near one.

    Parameters
    ----------
    count : int
        At most 13: the identity, and 18° about the axes to the corners of an icosahedron.
    """
    golden = (1 + np.sqrt(5)) / 2
    corners = [
        np.roll((0.0, one, two), shift)
        for shift in range(3)
        for one in (1.0, -1.0)
        for two in (golden, -golden)
    ]
    axes = np.array(corners) / np.hypot(1.0, golden)
    around = Rotation.from_rotvec(np.deg2rad(_TRIAL_DEG) * axes).as_matrix()
    return np.concatenate([np.eye(3)[None], around])[:count]


def one_to_one(pairs: RowArray, confidence: Float64Array) -> tuple[RowArray, Float64Array]:
    """Return a one-to-one choice among claims (L, 2) of several windows, the surest first."""
    order = np.argsort(-confidence, kind="stable")
    taken: tuple[set[int], set[int]] = (set(), set())
    kept = []
    for row in order.tolist():
        query, candidate = pairs[row].tolist()
        if query not in taken[0] and candidate not in taken[1]:
            taken[0].add(query)
            taken[1].add(candidate)
            kept.append(row)
    return pairs[kept], confidence[kept]
