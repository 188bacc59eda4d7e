"""What shines without belonging to a cell of the tissue: specks and passing fibres.

Both are named by the cell of a lattice that holds them, so that any box can be filled alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import pdtr
from torch import Tensor

from napari_neurobridge.simulation.cloud import PointCloud
from napari_neurobridge.simulation.optics.labels import heavy_tailed
from napari_neurobridge.simulation.parameters import NonNegative, Parameters

if TYPE_CHECKING:
    from napari_neurobridge.simulation.keyed import Key

_SPECK_CELL_UM = 40.0
_FIBRE_CELL_UM = 100.0
_ROW = 1 << 20
_BRIGHTNESS_SIGMA = 0.7
# A fibre is a Catmull-Rom curve through knots; its heading wanders by this angle per knot.
_SEGMENTS = 10
_SEGMENT_UM = 25.0
_WANDER_RAD = 0.25
_FIBRE_UM = _SEGMENTS * _SEGMENT_UM
_POINTS = 25
# No point of such a curve lies farther from its chord than 16/27 of the length of a segment.
_BULGE_UM = 15.0


class ClutterParams(Parameters):
    """What only one side shows. The amounts are fluorophore: 1 for each µm³ of a median soma.

    Attributes
    ----------
    puncta_per_mm3 : float
        Number of bright specks.
    puncta_gain : float
        Median amount of one.
    fibres_m_per_mm3 : float
        Length of the fibres of far-away cells that pass through.
    fibre_gain : float
        Median amount of one µm of such a fibre.
    """

    puncta_per_mm3: NonNegative = 300_000.0
    puncta_gain: NonNegative = 4.0
    fibres_m_per_mm3: NonNegative = 5.0
    fibre_gain: NonNegative = 0.3


class FmostClutterParams(ClutterParams):
    """`ClutterParams` with the values of the ex-vivo side: fewer specks, brighter fibres."""

    puncta_per_mm3: NonNegative = 60_000.0
    fibres_m_per_mm3: NonNegative = 12.0
    fibre_gain: NonNegative = 2.2


class Clutter:
    """Specks and passing fibres of one side, in that side's space.

    Parameters
    ----------
    params : ClutterParams
        How many, and how bright.
    key : Key
        Names the side of a scene.
    """

    def __init__(self, params: ClutterParams, key: Key) -> None:
        self._params = params
        self._key = key

    def cloud(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        """Return the points in a box: the same ones whatever box they are asked for with.

        Parameters
        ----------
        low_um, high_um : Tensor, shape (3,)
            Corners, µm (z, y, x). Points on the lower faces belong to the box, points on the
            upper ones do not, so that boxes side by side share none.
        """
        cloud = PointCloud.join([self._specks(low_um, high_um), self._fibres(low_um, high_um)])
        inside = ((cloud.position_um >= low_um) & (cloud.position_um < high_um)).all(dim=1)
        return PointCloud(cloud.position_um[inside], cloud.amount[inside])

    def _specks(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        params, key = self._params, self._key.child("specks")
        corner, name = _objects(key, params.puncta_per_mm3, _SPECK_CELL_UM, low_um, high_um)
        position = corner + _SPECK_CELL_UM * key.child("place").uniform(name, 3)
        brightness = heavy_tailed(key.child("brightness"), name, _BRIGHTNESS_SIGMA)
        return PointCloud(position, params.puncta_gain * brightness)

    def _fibres(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        params, key = self._params, self._key.child("fibres")
        reach = _FIBRE_UM / 2 + _BULGE_UM
        corner, name = _objects(
            key,
            params.fibres_m_per_mm3 * 1e6 / _FIBRE_UM,
            _FIBRE_CELL_UM,
            low_um - reach,
            high_um + reach,
        )
        middle = corner + _FIBRE_CELL_UM * key.child("place").uniform(name, 3)
        knots = _knots(key.child("course"), name, middle)
        begin, end = knots[:, 1:-2], knots[:, 2:-1]
        nearest = torch.minimum(begin, end) - _BULGE_UM
        farthest = torch.maximum(begin, end) + _BULGE_UM
        meets = ((nearest < high_um) & (farthest >= low_um)).all(dim=2)
        fibre, segment = meets.nonzero(as_tuple=True)
        points = _curve(*(knots[fibre, segment + knot] for knot in range(4)))
        brightness = heavy_tailed(key.child("brightness"), name, _BRIGHTNESS_SIGMA)[fibre]
        amount = params.fibre_gain * _SEGMENT_UM / _POINTS * brightness
        return PointCloud(points.reshape(-1, 3), amount.repeat_interleave(_POINTS))


def _objects(
    key: Key, per_mm3: float, cell_um: float, low_um: Tensor, high_um: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the objects of all lattice cells that meet a box.

    Their number in a cell is Poisson distributed.

    Returns
    -------
    corner : Tensor, shape (K, 3)
        Lower corner of the cell of each object, µm.
    name : Tensor of int64, shape (K,)
        What its random numbers belong to.
    """
    first = torch.floor(low_um / cell_um).long()
    last = torch.floor(high_um / cell_um).long()
    cells = torch.cartesian_prod(
        *(
            torch.arange(begin, end + 1, device=low_um.device)
            for begin, end in zip(first.tolist(), last.tolist(), strict=True)
        )
    )
    name = key.bits((cells[:, 0] * _ROW + cells[:, 1]) * _ROW + cells[:, 2])
    mean = per_mm3 * cell_um**3 * 1e-9
    most = math.ceil(mean + 10 * math.sqrt(mean) + 10)
    chances = torch.from_numpy(pdtr(np.arange(most), mean)).float().to(low_um.device)
    count = torch.searchsorted(chances, key.child("count").uniform(name), right=True)
    ordinal = torch.arange(int(count.sum()), device=low_um.device)
    ordinal -= (count.cumsum(0) - count).repeat_interleave(count)
    return (
        cells.repeat_interleave(count, dim=0).float() * cell_um,
        name.repeat_interleave(count) + ordinal,
    )


def _knots(key: Key, name: Tensor, middle: Tensor) -> Tensor:
    """Return the knots (K, _SEGMENTS + 3, 3) of fibres, one beyond either end included."""
    steps = key.normal(name, 3 * (_SEGMENTS + 3)).view(-1, _SEGMENTS + 3, 3)
    heading = torch.nn.functional.normalize(steps[:, :1], dim=2)
    directions = heading + _WANDER_RAD * steps[:, 1:].cumsum(dim=1)
    directions = torch.nn.functional.normalize(directions, dim=2)
    course = _SEGMENT_UM * directions.cumsum(dim=1)
    course = torch.cat([torch.zeros_like(heading), course], dim=1)
    return course - course[:, [_SEGMENTS // 2 + 1]] + middle[:, None]


def _curve(before: Tensor, begin: Tensor, end: Tensor, after: Tensor) -> Tensor:
    """Return points (S, _POINTS, 3) of Catmull-Rom segments between `begin` and `end`."""
    t = (torch.arange(_POINTS, device=begin.device) + 0.5)[:, None] / _POINTS
    before, begin, end, after = (knot[:, None] for knot in (before, begin, end, after))
    return 0.5 * (
        2 * begin
        + t * (end - before)
        + t**2 * (2 * before - 5 * begin + 4 * end - after)
        + t**3 * (3 * begin - before - 3 * end + after)
    )
