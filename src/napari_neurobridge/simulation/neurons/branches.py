"""Unbranched runs of neurites, grown for all cells at once.

Only living branches exist: the branches of many cells stand in one list, each with the row of
its cell and a random word of its own. All randomness of a branch is a function of its word,
and only operations that round alike everywhere are used (no sines, powers or matrix
products), so a branch comes out the same in whatever list it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key

_MIN_RADIUS_UM = 0.15
# Radii along a branch, as shares of the smooth one.
_SMALLEST_BEAD, LARGEST_BEAD = 0.4, 2.0


@dataclass(frozen=True)
class Buds:
    """Where B branches begin.

    Attributes
    ----------
    row : Tensor of int64, shape (B,)
        Row of the cell in the batch.
    word : Tensor of int64, shape (B,)
        Random bits that name the branch.
    kind : Tensor of int64, shape (B,)
        Row of the table that says how such branches grow.
    start_um, heading : Tensor, shape (B, 3)
        Offset from the centre of the soma, µm (z, y, x), and a unit vector.
    radius_um : Tensor, shape (B,)
        Of the process.
    parent : Tensor of int64, shape (B,)
        Number of the node that the branch grows from, see `Run.node`; -1 for the soma.
    """

    row: Tensor
    word: Tensor
    kind: Tensor
    start_um: Tensor
    heading: Tensor
    radius_um: Tensor
    parent: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def at(self, index: Tensor) -> Buds:
        """Return some of the buds."""
        return Buds(*(getattr(self, field.name)[index] for field in fields(Buds)))

    @classmethod
    def join(cls, lists: Sequence[Buds]) -> Buds:
        """Return several lists in one."""
        return cls(*(torch.cat([getattr(buds, f.name) for buds in lists]) for f in fields(Buds)))


@dataclass(frozen=True)
class Run:
    """B branches of T points each.

    Attributes
    ----------
    buds : Buds
        Their beginnings.
    course_um : Tensor, shape (B, 3, T)
        Offsets from the centre of the soma.
    distance_um : Tensor, shape (B, T)
        Straight distance from the centre of the soma.
    radius_um : Tensor, shape (B, T)
        Of the process.
    step_um : Tensor, shape (B,)
        Way from point to point.
    heading : Tensor, shape (B, 3)
        At the end.
    first_node : int
        Number of the first point among all points of the batch.
    """

    buds: Buds
    course_um: Tensor
    distance_um: Tensor
    radius_um: Tensor
    step_um: Tensor
    heading: Tensor
    first_node: int

    @property
    def end(self) -> int:
        """Number of the first point of the next run."""
        return self.first_node + self.radius_um.numel()

    @property
    def steps(self) -> int:
        """Number of points of a branch, T."""
        return self.radius_um.shape[1]

    def node(self, branch: Tensor, step: Tensor | int) -> Tensor:
        """Return the numbers of the points ``step`` of branches."""
        return self.first_node + branch * self.steps + step

    def volume_um3(self) -> Tensor:
        """Return the volume that each point stands for, shape (B, T)."""
        return self.radius_um.square().mul_((math.pi * self.step_um)[:, None])


@dataclass(frozen=True)
class Room:
    """Where processes may go: a ball around the soma, below the surface of the brain.

    Attributes
    ----------
    reach_um : float
        Radius of the ball.
    ceiling_um : Tensor, shape (K,)
        Height of the surface above the centre of each soma of the batch.
    """

    reach_um: float
    ceiling_um: Tensor


@dataclass(frozen=True)
class BranchTexture:
    """How smooth processes are.

    Attributes
    ----------
    wander : float
        How much the heading turns, rad for each square root of a step.
    roughness : float
        Standard deviation of the radius along a branch, as a share of it (spines, boutons).
    """

    wander: float
    roughness: float


def grow(
    buds: Buds,
    length_um: Tensor,
    steps: int,
    room: Room,
    key: Key,
    *,
    texture: BranchTexture,
    taper: float,
    first_node: int,
) -> Run:
    """Grow one branch from each bud.

    Parameters
    ----------
    buds : Buds
        B of them.
    length_um : Tensor, shape (B,)
        Of each branch.
    steps : int
        Number of points T of every branch; the way between two points is what differs.
    room : Room
        Branches are mirrored at the surface and pushed back into the ball.
    key : Key
        Together with the words of the buds, the source of all randomness.
    texture : BranchTexture
    taper : float
        Radius at the end as a share of that at the beginning.
    first_node : int
        See `Run`.
    """
    noise = key.child("course").normal(buds.word, 4 * steps).view(-1, 4, steps)
    step = length_um / steps
    course = torch.cumsum(noise[:, :3], dim=2).mul_(texture.wander).add_(buds.heading[:, :, None])
    course.mul_((step[:, None] / length_of(course, 1)).unsqueeze_(1))
    heading = course[:, :, -1] / step[:, None]
    course = torch.cumsum(course, dim=2).add_(buds.start_um[:, :, None])
    ceiling = room.ceiling_um[buds.row]
    heading[:, 0] *= torch.where(course[:, 0, -1] < -ceiling, -1.0, 1.0)
    course[:, 0] = below_surface(course[:, 0], ceiling[:, None])
    distance = length_of(course, 1)
    course.mul_((room.reach_um / distance).clamp_(max=1).unsqueeze_(1))
    along = torch.linspace(1, taper, steps, device=noise.device)
    beads = (
        noise[:, 3].mul(texture.roughness).add_(1).clamp_(_SMALLEST_BEAD, LARGEST_BEAD).mul_(along)
    )
    return Run(
        buds,
        course,
        distance.clamp_(max=room.reach_um),
        beads.mul_(buds.radius_um[:, None]).clamp_(min=_MIN_RADIUS_UM),
        step,
        heading,
        first_node,
    )


def bifurcate(run: Run, key: Key, *, slant: tuple[float, float], thinning: float) -> Buds:
    """Return two buds at the end of each branch, on opposite sides of its heading.

    Parameters
    ----------
    run : Run
        B branches.
    key : Key
    slant : tuple of float
        Range of the sine of the angle between a daughter and its mother.
    thinning : float
        Radius of a daughter as a share of its mother's.

    Returns
    -------
    Buds
        2 B buds.
    """
    buds = run.buds
    sideways = across(run.heading, vectors(buds.word, key.child("side")))
    sine = slant[0] + (slant[1] - slant[0]) * key.child("slant").uniform(buds.word, 2)
    cosine = torch.sqrt(1 - sine.square())
    ends = run.node(torch.arange(len(buds), device=buds.row.device), run.steps - 1)
    daughters = [
        Buds(
            buds.row,
            key.child("daughter").bits(buds.word + side),
            buds.kind,
            run.course_um[:, :, -1],
            unit(cosine[:, side, None] * run.heading + sign * sine[:, side, None] * sideways),
            thinning * buds.radius_um,
            ends,
        )
        for side, sign in ((0, 1), (1, -1))
    ]
    return Buds.join(daughters)


def vectors(word: Tensor, key: Key) -> Tensor:
    """Return a vector of standard normal numbers for each word, shape (B, 3)."""
    return key.normal(word, 3)


def unit(vector: Tensor) -> Tensor:
    """Return vectors (..., 3) scaled to length 1."""
    return vector / length_of(vector, -1).unsqueeze(-1)


def across(heading: Tensor, noise: Tensor) -> Tensor:
    """Return unit vectors at right angles to headings (B, 3), turned by random vectors."""
    dot = heading[:, 0] * noise[:, 0] + heading[:, 1] * noise[:, 1] + heading[:, 2] * noise[:, 2]
    return unit(noise - dot[:, None] * heading)


def length_of(vector: Tensor, dim: int) -> Tensor:
    """Return the lengths of vectors whose components lie along an axis."""
    # Not `Tensor.norm`, whose order of summation may depend on the size of the batch.
    z, y, x = vector.unbind(dim)
    return torch.sqrt((z.square() + y.square()).add_(x.square()))


def below_surface(height_um: Tensor, ceiling_um: Tensor) -> Tensor:
    """Return z offsets from somata, mirrored where they lie above the surface of the brain."""
    return torch.where(height_um < -ceiling_um, -2 * ceiling_um - height_um, height_um)
