"""What cells do: spikes of a population, and the calcium indicator's answer to them.

Spike trains are doubly stochastic. Every cell has a mean rate of its own, log-normal over
cells (Buzsáki and Mizuseki, Nature Reviews Neuroscience 15:264, 2014). The logarithm of its
rate wanders around that; part of the wandering is shared by all cells. Spikes come in
bursts. The indicator answers each spike with a double exponential that saturates mildly;
the defaults are near GCaMP6s in mouse visual cortex (Chen et al., Nature 499:295, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
)
from napari_neurobridge.simulation.recording.wandering import leaky_sum_, wander_

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key

_STEPS_PER_S = 60.0
# After so many time constants of the calcium a spike before the recording is forgotten.
_WARM_UP = 6.0
_CELLS_AT_ONCE = 256
# A recording has fewer steps than this, so that a cell and a step make one index.
_MOST_STEPS = 1 << 32
_RATE_LIMITS_HZ = (0.02, 12.0)
_MOST_BURSTS = 5
_MOST_SPIKES = 12


class ActivityParams(Parameters):
    """How cells fire, and how the indicator answers.

    Attributes
    ----------
    rate_hz : float
        Median over cells of the mean rate of spikes.
    rate_sigma : float
        Standard deviation of the logarithm of the mean rate.
    active_only_rate : float
        Rate of cells that are visible only when active, relative to the others: they fire
        rarely.
    burst_spikes : float
        Mean number of spikes in a burst, which has a geometric distribution.
    modulation : float
        Standard deviation over time of the logarithm of a cell's rate.
    modulation_s : float
        Its correlation time, seconds.
    coupling : float
        Share of its variance that all cells have in common.
    rise_s, decay_s : float
        Time constants of ``(1 - exp(-t / rise)) exp(-t / decay)``, seconds. The peak comes
        ``rise log(1 + decay / rise)`` after the spike.
    amplitude, amplitude_sigma : float
        Median over cells of the peak ΔF/F of one spike, and the standard deviation of its
        logarithm. The default lies above the 0.23 of a lone spike, since bursts answer more
        than in proportion, which is not modelled.
    saturation : float
        ΔF/F that no activity exceeds.
    """

    rate_hz: Positive = 0.4
    rate_sigma: NonNegative = 0.9
    active_only_rate: Fraction = 0.4
    burst_spikes: Annotated[float, Field(ge=1)] = 2.5
    modulation: NonNegative = 1.0
    modulation_s: Positive = 1.0
    coupling: Fraction = 0.3
    rise_s: Positive = 0.07
    decay_s: Positive = 0.8
    amplitude: Positive = 0.35
    amplitude_sigma: NonNegative = 0.3
    saturation: Positive = 8.0


@dataclass(frozen=True)
class Activity:
    """What some cells did during a recording of T frames.

    Attributes
    ----------
    rate_hz : Tensor, shape (N,)
        Mean rate that the spikes were drawn with; 0 for silent cells.
    spikes : Tensor of int16, shape (N, T)
        Spikes between a frame and the one before.
    calcium : Tensor, shape (N, T)
        ΔF/F at the moment of each frame.
    """

    rate_hz: Tensor
    spikes: Tensor
    calcium: Tensor


@dataclass(frozen=True)
class Clock:
    """Steps of time, finer than frames.

    Attributes
    ----------
    n_frames : int
        Frames of the recording.
    steps_per_frame : int
        Steps from a frame to the next.
    step_s : float
        Length of a step, seconds.
    warm_up : int
        Steps before the recording starts.
    """

    n_frames: int
    steps_per_frame: int
    step_s: float
    warm_up: int

    @classmethod
    def of(cls, n_frames: int, frame_rate_hz: float, params: ActivityParams) -> Clock:
        """Return a clock that is fine enough for the indicator's rise."""
        per_frame = max(1, math.ceil(_STEPS_PER_S / frame_rate_hz))
        step_s = 1 / (frame_rate_hz * per_frame)
        memory_s = max(params.decay_s, params.modulation_s)
        return cls(n_frames, per_frame, step_s, math.ceil(_WARM_UP * memory_s / step_s))

    @property
    def n_steps(self) -> int:
        """Steps of the warm-up and the recording."""
        return self.warm_up + self.n_frames * self.steps_per_frame

    def at_frames(self, values: Tensor) -> Tensor:
        """Return the last step of each frame: (n_steps, ...) becomes (n_frames, ...)."""
        return values[self.warm_up + self.steps_per_frame - 1 :: self.steps_per_frame]


def mean_rates(
    cells: Tensor,
    params: ActivityParams,
    key: Key,
    *,
    active_only: Tensor | None = None,
    spiking: Tensor | None = None,
) -> Tensor:
    """Return the mean rate of spikes of each cell, Hz, shape (N,).

    Parameters
    ----------
    cells : Tensor of int64, shape (N,)
        Ids.
    params : ActivityParams
    key : Key
    active_only, spiking : Tensor of bool, shape (N,), optional
        Cells that are visible only when active, none by default; and all but the silent
        ones, all by default.
    """
    rate = params.rate_hz * torch.exp(params.rate_sigma * key.child("rate").normal(cells))
    if active_only is not None:
        rate = torch.where(active_only, params.active_only_rate * rate, rate)
    rate = rate.clamp(*_RATE_LIMITS_HZ)
    return rate if spiking is None else rate * spiking


