"""A mesh of capillaries: irregular loops, three at almost every branch point."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import cKDTree

# Mean length of a link in units of the spacing of the nodes, and links for each node:
# measured on large meshes of `link_nodes`.
_LINK_LENGTH = 0.875
_LINKS_PER_NODE = 1.475
_NEIGHBOURS = 12
_DEGREE = 3

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def scatter_nodes(
    low_um: npt.ArrayLike,
    high_um: npt.ArrayLike,
    metres_per_mm3: float,
    rng: np.random.Generator,
) -> Float64Array:
    """Return branch points that give a mesh of the stated length density.

    One lies in each cell of a lattice, so that no large piece of tissue is without blood.

    Parameters
    ----------
    low_um, high_um : array_like, shape (3,)
        The box to fill, µm (z, y, x).
    metres_per_mm3 : float
        Straight length of the links that `link_nodes` will draw.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (N, 3)
    """
    length_um_per_um3 = metres_per_mm3 * 1e-3
    spacing = math.sqrt(_LINKS_PER_NODE * _LINK_LENGTH / length_um_per_um3)
    low = np.asarray(low_um, np.float64)
    size = np.asarray(high_um, np.float64) - low
    cells = np.maximum(np.round(size / spacing), 1).astype(int)
    corner = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), axis=-1).reshape(-1, 3)
    nodes: Float64Array = low + (corner + rng.random(corner.shape)) * size / cells
    return nodes


def link_nodes(nodes: Float64Array) -> IntArray:
    """Link nodes with near ones: all hang together, few have more than three links.

    The shortest tree through all nodes holds them together; then the shortest links are
    added between nodes with fewer than three, but none that closes a loop of fewer than
    five with links of the tree.

    Parameters
    ----------
    nodes : ndarray, shape (N, 3)

    Returns
    -------
    ndarray of int64, shape (E, 2)
    """
    if len(nodes) < 2:
        return np.empty((0, 2), np.int64)
    near = min(_NEIGHBOURS, len(nodes) - 1)
    # The nearest of all is the node itself.
    distance, neighbour = (
        np.asarray(found)[:, 1:] for found in cKDTree(nodes).query(nodes, near + 1)
    )
    first = np.repeat(np.arange(len(nodes)), near)
    second, length = neighbour.ravel(), distance.ravel()
    shape = (len(nodes), len(nodes))
    tree = minimum_spanning_tree(sparse.csr_matrix((length, (first, second)), shape))
    links = np.stack(tree.nonzero(), axis=1).astype(np.int64)
    step = sparse.identity(len(nodes), format="csr") + abs(tree.sign()) + abs(tree.sign()).T
    in_small_loop = np.asarray((step @ step @ step)[first, second]).ravel() > 0
    # A pair of mutual neighbours is listed twice.
    asked = ~in_small_loop & ((first < second) | ~_listed(neighbour, second, first))
    pairs = np.stack([first[asked], second[asked]], axis=1)[np.argsort(length[asked])]
    spare = _DEGREE - np.bincount(links.ravel(), minlength=len(nodes))
    return np.concatenate([links, _shortest_first(pairs, spare)])


def _listed(neighbour: IntArray, row: IntArray, wanted: IntArray) -> npt.NDArray[np.bool_]:
    """Return whether ``wanted[i]`` is among the neighbours of ``row[i]``."""
    found: npt.NDArray[np.bool_] = (neighbour[row] == wanted[:, None]).any(axis=1)
    return found


def _shortest_first(pairs: IntArray, spare: IntArray) -> IntArray:
    """Choose pairs, earlier ones first, while both ends have links to spare.

    A pair that comes before all others at both of its ends would be chosen by going
    through them one by one, too; so all such pairs are taken at once, until none is left.
    """
    spare, chosen = spare.copy(), [np.empty((0, 2), np.int64)]
    pairs = pairs[(spare[pairs] > 0).all(axis=1)]
    while len(pairs):
        rank = np.arange(len(pairs))
        earliest = np.full(len(spare), len(pairs))
        np.minimum.at(earliest, pairs.ravel(), np.repeat(rank, 2))
        first_of_both = (earliest[pairs] == rank[:, None]).all(axis=1)
        chosen.append(pairs[first_of_both])
        spare -= np.bincount(chosen[-1].ravel(), minlength=len(spare))
        pairs = pairs[~first_of_both & (spare[pairs] > 0).all(axis=1)]
    return np.concatenate(chosen)
