"""Reconstructed neurons from SWC files: trees of nodes, in µm and (z, y, x).

The format is that of Cannon et al., J. Neurosci. Methods 84 (1998): one node a line, with
id, type, x, y, z, radius and the id of its parent, which is -1 for the root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import ErrorKind, InputError

MAX_NODES = 500_000
_COLUMNS = 7
_SOMA, _AXON, _BASAL, _APICAL = 1, 2, 3, 4
_USUAL_RADIUS_UM = {_AXON: 0.3, _BASAL: 0.5, _APICAL: 0.7}
# Dendrites of mouse neurons reach 140 to 910 µm in shared reconstructions, which is 6 to 36
# voxels of an atlas of 25 µm.
_DENDRITE_REACH_UM = (40.0, 3000.0)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reconstruction:
    """One neuron as a tree; parents stand before their children, the root is row 0.

    Attributes
    ----------
    name : str
        For messages.
    id : ndarray of int64, shape (N,)
        As in the file.
    type : ndarray of int64, shape (N,)
        1 soma, 2 axon, 3 basal and 4 apical dendrite; others are kept as they are.
    position_um : ndarray, shape (N, 3)
        µm, (z, y, x).
    radius_um : ndarray, shape (N,)
        Positive. Usual radii of the types where the file states none.
    parent : ndarray of int64, shape (N,)
        Row of the parent; -1 for the root.
    has_radii : bool
        Whether the file states radii.
    """

    name: str
    id: Integers
    type: Integers
    position_um: Floats
    radius_um: Floats
    parent: Integers
    has_radii: bool = True

    def __len__(self) -> int:
        return len(self.id)

    @property
    def edge_um(self) -> Floats:
        """Distance of each node from its parent, shape (N,); 0 for the root."""
        way = self.position_um - self.position_um[np.maximum(self.parent, 0)]
        return np.asarray(np.linalg.norm(way, axis=1))

    @property
    def distance_um(self) -> Floats:
        """Straight distance of each node from the root, shape (N,)."""
        return np.asarray(np.linalg.norm(self.position_um - self.position_um[0], axis=1))

    def keep(self, kept: npt.NDArray[np.bool_]) -> Reconstruction:
        """Return the nodes marked in ``kept`` (N,) whose way to the root is marked all along."""
        kept = sum_to_root(self.parent, (~kept).astype(np.float64)) == 0
        kept[0] = True
        row = np.cumsum(kept) - 1
        parent = np.where(self.parent < 0, -1, row[np.maximum(self.parent, 0)])
        return Reconstruction(
            self.name,
            self.id[kept],
            self.type[kept],
            self.position_um[kept],
            self.radius_um[kept],
            parent[kept],
            self.has_radii,
        )


def sum_to_root(parent: Integers, weight: Floats) -> Floats:
    """Return the sum of the weights on the way from each node to its root, both included.

    Parameters
    ----------
    parent : ndarray of int64, shape (N,)
        Row of the parent; -1 for a root. In any order, but without circles.
    weight : ndarray, shape (N,)

    Notes
    -----
    Every node's pointer jumps twice as far in each round, so that a chain of any length takes
    ``log2(N)`` rounds.
    """
    total = weight.astype(np.float64)
    target = parent.copy()
    moving = np.flatnonzero(target >= 0)
    for _ in range(len(parent).bit_length() + 1):
        if not len(moving):
            break
        ahead = target[moving]
        total[moving] += total[ahead]
        target[moving] = target[ahead]
        moving = moving[target[moving] >= 0]
    return total


def read_swc(path: str | Path, *, um_per_unit: float = 1.0) -> Reconstruction:
    """Read one neuron.

    Parameters
    ----------
    path : str or Path
        Nodes may come in any order; further columns are ignored.
    um_per_unit : float
        Size of the file's unit of length, e.g. 25 for voxels of a 25 µm atlas.

    Returns
    -------
    Reconstruction
        A file whose radii (of soma, axon and dendrites) are all 0, or all the same, states
        none, since many files carry a placeholder: its nodes get usual radii, and
        `Reconstruction.has_radii` is False.

    Raises
    ------
    InputError
        If the file cannot be read, a number is not one or not finite, there are more than
        500,000 nodes, an id stands twice, there is not exactly one root, the root is no soma, a
        parent is missing, nodes follow each other in a circle, or a radius is negative, or 0
        beside others that are not.
    """
    path = Path(path)
    if not (math.isfinite(um_per_unit) and um_per_unit > 0):
        raise InputError(f"The unit of a morphology must be larger than 0 µm, not {um_per_unit:g}.")
    table = _read_table(path)
    name = path.name
    ids, types, parent_ids = (_whole_numbers(table[:, column], name) for column in (0, 1, 6))
    parent = _parent_rows(ids, parent_ids, name)
    order = _parents_first(ids, parent, name)
    if types[order[0]] != _SOMA:
        raise InputError(
            f"{name}: the root, node {ids[order[0]]}, is no soma (type 1 but {types[order[0]]}); "
            "give the file a soma as its root, or leave it out."
        )
    radius, has_radii = _radii(table[:, 5] * um_per_unit, ids, types, name)
    row = np.empty(len(order), dtype=np.int64)
    row[order] = np.arange(len(order))
    return Reconstruction(
        name,
        ids[order],
        types[order],
        table[order][:, 4:1:-1] * um_per_unit,
        radius[order],
        np.where(parent < 0, -1, row[parent])[order],
        has_radii,
    )


def read_swc_folder(folder: str | Path, *, um_per_unit: float = 1.0) -> list[Reconstruction]:
    """Read every ``*.swc`` of a folder, in the order of their names.

    Raises
    ------
    InputError
        As `read_swc`; and if there is no such folder or no file in it, or dendrites end closer
        than 40 µm to the soma or farther than 3 mm from it, as when the unit is not stated.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".swc")
    if not paths:
        raise InputError(f"{folder} holds no .swc file.")
    neurons = [read_swc(path, um_per_unit=um_per_unit) for path in paths]
    for neuron in neurons:
        _check_size(neuron)
    return neurons


