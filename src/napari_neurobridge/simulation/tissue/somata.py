"""Where the somata of a block of cortex lie: layers, clusters, and room for each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.cloud import Somata
from napari_neurobridge.simulation.parameters import Fraction, NonNegative, Parameters, Positive

if TYPE_CHECKING:
    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.tissue.vessels import Vessels
    from napari_neurobridge.types import Vec3

_PLACING_ROUNDS, _WIDENING = 120, 1.06
# Share of a layer that spheres of the smallest distance may fill: up to here placing them
# one by one ends soon, also with clusters and vessels of the default strengths.
_LARGEST_PACKING = 0.16
# Share of the cells that found room for which room is found surely.
_SURE = 0.75
_CLUSTER_WAVES = 96
# Clusters denser than this many standard deviations are cut off.
_DENSEST_CLUSTER = 2.5

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Layer(Parameters):
    """One layer of the cortex.

    Attributes
    ----------
    bottom_um : float
        Depth under the surface where the layer ends.
    density : float
        Cells for each mm³, relative to the other layers.
    pyramidal : float
        Fraction of cells that are pyramidal.
    soma_radius_um : tuple of float
        Range of the mean radius of a soma.
    """

    bottom_um: Positive
    density: NonNegative
    pyramidal: Fraction
    soma_radius_um: tuple[Positive, Positive]


MOUSE_CORTEX = (
    Layer(bottom_um=110.0, density=0.15, pyramidal=0.0, soma_radius_um=(5.0, 6.5)),
    Layer(bottom_um=340.0, density=1.2, pyramidal=0.85, soma_radius_um=(5.5, 8.5)),
    Layer(bottom_um=460.0, density=1.5, pyramidal=0.88, soma_radius_um=(5.0, 7.0)),
    Layer(bottom_um=680.0, density=0.8, pyramidal=0.8, soma_radius_um=(6.0, 10.0)),
    Layer(bottom_um=900.0, density=1.0, pyramidal=0.88, soma_radius_um=(5.0, 7.5)),
)
"""Layers 1, 2/3, 4, 5 and 6 of a cortex 900 µm thick.

Rounded: the order of the densities is that of the neurons counted by Meyer et al. (Cereb.
Cortex 20:2277, 2010) in barrel cortex, with a layer 4 less outstanding than there.

:meta hide-value:
"""


class TissueParams(Parameters):
    """What cells a block of cortex holds.

    Attributes
    ----------
    density_per_mm3 : float
        Cells that either label could show: the mean over all layers. 35 000 puts about
        fifteen into the 120 × 120 × 30 µm seen by one crop.
    min_distance_um : float
        Between the centres of two somata. Nor do the mean spheres of two somata overlap.
    top_um : tuple of float
        Range of the depth of z = 0 under the surface of the brain.
    layers : tuple of Layer
        From the surface down; the last goes on below its bottom.
    cluster_strength : float
        Standard deviation of the logarithm of the density from place to place.
    cluster_um : float
        Distance over which that logarithm stays alike: its correlation is
        ``exp(-r² / 2 cluster_um²)``.
    """

    density_per_mm3: Positive = 35_000.0
    min_distance_um: Positive = 15.0
    top_um: tuple[NonNegative, NonNegative] = (120.0, 250.0)
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)] = MOUSE_CORTEX
    cluster_strength: Annotated[float, Field(ge=0, le=2)] = 0.4
    cluster_um: Positive = 50.0

    @field_validator("layers")
    @classmethod
    def _downwards(cls, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        bottoms = [layer.bottom_um for layer in layers]
        if bottoms != sorted(set(bottoms)):
            raise ValueError("the layers must be listed from the surface down")
        if not any(layer.density for layer in layers):
            raise ValueError("at least one layer must hold cells")
        return layers

    def layer_at(self, depth_um: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the index of the layer at each depth under the surface."""
        bottoms = [layer.bottom_um for layer in self.layers[:-1]]
        return np.searchsorted(bottoms, depth_um, side="right")

    def layer_density_per_mm3(self) -> Float64Array:
        """Return the density in each layer, such that their mean is the stated one."""
        density = np.array([layer.density for layer in self.layers])
        thickness = np.diff([layer.bottom_um for layer in self.layers], prepend=0.0)
        mean = (density * thickness).sum() / thickness.sum()
        return np.asarray(self.density_per_mm3 * density / mean)


