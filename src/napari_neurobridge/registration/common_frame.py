"""The affine map that most matches of a plane share, to be taken off before they are judged."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Pairs of matches nearer than this turn by their localisation error alone.
_SHORTEST_UM = 15.0
# Scales from exp(-0.6) to exp(0.6) are thought of.
_LOG_SCALE = 0.6
_ANGLES, _SCALES = 72, 24
_PAIRS, _ROUNDS, _REACH = 8192, 8, 0.2
# The shift is looked for in bins of this width and refined within twice of it.
_BIN_UM = 20.0
# Scale of the Cauchy weights of the affine fit: what smooth tissue deforms about it.
_SOFT_UM, _FEWEST = 12.0, 6.0


def in_common_frame(source: Tensor, target: Tensor, subsets: Tensor) -> Tensor:
    """Return the target as the affine map that most matches share brings it onto the source.

    A pair of matches gives one rotation and scale, as a complex ratio. Those of right pairs crowd
    together, within what the tissue's strain turns; those of wrong ones scatter over all
    angles, so that the mode is right even where few matches are. It is looked for in a
    histogram and refined by the mean of its surroundings; then the shift is found in the same
    way, from single matches. An affine fit with Cauchy weights follows.

    Parameters
    ----------
    source, target : Tensor, shape (N, 2)
        µm.
    subsets : Tensor of int64, shape (S, K)
        Whose first matches make the pairs, about 8,000 of them.

    Returns
    -------
    Tensor, shape (N, 2)
        In the frame and scale of the source; only shifted, if no pair tells of a rotation.
    """
    rows = subsets[:: max(1, len(subsets) * (subsets.shape[1] - 1) // _PAIRS)]
    first, second = (
        torch.view_as_complex((side[rows[:, 1:]] - side[rows[:, :1]]).contiguous()).flatten()
        for side in (source, target)
    )
    long = first.abs() > _SHORTEST_UM
    turned = target
    if (turn := _turn(second[long] / first[long])) is not None:
        turned = torch.view_as_real(torch.view_as_complex(target.contiguous()) / turn)
        turned = turned.to(target.dtype)
    shifted = turned - _shift(turned - source)
    return _refined(source, shifted)


def _turn(ratio: Tensor) -> complex | None:
    """Return the rotation and scale about which most pairs crowd."""
    ratio = ratio[(ratio.abs() > math.exp(-_LOG_SCALE)) & (ratio.abs() < math.exp(_LOG_SCALE))]
    if not len(ratio):
        return None
    angle = ((ratio.angle() / (2 * math.pi) + 0.5) * _ANGLES).long() % _ANGLES
    scale = ((ratio.abs().log() / (2 * _LOG_SCALE) + 0.5) * _SCALES).long().clamp(0, _SCALES - 1)
    table = torch.bincount(angle * _SCALES + scale, minlength=_ANGLES * _SCALES)
    table = table.reshape(_ANGLES, _SCALES).float()
    # Angles go round, scales do not.
    table = nn.functional.pad(torch.cat([table[-1:], table, table[:1]])[None], (1, 1))
    best = int(nn.functional.avg_pool2d(table, 3, 1).argmax())
    middle = ((best // _SCALES + 0.5) / _ANGLES - 0.5) * 2 * math.pi
    size = math.exp(((best % _SCALES + 0.5) / _SCALES - 0.5) * 2 * _LOG_SCALE)
    mode = complex(size * math.cos(middle), size * math.sin(middle))
    for _ in range(_ROUNDS):
        near = (ratio - mode).abs() < _REACH * abs(mode)
        if not near.any():
            break
        mode = complex(ratio[near].mean())
    return mode


def _shift(moved: Tensor) -> Tensor:
    """Return the vector about which most of the shifts (N, 2) crowd, shape (2,)."""
    bins = (moved / _BIN_UM).round()
    cells, counts = bins.unique(dim=0, return_counts=True)
    near = (torch.cdist(cells, cells, p=float("inf")) < 1.5).float() @ counts.float()
    mode = cells[near.argmax()] * _BIN_UM
    for _ in range(_ROUNDS):
        close = torch.linalg.vector_norm(moved - mode, dim=1) < 2 * _BIN_UM
        if not close.any():
            break
        mode = moved[close].mean(dim=0)
    return mode


def _refined(source: Tensor, target: Tensor) -> Tensor:
    """Return the target after the affine map that brings most of it nearest to the source."""
    middle = target.mean(dim=0)
    extent = (target - middle).std().clamp(min=1e-3)
    known = torch.cat([(target - middle) / extent, torch.ones_like(target[:, :1])], dim=1).double()
    goal, found = source.double(), target.double()
    # A slight pull towards what it is, for matches on a line.
    pull = 1e-2 * torch.eye(known.shape[1], dtype=known.dtype)
    for _ in range(_ROUNDS):
        off = torch.linalg.vector_norm(found - goal, dim=1)
        weight = 1 / (1 + (off / _SOFT_UM).square()).square()
        if float(weight.sum()) < _FEWEST:
            break
        weighed = known.T * weight
        found = target + known @ torch.linalg.solve(
            weighed @ known + pull, weighed @ (goal - target)
        )
    return found.to(target.dtype)
