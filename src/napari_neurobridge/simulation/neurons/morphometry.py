"""Statistics of dendrites, to compare procedural neurons with reconstructed ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_neurobridge.io.morphology import Reconstruction, sum_to_root
from napari_neurobridge.simulation.cloud import Part

SHOLL_RADII_UM = tuple(float(radius) for radius in range(0, 61, 5))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DendriteStatistics:
    """Shape of the dendrites of one neuron.

    Attributes
    ----------
    stems : int
        Dendrites that leave the soma.
    segments : int
        Unbranched pieces between soma, branch points and tips.
    tips : int
        Ends.
    max_order : int
        Highest centrifugal branch order: 1 for a stem, one more after each branch point.
    median_tip_order : float
        Median order of the segments that end in a tip.
    median_tip_path_um, max_path_um : float
        Way along the tree from the soma to the tips.
    length_um : float
        Of all dendrites together.
    sholl : tuple of int
        Number of dendrites that cross the spheres around the soma with `SHOLL_RADII_UM`.
    """

    stems: int
    segments: int
    tips: int
    max_order: int
    median_tip_order: float
    median_tip_path_um: float
    max_path_um: float
    length_um: float
    sholl: tuple[int, ...]


def dendrites(neuron: Reconstruction, within_um: float | None = None) -> Reconstruction:
    """Return the root and the dendrites that grow from it.

    Parameters
    ----------
    neuron : Reconstruction
    within_um : float, optional
        Cut the tree where it leaves this straight distance from the root, as a block of tissue
        does; so that neurons of which more or less was traced can be compared.
    """
    kept = np.isin(neuron.type, (Part.SOMA, Part.BASAL, Part.APICAL))
    if within_um is not None:
        kept &= neuron.distance_um <= within_um
    return neuron.keep(kept)


def measure_dendrites(neuron: Reconstruction, within_um: float | None = None) -> DendriteStatistics:
    """Measure the dendrites of a neuron; parameters as for `dendrites`."""
    tree = dendrites(neuron, within_um)
    process = tree.type != Part.SOMA
    below = np.maximum(tree.parent, 0)
    from_soma = process & (tree.type[below] == Part.SOMA)
    children = np.bincount(tree.parent[process], minlength=len(tree))
    starts = from_soma | (process & (children[below] > 1))
    tip = process & (children == 0)
    order = sum_to_root(tree.parent, starts.astype(np.float64))
    edge = np.where(process, tree.edge_um, 0)
    path = sum_to_root(tree.parent, edge)
    return DendriteStatistics(
        stems=int(from_soma.sum()),
        segments=int(starts.sum()),
        tips=int(tip.sum()),
        max_order=int(order.max()),
        median_tip_order=float(np.median(order[tip])) if tip.any() else 0.0,
        median_tip_path_um=float(np.median(path[tip])) if tip.any() else 0.0,
        max_path_um=float(path.max()),
        length_um=float(edge.sum()),
        sholl=tuple(int(count) for count in sholl_profile(tree)),
    )


def sholl_profile(
    tree: Reconstruction, radii_um: tuple[float, ...] = SHOLL_RADII_UM
) -> npt.NDArray[np.int64]:
    """Count the edges of a tree that cross spheres around its root (Sholl, J. Anat. 87, 1953).

    Parameters
    ----------
    tree : Reconstruction
        E.g. of `dendrites`.
    radii_um : tuple of float
        R radii.

    Returns
    -------
    ndarray of int64, shape (R,)
    """
    distance = tree.distance_um[:, None]
    radii = np.asarray(radii_um)
    inside = distance < radii
    edges = tree.parent >= 0
    crossings: npt.NDArray[np.int64] = (inside[edges] != inside[tree.parent[edges]]).sum(axis=0)
    return crossings
