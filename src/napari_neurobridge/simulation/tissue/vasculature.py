"""Grow the blood vessels of a block of cortex.

Pial vessels run side by side along the surface; penetrating ones leave them at right angles
and dive; capillaries hang between the penetrating ones as a mesh of irregular loops.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from napari_neurobridge.simulation.parameters import NonNegative, Parameters, Positive
from napari_neurobridge.simulation.tissue.capillaries import link_nodes, scatter_nodes
from napari_neurobridge.simulation.tissue.vessels import VesselKind, Vessels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

# Vessels are grown beyond the block by this much, so that its borders look like its middle.
_MARGIN_UM = 50.0
_STEP_UM, _CAPILLARY_STEP_UM = 8.0, 5.0
# Waves that make a vessel wind, and its radius change, along its way.
_WIND_WAVES_UM = (130.0, 270.0, 450.0)
_WIND_UM = 5.0
_PIAL_WIND_UM = 12.0
_PIAL_SWELLING = 0.1
# A capillary that leaves a penetrating vessel is wider than those of the mesh.
_OFFSHOOT_RADIUS_UM = 3.5
_LONGEST_OFFSHOOT_UM = 120.0
# The mesh leaves this much free around penetrating vessels and under the surface.
_FREE_UM = 15.0

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class VesselParams(Parameters):
    """How blood vessels fill the tissue.

    The defaults give a lumen of 1.2 % of the tissue in capillaries, 0.4 % in penetrating
    vessels, and 0.7 % of the uppermost 900 µm on the surface: of the order that Tsai et al.
    (J. Neurosci. 29:14553, 2009) and Blinder et al. (Nat. Neurosci. 16:889, 2013) report
    for the mouse.

    Attributes
    ----------
    pial_spacing_um : float
        Between neighbouring vessels on the surface.
    pial_radius_um : tuple of float
        Range of their radii.
    penetrating_per_mm2 : float
        Vessels that dive, for each mm² of surface.
    penetrating_radius_um : tuple of float
        Range of their radii; each tapers on its way down, within the range.
    penetrating_depth_um : tuple of float
        Range of the depths under the surface where they end.
    offshoot_um : float
        Length of penetrating vessel between two of its branches.
    capillary_m_per_mm3 : float
        Length of capillaries, as the crow flies between branch points, for each mm³.
    capillary_radius_um : tuple of float
        Range of their radii.
    tortuosity : float
        How far a capillary strays from the straight line, as a share of its length (rms).
    """

    pial_spacing_um: Positive = 300.0
    pial_radius_um: tuple[Positive, Positive] = (12.0, 25.0)
    penetrating_per_mm2: NonNegative = 40.0
    penetrating_radius_um: tuple[Positive, Positive] = (5.0, 10.0)
    penetrating_depth_um: tuple[Positive, Positive] = (400.0, 1100.0)
    offshoot_um: Positive = 80.0
    capillary_m_per_mm3: Positive = 0.45
    capillary_radius_um: tuple[Positive, Positive] = (2.0, 3.5)
    tortuosity: NonNegative = 0.12


@dataclass(frozen=True)
class _Graph:
    """Nodes (V, 3) with radii (V,), links (E, 2) with the radius at either end, and their kind."""

    node_um: Float64Array
    node_radius_um: Float64Array
    link: IntArray
    radius_um: Float64Array
    kind: IntArray

    @classmethod
    def of(
        cls, node_um: Float64Array, radius_um: Float64Array, link: IntArray, kind: int
    ) -> _Graph:
        """Return a graph whose links are as wide as their nodes."""
        return cls(node_um, radius_um, link, radius_um[link], np.full(len(link), kind))

    @classmethod
    def join(cls, graphs: Sequence[_Graph]) -> _Graph:
        """Return graphs as one, their nodes in order."""
        offsets = np.cumsum([0, *(len(graph.node_um) for graph in graphs[:-1])])
        return cls(
            np.concatenate([graph.node_um for graph in graphs]),
            np.concatenate([graph.node_radius_um for graph in graphs]),
            np.concatenate([graph.link + by for graph, by in zip(graphs, offsets, strict=True)]),
            np.concatenate([graph.radius_um for graph in graphs]),
            np.concatenate([graph.kind for graph in graphs]),
        )

    def with_links(self, link: IntArray, radius_um: Float64Array, kind: int) -> _Graph:
        """Return the graph with more links, (K, 2), and the radii at their ends, (K, 2)."""
        return replace(
            self,
            link=np.concatenate([self.link, link]),
            radius_um=np.concatenate([self.radius_um, radius_um]),
            kind=np.concatenate([self.kind, np.full(len(link), kind)]),
        )


@dataclass(frozen=True)
class _Block:
    """Where vessels are grown: the block and a margin, from the surface of the brain down."""

    low: Float64Array
    high: Float64Array
    surface_um: float


def grow_vessels(
    low_um: Vec3,
    high_um: Vec3,
    top_um: float,
    params: VesselParams,
    key: Key,
    device: torch.device | str = "cpu",
) -> Vessels:
    """Grow the vessels that cross a block, from the surface of the brain down.

    Parameters
    ----------
    low_um, high_um : Vec3
        The block. Vessels reach some 50 µm beyond it, and up to the surface.
    top_um : float
        Depth of z = 0 under the surface.
    params : VesselParams
        Sizes and densities.
    key : Key
        Source of all randomness.
    device : torch.device or str
        Where the graph, and the points made from it, lie.
    """
    rng = key.rng()
    low = np.subtract(low_um, _MARGIN_UM)
    low[0] = max(low[0], -top_um)
    block = _Block(low, np.add(high_um, _MARGIN_UM), -top_um)
    pial = _pial(block, params, rng)
    divers, roots, offshoots = _divers(block, params, rng)
    mesh = _mesh(block, divers.node_um, params, rng)
    graph = _hang_divers(_Graph.join([divers, mesh, pial]), roots, len(pial.node_um))
    graph = _hang_mesh(graph, offshoots, slice(len(divers.node_um), -len(pial.node_um) or None))
    node, segment, radius, kind = map(torch.from_numpy, _subdivide(graph, params.tortuosity, rng))
    return Vessels(
        node.float().to(device),
        segment.to(device),
        radius.float().to(device),
        kind.to(device),
        key.child("lumen"),
    )


def _wind(steps: int, rows: int, rng: np.random.Generator) -> Float64Array:
    """Return smooth random functions of the way along a vessel, (rows, steps), of rms 1."""
    along = np.arange(steps) * _STEP_UM
    turns = along / np.array(_WIND_WAVES_UM)[:, None] + rng.random((rows, len(_WIND_WAVES_UM), 1))
    waves = np.sin(2 * np.pi * turns).sum(axis=1)
    return np.asarray(waves * math.sqrt(2 / len(_WIND_WAVES_UM)))


def _paths(
    path_um: Float64Array, radius_um: Float64Array, kept: BoolArray, kind: int
) -> tuple[_Graph, IntArray]:
    """Return the kept steps of paths (P, T, 3) as a graph, and the node of each step (P, T)."""
    index = np.cumsum(kept.ravel()).reshape(kept.shape) - 1
    both = kept[:, :-1] & kept[:, 1:]
    link = np.stack([index[:, :-1][both], index[:, 1:][both]], axis=1)
    return _Graph.of(path_um[kept], radius_um[kept], link, kind), index


def _pial(block: _Block, params: VesselParams, rng: np.random.Generator) -> _Graph:
    """Lay vessels side by side under the surface, in a direction drawn for the block."""
    middle, width = (block.low + block.high)[1:] / 2, (block.high - block.low)[1:]
    reach = np.linalg.norm(width) / 2
    place = np.arange(-reach, reach + params.pial_spacing_um, params.pial_spacing_um)
    place = place + params.pial_spacing_um * (rng.random() + rng.uniform(-0.7, -0.3, len(place)))
    steps = int(2 * reach / _STEP_UM) + 2
    along = np.arange(steps) * _STEP_UM - reach
    angle = rng.uniform(0, np.pi)
    forward, sideways = (np.array([np.cos(a), np.sin(a)]) for a in (angle, angle + np.pi / 2))
    aside = place[:, None] + _PIAL_WIND_UM * _wind(steps, len(place), rng)
    flat = middle + along[:, None] * forward + aside[..., None] * sideways
    swelling = 1 + _PIAL_SWELLING * _wind(steps, len(place), rng)
    radius = rng.uniform(*params.pial_radius_um, (len(place), 1)) * swelling
    radius = radius.clip(*params.pial_radius_um)
    path = np.concatenate([block.surface_um + radius[..., None], flat], axis=-1)
    kept = ((flat >= block.low[1:]) & (flat <= block.high[1:])).all(axis=-1)
    return _paths(path, radius, kept, VesselKind.PIAL)[0]


def _divers(
    block: _Block, params: VesselParams, rng: np.random.Generator
) -> tuple[_Graph, IntArray, IntArray]:
    """Let vessels dive from the surface; return also their first nodes and those that branch."""
    cells = [
        max(1, round(width * 1e-3 * math.sqrt(params.penetrating_per_mm2)))
        for width in (block.high - block.low)[1:]
    ]
    count = math.prod(cells) if params.penetrating_per_mm2 else 0
    corner = np.stack(np.unravel_index(np.arange(count), cells), axis=1)
    start = corner + rng.uniform(0.1, 0.9, (count, 2))
    start = block.low[1:] + start * (block.high - block.low)[1:] / cells

    steps = max(2, int((block.high[0] - block.surface_um) / _STEP_UM))
    widest = rng.uniform(*params.penetrating_radius_um, (count, 1))
    depth = widest + np.arange(steps) * _STEP_UM
    deepest = rng.uniform(*params.penetrating_depth_um, (count, 1))
    radius = widest - (widest - params.penetrating_radius_um[0]) * (depth / deepest).clip(0, 1)
    path = np.empty((count, steps, 3))
    path[..., 0] = block.surface_um + depth
    for axis in (0, 1):
        path[..., axis + 1] = start[:, axis, None] + _WIND_UM * _wind(steps, count, rng)
    kept = depth <= np.maximum(deepest, depth[:, 1:2])
    divers, node = _paths(path, radius, kept, VesselKind.PENETRATING)

    every = max(1, round(params.offshoot_um / _STEP_UM))
    step = np.arange(steps)
    branches = kept & ((step + rng.integers(every, size=(count, 1))) % every == 0) & (step > 0)
    # One that ends within the block ends in a branch.
    branches[:, :-1] |= kept[:, :-1] & ~kept[:, 1:]
    return divers, node[:, 0], node[branches & (path[..., 0] >= block.low[0])]


def _mesh(
    block: _Block, divers_um: Float64Array, params: VesselParams, rng: np.random.Generator
) -> _Graph:
    """Fill the block with a mesh of capillaries that keeps off the penetrating vessels."""
    low = block.low.copy()
    low[0] = max(low[0], block.surface_um + _FREE_UM)
    node = np.empty((0, 3))
    if low[0] < block.high[0]:
        node = scatter_nodes(low, block.high, params.capillary_m_per_mm3, rng)
    if len(divers_um):
        node = node[_nearest(divers_um, node)[0] > _FREE_UM]
    radius = rng.uniform(*params.capillary_radius_um, len(node))
    return _Graph.of(node, radius, link_nodes(node), VesselKind.CAPILLARY)


def _hang_divers(graph: _Graph, roots: IntArray, pial_count: int) -> _Graph:
    """Join the first node of each penetrating vessel to a pial one, the last in the graph."""
    if not pial_count:
        return graph
    first = len(graph.node_um) - pial_count
    nearest = first + _nearest(graph.node_um[first:], graph.node_um[roots])[1]
    width = graph.node_radius_um[roots]
    link, radius = np.stack([nearest, roots], axis=1), np.stack([width, width], axis=1)
    return graph.with_links(link, radius, VesselKind.PIAL)


def _hang_mesh(graph: _Graph, offshoots: IntArray, mesh: slice) -> _Graph:
    """Join nodes of penetrating vessels to the capillaries next to them."""
    mesh_nodes = np.arange(len(graph.node_um))[mesh]
    if not len(mesh_nodes) or not len(offshoots):
        return graph
    distance, nearest = _nearest(graph.node_um[mesh_nodes], graph.node_um[offshoots])
    # A capillary hangs on one vessel only.
    taken = np.unique(nearest, return_index=True)[1]
    taken = taken[distance[taken] < _LONGEST_OFFSHOOT_UM]
    link = np.stack([offshoots[taken], mesh_nodes[nearest[taken]]], axis=1)
    radius = np.minimum(graph.node_radius_um[link], _OFFSHOOT_RADIUS_UM)
    return graph.with_links(link, radius, VesselKind.CAPILLARY)


def _nearest(among: Float64Array, points: Float64Array) -> tuple[Float64Array, IntArray]:
    """Return the distance from each point to the nearest of some, and which it is."""
    distance, index = cKDTree(among).query(points)
    return np.asarray(distance), np.asarray(index)


def _subdivide(
    graph: _Graph, tortuosity: float, rng: np.random.Generator
) -> tuple[Float64Array, IntArray, Float64Array, IntArray]:
    """Cut links into short pieces that stray from the straight line as a vessel does.

    Returns
    -------
    node_um, segment, radius_um, kind : ndarray
        As in `Vessels`; the nodes of the graph come first.
    """
    length = np.linalg.norm(np.diff(graph.node_um[graph.link], axis=1)[:, 0], axis=1)
    step = np.where(graph.kind == VesselKind.CAPILLARY, _CAPILLARY_STEP_UM, _STEP_UM)
    # Neighbours on a path are one step apart, give or take rounding and its winding.
    pieces = np.maximum(np.round(length / step), 1).astype(np.int64)
    bow = tortuosity * length[:, None] * rng.standard_normal((2, len(length), 3)).clip(-2, 2)
    # What runs along the surface stays there.
    bow[:, graph.kind == VesselKind.PIAL, 0] = 0.0

    link, number = _counted(pieces)
    # The node before a piece: an end of the link, or one of those put into it, in order.
    inner = len(graph.node_um) + (np.cumsum(pieces - 1) - (pieces - 1))[link] + number - 1
    before = np.where(number == 0, graph.link[link, 0], inner)
    after = np.where(number == pieces[link] - 1, graph.link[link, 1], inner + 1)
    share = (number[:, None] + np.array([0, 1])) / pieces[link][:, None]
    first, second = graph.radius_um[link, 0, None], graph.radius_um[link, 1, None]
    return (
        np.concatenate([graph.node_um, _inner_nodes(graph, pieces, bow)]),
        np.stack([before, after], axis=1),
        first + share * (second - first),
        graph.kind[link],
    )


def _inner_nodes(graph: _Graph, pieces: IntArray, bow: Float64Array) -> Float64Array:
    """Return the nodes that cut each link into pieces, bent by half a wave and a whole one."""
    link, number = _counted(pieces - 1)
    along = ((number + 1) / pieces[link])[:, None]
    start, end = graph.node_um[graph.link[link, 0]], graph.node_um[graph.link[link, 1]]
    # Each wave has half of the variance; that of a direction is a third of the whole.
    bend = np.sin(np.pi * along) * bow[0, link] + np.sin(2 * np.pi * along) * bow[1, link]
    return np.asarray(start + along * (end - start) + bend / math.sqrt(3))


def _counted(counts: IntArray) -> tuple[IntArray, IntArray]:
    """Return for each of some things in groups its group, and its number in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - (np.cumsum(counts) - counts)[group]
