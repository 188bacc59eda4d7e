"""The geometry that most matches share: an affine map, and smooth maps about it.

Four matches know less than all of them. What most matches agree on is therefore found first,
and each match is known by how far it departs from that too, at several stiffnesses: a stiff map
leaves some of the tissue's own deformation, a soft one follows mistakes that agree with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

# Triangles that are drawn, those of them that are tried as similarities, and those refined.
_TRIANGLES, _TRIED, _REFINED = 8192, 256, 6
# Matches that judge a similarity, at most.
_JUDGES = 256
# Sides shorter than this tell angle and scale poorly: the tissue is strained.
_SHORTEST_UM = 20.0
_SCALES = (0.55, 1.8)
# A triangle's sides agree with one scale to about this; what the tissue is strained by.
_STRAIN, _ERROR_UM = 0.1, 4.0
# How far from a similarity, and from an affine map, right matches may lie and still speak for it.
_NEAR_UM, _SOFT_UM = 15.0, 12.0
_ROUNDS = 5
# Correlation length and standard deviation of the smooth maps about the affine one.
_LEVELS_UM = ((150.0, 8.0), (65.0, 6.0))
LEVELS = 1 + len(_LEVELS_UM)
"""Stiffnesses of the maps from which departures are known."""

_TILT_UM, _NOISE_UM, _LAST_UM = 6.0, 3.0, 6.0
# Inducing points of a smooth map, at most.
_KNOTS = 120


@dataclass(frozen=True, eq=False)
class CommonFrame:
    """One set of matches in the geometry that most of them share.

    Attributes
    ----------
    target_um : Tensor, shape (N, D)
        The target, as the affine map brings it onto the source.
    shifts_um : Tensor, shape (N, L, D)
        How far each match departs from the shared map at L stiffnesses, the affine map first.
        The smooth maps are those that all other matches give.
    weight : Tensor, shape (N,)
        How much a match had to say in the softest map, 0 to 1.
    agreement : Tensor, shape (N, L)
        Mean weight of the whole set at each stiffness, the same for each match.
    """

    target_um: Tensor
    shifts_um: Tensor
    weight: Tensor
    agreement: Tensor


def stacked(frames: Sequence[CommonFrame]) -> CommonFrame:
    """Return the frames of several sets of matches one after another."""
    return CommonFrame(
        torch.cat([each.target_um for each in frames]),
        torch.cat([each.shifts_um for each in frames]),
        torch.cat([each.weight for each in frames]),
        torch.cat([each.agreement for each in frames]),
    )


def common_frame(source: Tensor, target: Tensor, generator: torch.Generator) -> CommonFrame:
    """Find what most matches share.

    Triangles of matches that are similar on both sides give similarities; the one that
    most matches come near to becomes an affine map, by reweighted least squares, and this
    the mean of Gaussian processes of falling length, fitted in the same way.

    Parameters
    ----------
    source, target : Tensor, shape (N, D)
        µm, D of 2 or 3.
    generator : torch.Generator
        Of the triangles.
    """
    found = _affine(source, target, _similar(source, target, generator))
    shifts, weight = [found - source], _weight(found - source, _SOFT_UM)
    agreement = [_weight(found - source, _LAST_UM).mean()]
    for length, size in _LEVELS_UM:
        shift, weight = _smooth_departure(source, found - source, weight, length, size)
        shifts.append(shift)
        agreement.append(weight.mean())
    agreed = torch.stack(agreement).expand(len(weight), -1)
    return CommonFrame(found, torch.stack(shifts, dim=1), weight, agreed)


def _weight(shift: Tensor, soft: float) -> Tensor:
    """Return the squared Cauchy weight of departures (..., D)."""
    return 1 / (1 + shift.square().sum(dim=-1) / soft**2).square()


def _softness(number: int) -> float:
    """Return the scale of the weights in one round of a fit, falling."""
    return float(_SOFT_UM * (_LAST_UM / _SOFT_UM) ** (number / (_ROUNDS - 1)))


def _similar(source: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    """Return the target as the best few similarities bring it onto the source, (H, N, D)."""
    count = len(source)
    rows = torch.randint(count, (_TRIANGLES, 3), generator=generator)
    ours, theirs = (
        torch.stack([side[rows[:, b]] - side[rows[:, a]] for a, b in ((0, 1), (0, 2), (1, 2))], 1)
        for side in (source, target)
    )
    first, second = (torch.linalg.vector_norm(each, dim=2) for each in (ours, theirs))
    scale = first.sum(dim=1) / second.sum(dim=1).clamp(min=1e-3)
    off = (second * scale[:, None] - first).abs() / (_ERROR_UM + _STRAIN * first)
    off = off.amax(dim=1)
    bad = (first.amin(dim=1) < _SHORTEST_UM) | (scale < _SCALES[0]) | (scale > _SCALES[1])
    best = off.masked_fill(bad, torch.inf).topk(_TRIED, largest=False).indices
    here, there = _axes(ours[best]), _axes(theirs[best])
    turn = scale[best, None, None] * (there.transpose(1, 2) @ here)
    middle = [side[rows[best]].mean(dim=1) for side in (source, target)]
    judges = torch.randperm(count, generator=generator)[:_JUDGES]
    moved = (target[judges] - middle[1][:, None]) @ turn + middle[0][:, None]
    near = (moved - source[judges]).square().sum(dim=2)
    votes = (-0.5 * near / _NEAR_UM**2).exp().sum(dim=1)
    top = votes.topk(_REFINED).indices
    brought: Tensor = (target - middle[1][top, None]) @ turn[top] + middle[0][top, None]
    return brought


def _axes(edges: Tensor) -> Tensor:
    """Return right-handed orthonormal axes (T, D, D) that go along triangles, as rows."""
    dims = edges.shape[2]
    along = torch.nn.functional.normalize(edges[:, 0], dim=1)
    if dims == 2:
        return torch.stack([along, torch.stack([-along[:, 1], along[:, 0]], dim=1)], dim=1)
    across = torch.nn.functional.normalize(torch.linalg.cross(along, edges[:, 1]), dim=1)
    return torch.stack([along, across, torch.linalg.cross(along, across)], dim=1)


def _affine(source: Tensor, target: Tensor, starts: Tensor) -> Tensor:
    """Return the target by the affine map to which most comes near, from several starts."""
    known = torch.cat([target - target.mean(dim=0), torch.ones_like(target[:, :1])], dim=1).double()
    known[:, :-1] /= known[:, :-1].std().clamp(min=1e-3)
    # A slight pull towards the start, for few matches and such on a line.
    pull = 0.1 * torch.eye(known.shape[1], dtype=known.dtype)
    begun, goal = starts.double(), source.double()
    found = begun
    for number in range(_ROUNDS):
        weighed = known.T * _weight(found - goal, _softness(number))[:, None]
        change = torch.linalg.solve(weighed @ known + pull, weighed @ (goal - begun))
        found = begun + known @ change
    best = _weight(found - goal, _LAST_UM).sum(dim=1).argmax()
    return found[best].to(target.dtype)


def _smooth_departure(
    source: Tensor, shift: Tensor, weight: Tensor, length: float, size: float
) -> tuple[Tensor, Tensor]:
    """Return departures from the smooth map that the others give, and their weights."""
    known = _features(source, length, size)
    noise = _NOISE_UM**2
    eye = torch.eye(known.shape[1], dtype=known.dtype)
    left = shift
    for number in range(_ROUNDS):
        weighed = known * (weight / noise)[:, None]
        factor = torch.linalg.cholesky(weighed.T @ known + eye)
        fitted = torch.cholesky_solve(weighed.T @ shift, factor)
        spread = torch.linalg.solve_triangular(factor, known.T, upper=False)
        # Leaving a match out of its own fit divides its residual by what it did not explain.
        own = (spread.square().sum(dim=0) * weight / noise).clamp(max=0.99)
        left = (shift - known @ fitted) / (1 - own)[:, None]
        weight = _weight(left, _softness(number))
    return left, weight


def _features(source: Tensor, length: float, size: float) -> Tensor:
    """Return features (N, F) whose products are the covariance of a smooth map, low in rank."""
    low, extent = source.amin(dim=0), source.amax(dim=0) - source.amin(dim=0)
    step = 0.8 * length
    while True:
        counts = [int(side / step) + 1 for side in extent.tolist()]
        if torch.tensor(counts).prod() <= _KNOTS:
            break
        step *= 1.1
        length = max(length, step)
    axes = [
        corner + (torch.arange(n) + 0.5) * side / n
        for corner, side, n in zip(low, extent, counts, strict=True)
    ]
    knots = torch.cartesian_prod(*axes).reshape(-1, source.shape[1]).to(source.dtype)
    cross, among = (
        (-0.5 * (torch.cdist(side, knots) / length).square()).exp().double()
        for side in (source, knots)
    )
    factor = torch.linalg.cholesky(among + 1e-3 * torch.eye(len(knots), dtype=among.dtype))
    smooth = torch.linalg.solve_triangular(factor, cross.T, upper=False).T.to(source.dtype)
    tilt = (source - source.mean(dim=0)) / extent.max().clamp(min=1e-3) * 2
    ones = torch.ones_like(tilt[:, :1])
    return torch.cat([size * smooth, _TILT_UM * tilt, _TILT_UM * ones], dim=1)