def place_somata(
    low_um: Vec3,
    high_um: Vec3,
    top_um: float,
    params: TissueParams,
    key: Key,
    device: torch.device | str = "cpu",
    *,
    vessels: Vessels | None = None,
) -> Somata:
    """Draw the cells of a block.

    Their number follows from the layers that the block cuts; clusters move cells about but
    add none. Where two are too near, or one meets a vessel, one is put elsewhere nearby.

    Parameters
    ----------
    low_um, high_um : Vec3
        The block; what of it lies above the surface stays empty.
    top_um : float
        Depth of z = 0 under the surface.
    params : TissueParams
        Densities and distances.
    key : Key
        Source of all randomness.
    device : torch.device or str
        Where the table goes.
    vessels : Vessels, optional
        What somata keep out of.

    Raises
    ------
    InputError
        If the block lies above the surface, or is too small for so many cells; the
        message names a density that fits.
    """
    low, high = np.asarray(low_um, np.float64), np.asarray(high_um, np.float64)
    low[0] = max(low[0], -top_um)
    if not (low < high).all():
        raise InputError(
            "The block holds no tissue: make it larger, or let it reach below the surface of "
            f"the brain at z = {-top_um:g} µm."
        )
    rng = key.rng()
    depth, density = _profile(low[0] + top_um, high[0] + top_um, params)
    _check_packing(depth, density, params)
    per_area = (density * np.diff(depth)).sum() * 1e-9
    count = max(1, round(per_area * (high - low)[1:].prod()))
    home = _draw(count, low, high, depth - top_um, density, params, rng)
    layer = params.layer_at(home[:, 0] + top_um)
    ranges = np.array([layer.soma_radius_um for layer in params.layers])
    radius = rng.uniform(*ranges[layer].T)
    room = _room_of_layers(home, low, high, depth - top_um)
    center = _make_room(home, radius, room, params, vessels, key.child("room").rng())
    pyramidal = rng.random(count) < np.array([layer.pyramidal for layer in params.layers])[layer]
    return Somata(
        torch.from_numpy(center).float().to(device),
        torch.from_numpy(radius).float().to(device),
        torch.from_numpy(pyramidal).to(device),
        torch.from_numpy(center[:, 0] + top_um).float().to(device),
    )


def _profile(top: float, bottom: float, params: TissueParams) -> tuple[Float64Array, Float64Array]:
    """Return the depths (L + 1,) that bound the layers between two, and their densities."""
    bottoms = np.array([layer.bottom_um for layer in params.layers[:-1]])
    depth = np.concatenate([[top], bottoms[(bottoms > top) & (bottoms < bottom)], [bottom]])
    density = params.layer_density_per_mm3()[params.layer_at((depth[1:] + depth[:-1]) / 2)]
    return depth, density


def _check_packing(depth: Float64Array, density: Float64Array, params: TissueParams) -> None:
    """Refuse what no placing could fit."""
    layer = params.layer_at((depth[1:] + depth[:-1]) / 2)
    ranges = np.array([params.layers[index].soma_radius_um for index in layer])
    # The sum of two mean radii.
    distance = np.maximum(params.min_distance_um, ranges.sum(axis=1))
    packing = (density * 1e-9 * math.pi / 6 * distance**3).max()
    if packing > _LARGEST_PACKING:
        raise _too_dense(params, _LARGEST_PACKING / packing)


def _too_dense(params: TissueParams, share: float) -> InputError:
    """Return the error that names a share of the density asked for, rounded down."""
    fitting = params.density_per_mm3 * share
    unit = 10.0 ** max(math.floor(math.log10(fitting)) - 1, 0)
    return InputError(
        f"{params.density_per_mm3:g} somata per mm³ that keep {params.min_distance_um:g} µm "
        f"apart do not fit into the block: ask for at most {math.floor(fitting / unit) * unit:g} "
        "per mm³, or for a smaller distance."
    )


