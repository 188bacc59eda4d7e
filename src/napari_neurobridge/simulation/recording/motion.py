"""How the tissue moves under the microscope while it is recorded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.parameters import NonNegative, Parameters, Positive
from napari_neurobridge.simulation.recording.wandering import wander_

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.types import Vec3

_MOST_DEVIATIONS = 4.0


class MotionParams(Parameters):
    """Rigid motion: quick jitter (heartbeat, breath, steps) and slow drift.

    Attributes
    ----------
    jitter_um, drift_um : float
        Standard deviations along y and along x.
    z_jitter_um, z_drift_um : float
        Standard deviations along the optical axis.
    jitter_s, drift_s : float
        Correlation times, seconds.
    """

    jitter_um: NonNegative = 0.5
    drift_um: NonNegative = 1.5
    z_jitter_um: NonNegative = 0.3
    z_drift_um: NonNegative = 0.8
    jitter_s: Positive = 0.15
    drift_s: Positive = 40.0

    @property
    def limit_um(self) -> Vec3:
        """How far the tissue moves at most along z, y and x."""
        lateral = _MOST_DEVIATIONS * math.hypot(self.jitter_um, self.drift_um)
        return _MOST_DEVIATIONS * math.hypot(self.z_jitter_um, self.z_drift_um), lateral, lateral


def draw_motion(n_frames: int, frame_rate_hz: float, params: MotionParams, key: Key) -> Tensor:
    """Draw where the tissue is at each frame.

    Parameters
    ----------
    n_frames : int
        The first frames of a long recording are those of a short one.
    frame_rate_hz : float
    params : MotionParams
    key : Key

    Returns
    -------
    Tensor, shape (n_frames, 3)
        Displacement of the tissue, µm (z, y, x): what lies at p is seen at p plus this.
    """
    frames = torch.arange(n_frames)
    step_s = 1 / frame_rate_hz
    jitter = wander_(key.child("jitter").normal(frames, 3), step_s / params.jitter_s)
    drift = wander_(key.child("drift").normal(frames, 3), step_s / params.drift_s)
    quick = torch.tensor([params.z_jitter_um, params.jitter_um, params.jitter_um])
    slow = torch.tensor([params.z_drift_um, params.drift_um, params.drift_um])
    limit = torch.tensor(params.limit_um)
    return torch.clamp(quick * jitter + slow * drift, -limit, limit)
