"""Procedural neurons as clouds of points: soma, dendrites, a piece of axon.

Everything is batched over neurons: a branch is one row of a tensor, and a tree grows one
bifurcation at a time for all neurons at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

_SOMA_POINTS = 800
_STEPS = 24
_TRUNK_STEPS = 120
_BASAL_STEMS = 7
_OBLIQUES = 4


class Part(IntEnum):
    """What a point belongs to."""

    SOMA = 0
    DENDRITE = 1
    AXON = 2


@dataclass(frozen=True)
class Morphology:
    """The points of many neurons.

    Attributes
    ----------
    position_um : Tensor, shape (M, 3)
        µm (z, y, x), float32.
    volume_um3 : Tensor, shape (M,)
        Volume of the piece of cell that a point stands for.
    cell : Tensor, shape (M,)
        Index of the neuron.
    part : Tensor, shape (M,)
        A `Part`.
    reach : Tensor, shape (M,)
        For somata the distance from the centre as a share of the radius; for processes
        the straight distance from the centre in µm.
    """

    position_um: Tensor
    volume_um3: Tensor
    cell: Tensor
    part: Tensor
    reach: Tensor


@dataclass(frozen=True)
class _Branches:
    """Unbranched runs.

    ``course`` and ``points`` are (N, B, T, 3), radii and step lengths (N, B, 1), ``alive``
    (N, B) and ``end_direction`` (N, B, 3).
    """

    course: Tensor
    points: Tensor
    radius_um: Tensor
    step_um: Tensor
    alive: Tensor
    end_direction: Tensor


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


def _grow(
    start: Tensor,
    direction: Tensor,
    alive: Tensor,
    radius_um: Tensor,
    *,
    steps: int,
    step_um: tuple[float, float],
    wiggle: float,
    generator: torch.Generator,
) -> _Branches:
    """Grow one run of ``steps`` points from each start (N, B, 3) along a wandering direction."""
    n, b, _ = start.shape
    step = _uniform(generator, *step_um, n, b, 1)
    wander = torch.cumsum(wiggle * _normal(generator, n, b, steps, 3), dim=2)
    directions = _unit(direction[:, :, None] + wander)
    course = start[:, :, None] + torch.cumsum(directions * step[..., None], dim=2)
    # Points fill the thickness of the process, whose axis is the course.
    thickness = 0.4 * radius_um[..., None] * _normal(generator, n, b, steps, 3)
    return _Branches(course, course + thickness, radius_um, step, alive, directions[:, :, -1])


def _bifurcate(branches: _Branches, probability: float, generator: torch.Generator) -> _Branches:
    """Return a pair of daughters at the end of each branch; both live or neither does."""
    n, b = branches.alive.shape
    direction = branches.end_direction
    sideways = _unit(torch.cross(direction, _normal(generator, n, b, 3), dim=-1))
    angle = _uniform(generator, 0.3, 0.8, n, b, 2)[..., None]
    sign = torch.tensor([1.0, -1.0])[:, None]
    heading = (
        torch.cos(angle) * direction[:, :, None] + sign * torch.sin(angle) * sideways[:, :, None]
    )
    alive = branches.alive & (torch.rand(n, b, generator=generator) < probability)

    def doubled(values: Tensor) -> Tensor:
        return values.repeat_interleave(2, dim=1)

    return _grow(
        doubled(branches.course[:, :, -1]),
        heading.reshape(n, 2 * b, 3),
        doubled(alive),
        0.75 * doubled(branches.radius_um),
        steps=_STEPS,
        step_um=(0.7, 1.3),
        wiggle=0.08,
        generator=generator,
    )


def _grow_tree(
    stems: _Branches, probabilities: tuple[float, ...], generator: torch.Generator
) -> list[_Branches]:
    levels = [stems]
    for probability in probabilities:
        levels.append(_bifurcate(levels[-1], probability, generator))
    return levels


def _basal_trees(
    center: Tensor, radius: Tensor, pyramidal: Tensor, generator: torch.Generator
) -> list[_Branches]:
    """Grow basal dendrites: sideways and down in pyramidal cells, all around in interneurons."""
    n = len(center)
    downwards = torch.where(pyramidal, 0.35, 0.0)[:, None]
    direction = _normal(generator, n, _BASAL_STEMS, 3)
    direction = _unit(direction * torch.tensor([0.6, 1.0, 1.0]))
    direction[..., 0] += downwards
    direction = _unit(direction)
    stems = _grow(
        center[:, None] + 0.8 * radius[:, None, None] * direction,
        direction,
        torch.rand(n, _BASAL_STEMS, generator=generator) < 0.65,
        _uniform(generator, 0.6, 1.2, n, _BASAL_STEMS, 1),
        steps=_STEPS,
        step_um=(0.7, 1.3),
        wiggle=0.06,
        generator=generator,
    )
    return _grow_tree(stems, (0.85, 0.4), generator)


def _apical_tree(
    center: Tensor, radius: Tensor, pyramidal: Tensor, generator: torch.Generator
) -> list[_Branches]:
    """Grow a trunk towards the surface (-z), with oblique dendrites and a forked end."""
    n = len(center)
    upwards = torch.tensor([-1.0, 0.0, 0.0])
    direction = _unit(upwards + 0.25 * _normal(generator, n, 1, 3))
    trunk = _grow(
        center[:, None] + 0.8 * radius[:, None, None] * direction,
        direction,
        pyramidal[:, None],
        _uniform(generator, 0.9, 1.3, n, 1, 1),
        steps=_TRUNK_STEPS,
        step_um=(0.8, 1.2),
        wiggle=0.02,
        generator=generator,
    )
    at = torch.randint(10, _TRUNK_STEPS, (n, _OBLIQUES), generator=generator)
    start = torch.gather(trunk.course[:, 0], 1, at[..., None].expand(-1, -1, 3))
    sideways = _unit(_normal(generator, n, _OBLIQUES, 3) * torch.tensor([0.4, 1.0, 1.0]))
    obliques = _grow(
        start,
        sideways,
        pyramidal[:, None].expand(-1, _OBLIQUES).clone(),
        _uniform(generator, 0.6, 1.0, n, _OBLIQUES, 1),
        steps=_STEPS,
        step_um=(0.7, 1.3),
        wiggle=0.06,
        generator=generator,
    )
    return [*_grow_tree(trunk, (1.0, 0.5), generator), *_grow_tree(obliques, (0.5,), generator)]


def _axon(center: Tensor, radius: Tensor, generator: torch.Generator) -> list[_Branches]:
    """Grow a thin axon that leaves downwards (+z), with collaterals."""
    n = len(center)
    direction = _unit(torch.tensor([1.0, 0.0, 0.0]) + 0.5 * _normal(generator, n, 1, 3))
    stem = _grow(
        center[:, None] + 0.8 * radius[:, None, None] * direction,
        direction,
        torch.ones(n, 1, dtype=torch.bool),
        torch.full((n, 1, 1), 0.45),
        steps=2 * _STEPS,
        step_um=(0.9, 1.3),
        wiggle=0.05,
        generator=generator,
    )
    return _grow_tree(stem, (0.9, 0.7), generator)


def _ball_points(count: int) -> Tensor:
    """Return ``count`` evenly spread points of the unit ball (a Fibonacci ball)."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    # Radii that fill the ball evenly, visited in an order unrelated to the angles.
    radius = torch.remainder(index * 0.7548776662466927, 1.0) ** (1 / 3)
    z = 1 - 2 * index / count
    angle = math.pi * (1 + 5**0.5) * index
    ring = torch.sqrt(1 - z**2)
    directions = torch.stack([z, ring * torch.sin(angle), ring * torch.cos(angle)], dim=-1)
    return (radius[:, None] * directions).float()