def _draw(
    count: int,
    low: Float64Array,
    high: Float64Array,
    bounds_um: Float64Array,
    density: Float64Array,
    params: TissueParams,
    rng: np.random.Generator,
) -> Float64Array:
    """Draw positions (count, 3) with the density of clusters, and of layers between bounds in z."""
    below = np.concatenate([[0.0], np.cumsum(density * np.diff(bounds_um))])
    strength = params.cluster_strength
    waves = rng.standard_normal((3, _CLUSTER_WAVES)) / params.cluster_um
    phases = rng.uniform(0, 2 * np.pi, _CLUSTER_WAVES)
    accepted, missing = [np.empty((0, 3))], count
    while missing:
        # About as many as needed: the mean chance of each is below.
        tries = int(missing * math.exp(strength * (_DENSEST_CLUSTER - strength / 2))) + 16
        position = rng.uniform(low, high, (tries, 3))
        position[:, 0] = np.interp(rng.random(tries) * below[-1], below, bounds_um)
        field = np.cos(position @ waves + phases).sum(axis=1) * math.sqrt(2 / _CLUSTER_WAVES)
        chance = np.exp(strength * (field - _DENSEST_CLUSTER))
        accepted.append(position[rng.random(tries) < chance][:missing])
        missing -= len(accepted[-1])
    return np.concatenate(accepted)


def _room_of_layers(
    home: Float64Array, low: Float64Array, high: Float64Array, bounds_um: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Return the corners (N, 3) of the part of the block that lies in the layer of each cell."""
    layer = np.searchsorted(bounds_um[1:-1], home[:, 0], side="right")
    lows, highs = np.tile(low, (len(home), 1)), np.tile(high, (len(home), 1))
    lows[:, 0], highs[:, 0] = bounds_um[layer], bounds_um[layer + 1]
    return lows, highs


def _make_room(
    home: Float64Array,
    radius: Float64Array,
    room: tuple[Float64Array, Float64Array],
    params: TissueParams,
    vessels: Vessels | None,
    rng: np.random.Generator,
) -> Float64Array:
    """Move cells that are in the way, each time a little farther from where they were drawn.

    None leaves its room: the number of cells in a layer stays.
    """
    center = home.copy()
    in_vessel = _meets(center, radius, vessels)
    for turn in range(_PLACING_ROUNDS):
        in_the_way = in_vessel | _clashing(center, radius, params.min_distance_um)
        moved = np.flatnonzero(in_the_way)
        if not len(moved):
            return center
        spread = params.min_distance_um * _WIDENING**turn
        # A step for each cell, so that those of one do not hang on which others must move.
        step = (spread * rng.standard_normal(home.shape))[moved]
        center[moved] = _mirrored(home[moved] + step, room[0][moved], room[1][moved])
        in_vessel[moved] = _meets(center[moved], radius[moved], vessels)
    raise _too_dense(params, _SURE * (1 - len(moved) / len(home)))


def _meets(center: Float64Array, radius: Float64Array, vessels: Vessels | None) -> BoolArray:
    if vessels is None:
        return np.zeros(len(center), dtype=bool)
    return np.asarray(vessels.clearance_um(center) < radius)


def _clashing(center: Float64Array, radius: Float64Array, distance_um: float) -> BoolArray:
    """Return which cells are too near to an earlier one."""
    reach = max(distance_um, 2 * float(radius.max()))
    first, second = cKDTree(center).query_pairs(reach, output_type="ndarray").T
    apart = np.linalg.norm(center[first] - center[second], axis=1)
    near = apart < np.maximum(distance_um, radius[first] + radius[second])
    clashing = np.zeros(len(center), dtype=bool)
    clashing[np.maximum(first, second)[near]] = True
    return clashing


def _mirrored(position: Float64Array, low: Float64Array, high: Float64Array) -> Float64Array:
    """Bring positions (N, 3) back into boxes, corners (N, 3), by reflection at their faces."""
    size = high - low
    folded = np.mod(position - low, 2 * size)
    return np.asarray(low + np.minimum(folded, 2 * size - folded))
