"""Somata as evenly spread points: ellipsoids, tapering towards the apical dendrite."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from napari_neurobridge.simulation.cloud import Morphology, Part
from napari_neurobridge.simulation.neurons.branches import across, vectors
from napari_neurobridge.simulation.parameters import Parameters, Positive

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key

_SHELLS = 7
_USUAL_RADIUS_UM = 7.0
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


class SomaParams(Parameters):
    """How somata look.

    Attributes
    ----------
    points : int
        For a soma of 7 µm radius, about; others have as many for each µm³.
    irregularity : float
        Standard deviation of the three semi-axes of a soma, as a share of its radius.
    elongation : float
        Length of pyramidal somata along the apical dendrite, as a multiple of the mean.
    taper : float
        How much pyramidal somata narrow towards the apical dendrite and widen at their base:
        0 leaves an ellipsoid, 1 nearly a cone.
    """

    points: int = Field(default=700, ge=50)
    irregularity: float = Field(default=0.08, ge=0, le=0.2)
    elongation: Positive = 1.2
    taper: float = Field(default=0.45, ge=0, lt=1)


@cache
def ball_points(count: int) -> tuple[Tensor, Tensor]:
    """Fill the unit ball evenly, shell by shell.

    In shells a hollow soma is as even as a full one, which it is not on a lattice, whose
    rows the hollow cuts.

    Parameters
    ----------
    count : int
        About how many points.

    Returns
    -------
    points : Tensor, shape (3, M)
        On seven spheres, on each along a spiral of the golden angle.
    share : Tensor, shape (M,)
        Of the ball's volume that each point stands for.
    """
    bounds = torch.arange(_SHELLS + 1, dtype=torch.float64) / _SHELLS
    volume = bounds.pow(3).diff()
    # So far out that distances from the centre have the mean square of a full ball.
    radius = (0.6 * bounds.pow(5).diff() / volume).sqrt()
    numbers = (count * volume).round().clamp(min=4).long()
    points, shares = [], []
    for shell, number in enumerate(numbers.tolist()):
        turn = torch.arange(number, dtype=torch.float64)
        height = 1 - (2 * turn + 1) / number
        width = torch.sqrt(1 - height**2)
        # Each shell begins elsewhere, so that the spirals do not line up.
        angle = _GOLDEN_ANGLE * turn + shell
        spiral = torch.stack([height, width * angle.sin(), width * angle.cos()])
        points.append(radius[shell] * spiral.roll(shell, dims=0))
        shares.append((volume[shell] / number).expand(number))
    return torch.cat(points, dim=1).float(), torch.cat(shares).float()


def shape_somata(
    cells: Tensor,
    words: Tensor,
    center_um: Tensor,
    radius_um: Tensor,
    apical: Tensor,
    pyramidal: Tensor,
    params: SomaParams,
    key: Key,
) -> Morphology:
    """Return the points of K somata.

    Parameters
    ----------
    cells, words : Tensor of int64, shape (K,)
        Ids, and random bits of each cell.
    center_um : Tensor, shape (K, 3)
        µm (z, y, x).
    radius_um : Tensor, shape (K,)
        The volume of a soma is that of a ball of this radius.
    apical : Tensor, shape (K, 3)
        Unit vectors along the long axis, towards the apical dendrite.
    pyramidal : Tensor of bool, shape (K,)
        Which somata are elongated and taper.
    params : SomaParams
    key : Key
    """
    # Half powers of two, so that somata of few sizes are made together.
    size = torch.round(6 * torch.log2(radius_um / _USUAL_RADIUS_UM)).int()
    pieces = []
    for step in torch.unique(size).tolist() or [0]:
        some = size == step
        piece = _shape_alike(
            round(params.points * 2 ** (step / 2)),
            cells[some],
            words[some],
            center_um[some],
            radius_um[some],
            apical[some],
            pyramidal[some],
            params,
            key,
        )
        pieces.append(piece)
    return Morphology.join(pieces)


def _shape_alike(
    count: int,
    cells: Tensor,
    words: Tensor,
    center_um: Tensor,
    radius_um: Tensor,
    apical: Tensor,
    pyramidal: Tensor,
    params: SomaParams,
    key: Key,
) -> Morphology:
    """Return the points of somata with about so many points each."""
    ball, part = (table.to(center_um.device) for table in ball_points(count))
    sideways = across(apical, vectors(words, key.child("turn")))
    frame = torch.stack([apical, sideways, torch.linalg.cross(apical, sideways, dim=1)], dim=1)
    stretch = torch.where(pyramidal, params.elongation, 1.0)
    taper = torch.where(pyramidal, params.taper, 0.0)
    # The factors multiply to 1, and the cone's widening of the whole is divided out.
    bump = 1 + params.irregularity / math.sqrt(2) * vectors(words, key.child("axes"))
    widening = torch.where(pyramidal, (1 + params.taper**2 / 5) ** (1 / 3), 1.0)
    axes = (radius_um / widening)[:, None] * bump / bump.roll(1, dims=1)
    narrowing = 1 - taper[:, None] * ball[0]
    weight = part * narrowing.square()
    # The centre of a soma is that of its mass, not of its axis.
    middle = (weight * ball[0]).sum(dim=1) / weight.sum(dim=1)
    along = (axes[:, 0] * stretch)[:, None] * (ball[0] - middle[:, None])
    width = narrowing / torch.sqrt(stretch)[:, None]
    local = (along, axes[:, 1, None] * width * ball[1], axes[:, 2, None] * width * ball[2])
    position = center_um[:, :, None] + sum(
        frame[:, axis, :, None] * local[axis][:, None] for axis in range(3)
    )
    share = torch.sqrt(ball[0] ** 2 + ball[1] ** 2 + ball[2] ** 2)
    total = 4 / 3 * math.pi * radius_um * radius_um * radius_um
    volume = weight * (total / weight.sum(dim=1))[:, None]
    count = len(part)
    return Morphology(
        position.permute(0, 2, 1).reshape(-1, 3),
        volume.reshape(-1),
        cells.repeat_interleave(count),
        torch.full((len(cells) * count,), int(Part.SOMA), device=cells.device),
        share.expand(len(cells), count).reshape(-1),
    )
