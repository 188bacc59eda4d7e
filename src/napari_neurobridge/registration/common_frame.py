"""The one rotation and scale that most matches of a plane share, to be taken off beforehand."""

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


def turned_to_source(source: Tensor, target: Tensor, subsets: Tensor) -> Tensor:
    """Return the target turned and scaled as most pairs of neighbouring matches want it.

    A pair of matches gives one rotation and scale, as a complex ratio. Those of right pairs crowd
    together, within what the tissue's strain turns; those of wrong ones scatter over all
    angles, so that the mode is right even where few matches are. It is looked for
    in a histogram and refined by the mean of its surroundings.

    Parameters
    ----------
    source, target : Tensor, shape (N, 2)
        µm.
    subsets : Tensor of int64, shape (S, K)
        Whose first matches make the pairs, about 8,000 of them.

    Returns
    -------
    Tensor, shape (N, 2)
        In the source's scale; the target as it is, if no pair tells.
    """
    rows = subsets[:: max(1, len(subsets) * (subsets.shape[1] - 1) // _PAIRS)]
    first, second = (
        torch.view_as_complex((side[rows[:, 1:]] - side[rows[:, :1]]).contiguous()).flatten()
        for side in (source, target)
    )
    ratio = second[first.abs() > _SHORTEST_UM] / first[first.abs() > _SHORTEST_UM]
    ratio = ratio[(ratio.abs() > math.exp(-_LOG_SCALE)) & (ratio.abs() < math.exp(_LOG_SCALE))]
    if not len(ratio):
        return target
    mode = _mode(ratio)
    for _ in range(_ROUNDS):
        near = (ratio - mode).abs() < _REACH * abs(mode)
        if not near.any():
            break
        mode = complex(ratio[near].mean())
    back = torch.view_as_real(torch.view_as_complex(target.contiguous()) / mode)
    return back.to(target.dtype)


def _mode(ratio: Tensor) -> complex:
    """Return the middle of the fullest bin of angle and logarithmic scale, smoothed."""
    angle = ((ratio.angle() / (2 * math.pi) + 0.5) * _ANGLES).long() % _ANGLES
    scale = ((ratio.abs().log() / (2 * _LOG_SCALE) + 0.5) * _SCALES).long().clamp(0, _SCALES - 1)
    table = torch.bincount(angle * _SCALES + scale, minlength=_ANGLES * _SCALES)
    table = table.reshape(_ANGLES, _SCALES).float()
    table = table + table.roll(1, 0) + table.roll(-1, 0)
    padded = nn.functional.pad(table, (1, 1))
    best = int((table + padded[:, :-2] + padded[:, 2:]).argmax())
    turn = ((best // _SCALES + 0.5) / _ANGLES - 0.5) * 2 * math.pi
    size = math.exp(((best % _SCALES + 0.5) / _SCALES - 0.5) * 2 * _LOG_SCALE)
    return complex(size * math.cos(turn), size * math.sin(turn))