def _check_size(neuron: Reconstruction) -> None:
    dendrite = np.isin(neuron.type, (_BASAL, _APICAL))
    reach = neuron.distance_um[dendrite if dendrite.any() else slice(None)].max()
    low, high = _DENDRITE_REACH_UM
    if reach < low:
        raise InputError(
            f"{neuron.name} reaches only {reach:.3g} µm from its soma, so its unit looks like "
            "voxels.",
            kind=ErrorKind.UNKNOWN_UNIT,
        )
    if dendrite.any() and reach > high:
        raise InputError(
            f"{neuron.name} has dendrites {reach / 1000:.3g} mm long, too long for a neuron: "
            "its unit is another one.",
            kind=ErrorKind.UNKNOWN_UNIT,
        )


def _read_table(path: Path) -> Floats:
    """Return the first seven columns of all nodes, shape (N, 7)."""
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8", errors="strict") as handle:
            for line in handle:
                if not line.isspace() and not line.lstrip().startswith("#"):
                    lines.append(line)
                    if len(lines) > MAX_NODES:
                        raise InputError(
                            f"{path.name} has more than {MAX_NODES:,} nodes; resample the "
                            "neuron to about one node per µm."
                        )
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is no SWC file: {error}.") from error
    if not lines:
        raise InputError(f"{path.name} holds no node.")
    try:
        table = np.loadtxt(lines, usecols=range(_COLUMNS), ndmin=2, comments="#")
    except ValueError as error:
        raise InputError(
            f"{path.name} is no SWC file, whose lines hold id, type, x, y, z, radius and parent: "
            f"{error}."
        ) from None
    bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(bad):
        raise InputError(f"{path.name}: node {table[bad[0], 0]:g} holds a number that is not one.")
    return table


def _whole_numbers(values: Floats, name: str) -> Integers:
    whole = np.rint(values)
    wrong = np.flatnonzero((whole != values) | (np.abs(whole) > 2**53))
    if len(wrong):
        raise InputError(f"{name}: {values[wrong[0]]:g} is no id or type, which are whole numbers.")
    return whole.astype(np.int64)


def _parent_rows(ids: Integers, parent_ids: Integers, name: str) -> Integers:
    """Return the row of each node's parent; -1 for the root."""
    order = np.argsort(ids, kind="stable")
    ranked = ids[order]
    twice = ranked[1:][ranked[1:] == ranked[:-1]]
    if len(twice):
        raise InputError(f"{name} names node {twice[0]} twice; an id belongs to one node.")
    root = parent_ids == -1
    if not root.any():
        raise InputError(f"{name} has no root: one node must have the parent -1.")
    if root.sum() > 1:
        shown = ", ".join(str(node) for node in ids[root][:3])
        raise InputError(
            f"{name} has {root.sum()} roots (nodes {shown}{', …' if root.sum() > 3 else ''}); "
            "keep one tree in a file."
        )
    place = np.searchsorted(ranked, parent_ids).clip(max=len(ids) - 1)
    missing = np.flatnonzero((ranked[place] != parent_ids) & ~root)
    if len(missing):
        raise InputError(
            f"{name}: node {ids[missing[0]]} has the parent {parent_ids[missing[0]]}, which is "
            "not in the file."
        )
    return np.where(root, -1, order[place])


def _parents_first(ids: Integers, parent: Integers, name: str) -> Integers:
    """Return the rows by their number of edges from the root, which stands first."""
    target = parent.copy()
    for _ in range(len(parent).bit_length()):
        target = np.where(target < 0, -1, target[target])
    lost = np.flatnonzero(target >= 0)
    if len(lost):
        raise InputError(
            f"{name}: node {ids[lost[0]]} never leads to the root, since its ancestors follow "
            "each other in a circle."
        )
    depth = sum_to_root(parent, np.ones(len(parent)))
    return np.argsort(depth, kind="stable")


def _radii(radius: Floats, ids: Integers, types: Integers, name: str) -> tuple[Floats, bool]:
    """Return radii that are all positive, and whether they are the file's own."""
    negative = np.flatnonzero(radius < 0)
    if len(negative):
        raise InputError(f"{name}: node {ids[negative[0]]} has a negative radius.")
    own = radius[np.isin(types, (_SOMA, _AXON, _BASAL, _APICAL))]
    if len(own) > 1 and np.ptp(own) == 0:
        usual = np.full(len(radius), _USUAL_RADIUS_UM[_BASAL])
        for kind, value in _USUAL_RADIUS_UM.items():
            usual[types == kind] = value
        return usual, False
    zero = np.flatnonzero(radius == 0)
    if len(zero):
        raise InputError(
            f"{name}: node {ids[zero[0]]} has the radius 0 and others have not; give every node "
            "its radius, or 0 to all when radii are unknown."
        )
    return radius, True
