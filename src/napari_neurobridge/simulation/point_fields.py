"""Two fields of somata of one tissue, as coordinates alone: thousands a minute, unrendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.spatial.transform import Rotation
from scipy.stats import ortho_group

from napari_neurobridge.simulation.deformation.displacement import (
    DisplacementParams,
    draw_displacement,
)
from napari_neurobridge.simulation.parameters import Fraction, NonNegative, Parameters, Range
from napari_neurobridge.simulation.tissue.somata import Layer, TissueParams, place_somata

if TYPE_CHECKING:
    from napari_neurobridge.simulation.keyed import Key

Float64Array = npt.NDArray[np.float64]

# The block of tissue is so many times as wide as the larger window.
_ROOM = 1.35
# Smallest distance of two somata, relative to the edge of the cube that each has to itself.
_NEAREST = (0.25, 0.55)
_SMALL_SOMA_UM = (3.0, 3.5)
_SHORTEST_WAVE_UM, _LONGEST_WAVE_UM = 150.0, 400.0


class PointFieldParams(Parameters):
    """What lies between the two sides of a field, each drawn anew for each field.

    Attributes
    ----------
    density_per_mm3 : Range
        Cells of the tissue, log-uniform.
    missing, false : Range
        Share of the cells that a side lacks, and of detections that are no cells.
    noise_um : Range
        Standard deviation of each component of the difference of two partners' positions.
    angle_deg : float
        Largest rotation, about any axis.
    scale : Range
        Length in the gallery for each µm of the queries, for each axis.
    nonrigid_um : Range
        Root mean square of each component of the smooth displacement.
    shift : float
        Largest shift of the gallery's window against the queries', along each axis, as a
        share of half its width.
    unrelated : float
        Share of fields whose sides show different tissue.
    """

    density_per_mm3: Range = (10_000.0, 100_000.0)
    missing: Range = (0.0, 0.4)
    false: Range = (0.0, 0.1)
    noise_um: Range = (1.0, 4.0)
    angle_deg: Annotated[float, Field(ge=0, le=180)] = 30.0
    scale: Range = (0.7, 1.3)
    nonrigid_um: Range = (0.0, 6.0)
    shift: NonNegative = 0.4
    unrelated: Fraction = 0.03

    def eased(self, share: float) -> PointFieldParams:
        """Return a copy with only a share (0 … 1) of what makes fields hard."""

        def part(values: Range) -> Range:
            return values[0], values[0] + share * (values[1] - values[0])

        return self.model_copy(
            update={
                "missing": part(self.missing),
                "false": part(self.false),
                "noise_um": part(self.noise_um),
                "angle_deg": share * self.angle_deg,
                "scale": (1 + share * (self.scale[0] - 1), 1 + share * (self.scale[1] - 1)),
                "nonrigid_um": part(self.nonrigid_um),
                "shift": share * self.shift,
            }
        )


@dataclass(frozen=True, eq=False)
class PointField:
    """Two fields of somata and which is which.

    Attributes
    ----------
    queries_um, gallery_um : ndarray, shape (N, 3) and (M, 3)
        µm (z, y, x), each side in its own space; the rough orientation is the identity.
    partner : ndarray of int, shape (N,)
        Row of the gallery, or -1.
    linear : ndarray, shape (3, 3)
        Linear part of the true map from queries to gallery.
    """

    queries_um: Float64Array
    gallery_um: Float64Array
    partner: npt.NDArray[np.intp]
    linear: Float64Array


def draw_point_field(
    n_queries: int, n_gallery: int, params: PointFieldParams, key: Key
) -> PointField:
    """Draw a field; the same key gives the same field.

    Parameters
    ----------
    n_queries, n_gallery : int
        Exact numbers of somata on either side.
    params : PointFieldParams
    key : Key
        Source of all randomness.
    """
    rng = key.child("field").rng()
    density = np.exp(rng.uniform(*np.log(params.density_per_mm3))) * 1e-9
    missing, false = rng.uniform(*params.missing, 2), rng.uniform(*params.false, 2)
    turn = Rotation.from_rotvec(
        _direction(rng) * np.deg2rad(rng.uniform(0, params.angle_deg))
    ).as_matrix()
    linear = turn @ np.diag(rng.uniform(*params.scale, 3))
    counts = np.array([n_queries, n_gallery]) / (1 - missing)
    aspect = np.array([rng.uniform(0.4, 1.0), *rng.uniform(0.8, 1.25, 2)])
    aspect /= aspect.prod() ** (1 / 3)
    block = _ROOM * (counts.max() / density) ** (1 / 3) * aspect
    tissue = _tissue(block, density, rng, key.child("tissue"))
    other = tissue
    if rng.random() < params.unrelated:
        other = _tissue(block, density, rng, key.child("other tissue"))
    displaced = other + _displacement(other, params, rng, key.child("displacement"))
    noise = rng.uniform(*params.noise_um) / np.sqrt(2)
    sides = [tissue, displaced @ linear.T]
    centre = np.zeros(3)
    windows = []
    for number, side in enumerate(sides):
        wanted = (n_queries, n_gallery)[number]
        width = 0.5 * (wanted / density) ** (1 / 3) * aspect
        if number:
            width, centre = width * rng.uniform(0.85, 1.15, 3), rng.uniform(-1, 1, 3)
            centre *= params.shift * width
        seen = side + rng.normal(0, noise, side.shape)
        windows.append(_window(seen, centre, width, wanted, missing[number], false[number], rng))
    return _field(windows, tissue is other, linear, rng)


def _direction(rng: np.random.Generator) -> Float64Array:
    vector = rng.standard_normal(3)
    return np.asarray(vector / np.linalg.norm(vector))


def _tissue(
    block: Float64Array, density: float, rng: np.random.Generator, key: Key
) -> Float64Array:
    """Return somata (T, 3) of a block about the origin."""
    soma = Layer(bottom_um=1.0, density=1.0, pyramidal=1.0, soma_radius_um=_SMALL_SOMA_UM)
    params = TissueParams(
        density_per_mm3=density * 1e9,
        min_distance_um=rng.uniform(*_NEAREST) * density ** (-1 / 3),
        layers=(soma,),
        cluster_strength=rng.uniform(0, 0.6),
        cluster_um=rng.uniform(1.5, 4) * density ** (-1 / 3),
    )
    high = (float(block[0]), float(block[1]), float(block[2]))
    somata = place_somata((0.0, 0.0, 0.0), high, 0.0, params, key)
    return np.asarray(somata.center_um.double().numpy() - block / 2)


def _displacement(
    points: Float64Array, params: PointFieldParams, rng: np.random.Generator, key: Key
) -> Float64Array:
    size = rng.uniform(*params.nonrigid_um)
    # Larger waves are longer, so that none folds the tissue.
    stretch = max(1.0, size / 4.0)
    smooth = draw_displacement(
        DisplacementParams(
            nonrigid_um=size,
            nonrigid_wavelength_um=(stretch * _SHORTEST_WAVE_UM, stretch * _LONGEST_WAVE_UM),
        ),
        key,
    )
    return np.asarray(smooth.at(torch.from_numpy(points).T).T.numpy())


def _window(
    seen: Float64Array,
    centre: Float64Array,
    width: Float64Array,
    count: int,
    missing: float,
    false: float,
    rng: np.random.Generator,
) -> tuple[Float64Array, npt.NDArray[np.intp]]:
    """Return what a side detects nearest to a centre, and the cells' ids, -1 for none."""
    ids = np.flatnonzero(rng.random(len(seen)) >= missing)
    low, high = seen.min(axis=0), seen.max(axis=0)
    invented = rng.uniform(low, high, (max(0, round(false * len(ids))), 3))
    points = np.vstack([seen[ids], invented])
    ids = np.concatenate([ids, np.full(len(invented), -1)])
    lacking = count - len(points)
    if lacking > 0:
        points = np.vstack([points, rng.uniform(low, high, (lacking, 3))])
        ids = np.concatenate([ids, np.full(lacking, -1)])
    away = np.abs((points - centre) / width).max(axis=1)
    nearest = rng.permutation(np.argpartition(away, count - 1)[:count])
    return points[nearest], ids[nearest]


def _field(
    windows: list[tuple[Float64Array, npt.NDArray[np.intp]]],
    related: bool,
    linear: Float64Array,
    rng: np.random.Generator,
) -> PointField:
    """Pair what both sides show, and turn both alike: no axis is special."""
    (queries, query_ids), (gallery, gallery_ids) = windows
    partner = np.full(len(queries), -1, dtype=np.intp)
    if related:
        same = (query_ids[:, None] == gallery_ids) & (query_ids[:, None] >= 0)
        partner = np.where(same.any(axis=1), same.argmax(axis=1), -1)
    turn = ortho_group.rvs(3, random_state=rng)
    return PointField(queries @ turn.T, gallery @ turn.T, partner, turn @ linear @ turn.T)