def simulate_activity(
    cells: Tensor,
    n_frames: int,
    frame_rate_hz: float,
    params: ActivityParams,
    key: Key,
    *,
    active_only: Tensor | None = None,
    spiking: Tensor | None = None,
) -> Activity:
    """Draw the spikes and the calcium of some cells.

    A cell does the same whichever others are asked for, and the first frames of a long
    recording are those of a short one.

    Parameters
    ----------
    cells : Tensor of int64, shape (N,)
        Ids.
    n_frames : int
    frame_rate_hz : float
    params : ActivityParams
    key : Key
    active_only, spiking : Tensor of bool, shape (N,), optional
        As for `mean_rates`.
    """
    clock = Clock.of(n_frames, frame_rate_hz, params)
    rate = mean_rates(cells, params, key, active_only=active_only, spiking=spiking)
    gain = params.amplitude * torch.exp(
        params.amplitude_sigma * key.child("amplitude").normal(cells)
    )
    spikes, calcium = (
        [cells.new_zeros(0, n_frames, dtype=torch.int16)],
        [rate.new_zeros(0, n_frames)],
    )
    for start in range(0, len(cells), _CELLS_AT_ONCE):
        some = slice(start, start + _CELLS_AT_ONCE)
        fine = draw_spikes(cells[some], rate[some], clock, params, key)
        calcium.append(clock.at_frames(indicator(fine, gain[some], clock.step_s, params)).T)
        per_frame = fine[clock.warm_up :].view(n_frames, clock.steps_per_frame, -1).sum(dim=1)
        spikes.append(per_frame.T.to(torch.int16))
    return Activity(rate, torch.cat(spikes), torch.cat(calcium))


def draw_spikes(
    cells: Tensor, rate_hz: Tensor, clock: Clock, params: ActivityParams, key: Key
) -> Tensor:
    """Draw how many spikes each cell fires in each step, float32, shape (n_steps, N)."""
    steps = torch.arange(clock.n_steps, device=cells.device)
    index = cells * _MOST_STEPS + steps[:, None]
    innovation = key.child("own modulation").normal(index).mul_(math.sqrt(1 - params.coupling))
    shared = _shared_innovation(clock, key, cells.device)
    innovation += math.sqrt(params.coupling) * shared[:, None]
    wander = wander_(innovation, clock.step_s / params.modulation_s).mul_(params.modulation)
    # The mean of a log-normal number is then 1.
    bursts = wander.sub_(params.modulation**2 / 2).exp_()
    bursts *= rate_hz * (clock.step_s / params.burst_spikes)
    count = _poisson(bursts, key.child("bursts").uniform(index))
    if params.burst_spikes > 1:
        count *= _burst_size(params.burst_spikes, key.child("burst size").uniform(index))
    return count


def indicator(spikes: Tensor, gain: Tensor, step_s: float, params: ActivityParams) -> Tensor:
    """Return the ΔF/F that spikes cause, shape (S, N).

    Parameters
    ----------
    spikes : Tensor, shape (S, N)
        Spikes of N cells in S steps of time.
    gain : Tensor, shape (N,)
        Peak ΔF/F of one spike, before saturation.
    step_s : float
        Length of a step, seconds.
    params : ActivityParams
    """
    rise, decay = params.rise_s, params.decay_s
    peak_s = rise * math.log1p(decay / rise)
    peak = -math.expm1(-peak_s / rise) * math.exp(-peak_s / decay)
    slow = leaky_sum_(spikes.clone(), math.exp(-step_s / decay))
    slow -= leaky_sum_(spikes.clone(), math.exp(-step_s * (1 / decay + 1 / rise)))
    linear = slow.mul_(gain / peak).clamp_(min=0)
    return linear / (1 + linear / params.saturation)


def neuropil_fluctuation(
    n_frames: int,
    frame_rate_hz: float,
    params: ActivityParams,
    key: Key,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return what the activity of thousands of unresolved processes adds to the neuropil.

    It is what drives all cells alike, as slow as calcium: Gaussian, with mean 0 and
    standard deviation 1 over long times.

    Returns
    -------
    Tensor, shape (n_frames,)
    """
    clock = Clock.of(n_frames, frame_rate_hz, params)
    shared = _shared_innovation(clock, key, torch.device(device))[:, None]
    wander = wander_(shared, clock.step_s / params.modulation_s)
    keep = math.exp(-clock.step_s / params.decay_s)
    slow = leaky_sum_(wander.mul_(1 - keep), keep)[:, 0]
    # Variance of a wandering of one correlation time after a low pass of another.
    spread = math.sqrt(params.modulation_s / (params.modulation_s + params.decay_s))
    return clock.at_frames(slow) / spread


def _shared_innovation(clock: Clock, key: Key, device: torch.device) -> Tensor:
    steps = torch.arange(clock.n_steps, device=device)
    return key.child("shared modulation").normal(steps)


def _poisson(mean: Tensor, uniform: Tensor) -> Tensor:
    """Return Poisson numbers, at most `_MOST_BURSTS`, by inverting their distribution."""
    share = torch.exp(-mean)
    cumulative = share.clone()
    count = (uniform >= cumulative).float()
    for number in range(1, _MOST_BURSTS):
        share.mul_(mean).div_(number)
        count += uniform >= cumulative.add_(share)
    return count


def _burst_size(mean: float, uniform: Tensor) -> Tensor:
    """Return geometric numbers 1, 2, …, at most `_MOST_SPIKES`."""
    tail = uniform.neg().add_(1).log_().div_(math.log1p(-1 / mean))
    return tail.floor_().add_(1).clamp_(max=_MOST_SPIKES)