def _somata(
    center: Tensor, radius: Tensor, ellipticity: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return points (N, S, 3), the volume of each and their relative distance from the centre."""
    n = len(center)
    ball = _ball_points(_SOMA_POINTS)
    axes = radius[:, None] * torch.exp(ellipticity * _normal(generator, n, 3))
    frames, _ = torch.linalg.qr(_normal(generator, n, 3, 3))
    points = center[:, None] + (ball * axes[:, None]) @ frames.transpose(1, 2)
    volume = 4 / 3 * math.pi * axes.prod(dim=1) / _SOMA_POINTS
    return (
        points,
        volume[:, None].expand(-1, _SOMA_POINTS),
        ball.norm(dim=-1).expand(n, -1),
    )


def _flatten(branches: _Branches, part: Part, center: Tensor) -> Morphology:
    """List the points of living branches."""
    n, b, t, _ = branches.points.shape
    alive = branches.alive[:, :, None].expand(n, b, t)
    cell = torch.arange(n)[:, None, None].expand(n, b, t)[alive]
    position = branches.points[alive]
    volume = (math.pi * branches.radius_um**2 * branches.step_um).expand(n, b, t)[alive]
    return Morphology(
        position,
        volume,
        cell,
        torch.full((len(cell),), int(part)),
        (position - center[cell]).norm(dim=-1),
    )


def grow_neurons(
    center_um: Tensor,
    radius_um: Tensor,
    pyramidal: Tensor,
    *,
    ellipticity: float,
    generator: torch.Generator,
) -> Morphology:
    """Grow one neuron around each centre.

    Parameters
    ----------
    center_um : Tensor, shape (N, 3)
        µm (z, y, x); -z points to the surface of the brain.
    radius_um : Tensor, shape (N,)
        Mean radius of each soma.
    pyramidal : Tensor, shape (N,)
        True where the cell has an apical dendrite.
    ellipticity : float
        Standard deviation of the logarithm of each semi-axis of the soma.
    generator : torch.Generator
        Source of all randomness.

    Returns
    -------
    Morphology
        Points about 1 µm apart along processes, and evenly spread in somata.
    """
    n = len(center_um)
    points, volume, share = _somata(center_um, radius_um, ellipticity, generator)
    soma = Morphology(
        points.reshape(-1, 3),
        volume.reshape(-1),
        torch.arange(n).repeat_interleave(_SOMA_POINTS),
        torch.full((n * _SOMA_POINTS,), int(Part.SOMA)),
        share.reshape(-1),
    )
    dendrites = [
        *_basal_trees(center_um, radius_um, pyramidal, generator),
        *_apical_tree(center_um, radius_um, pyramidal, generator),
    ]
    pieces = [
        soma,
        *(_flatten(branches, Part.DENDRITE, center_um) for branches in dendrites),
        *(
            _flatten(branches, Part.AXON, center_um)
            for branches in _axon(center_um, radius_um, generator)
        ),
    ]
    return Morphology(
        torch.cat([piece.position_um for piece in pieces]),
        torch.cat([piece.volume_um3 for piece in pieces]),
        torch.cat([piece.cell for piece in pieces]),
        torch.cat([piece.part for piece in pieces]),
        torch.cat([piece.reach for piece in pieces]),
    )
