"""The shadow that vessels cast on what lies below them under a two-photon microscope."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.lattice import Sampling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.lattice import Boxes
    from napari_neurobridge.types import Vec3

_MARGIN_UM = 120.0


class VesselShadow:
    """Share of the light that passes all blood above a point.

    Blood dims the cone of light that runs to the focus. The optical depth τ therefore runs
    down from plane to plane, gains ``absorption * lumen`` for each µm, and is convolved with
    the kernel that has the spectrum ``exp(-spread · |k| · Δz)``: widths of this kernel add up
    linearly, as the width of a cone does. Below a straight thin vessel the profile of τ is a
    Lorentzian with a half-width at half-maximum of `spread` times the depth below the vessel.

    Parameters
    ----------
    lumen : Tensor, shape (D, H, W)
        Share of each node's surroundings that is blood, of the whole block, z downwards.
    step_um : float
        Distance of the nodes, the same along all axes.
    low_um : Vec3
        Where node (0, 0, 0) lies, µm (z, y, x): a multiple of the step. Points outside the
        block take the nearest node's value.
    absorption_per_um : float
        Optical depth of one µm of blood.
    spread : float
        Half-width gained for each µm of depth.

    Raises
    ------
    ValueError
        If `low_um` is not a multiple of the step.
    """

    def __init__(
        self,
        lumen: Tensor,
        step_um: float,
        low_um: Vec3,
        absorption_per_um: float,
        spread: float,
    ) -> None:
        self._step_um = step_um
        self._start = [round(low / step_um) for low in low_um]
        if any(
            abs(first * step_um - low) > 1e-3
            for first, low in zip(self._start, low_um, strict=True)
        ):
            raise ValueError(f"low_um must be a multiple of the step of {step_um} µm: {low_um}.")
        depth = _optical_depth(lumen.float() * (absorption_per_um * step_um), spread, step_um)
        self._transmission = depth.neg_().exp_()

    def at(self, boxes: Boxes, step_um: Vec3) -> Tensor:
        """Return the transmission (B, D, H, W) at the voxels of a lattice with this step."""
        device = self._transmission.device
        coarse = (self._step_um, self._step_um, self._step_um)
        sampling = Sampling(boxes, step_um, coarse, device=device)
        z, y, x = (
            (sampling.nodes.index(axis) - start).clamp_(0, count - 1).to(device)
            for axis, (start, count) in enumerate(
                zip(self._start, self._transmission.shape, strict=True)
            )
        )
        nodes = self._transmission[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]
        return sampling(nodes, (slice(None), slice(None), slice(None)))


def _optical_depth(gain: Tensor, spread: float, step_um: float) -> Tensor:
    """Run the optical depth down through planes (D, H, W) that each add their gain."""
    margin = math.ceil(_MARGIN_UM / step_um)
    padded = tuple(n + margin for n in gain.shape[1:])
    wave_y = torch.fft.fftfreq(padded[0], d=step_um, device=gain.device)
    wave_x = torch.fft.rfftfreq(padded[1], d=step_um, device=gain.device)
    frequency = 2 * math.pi * torch.hypot(wave_y[:, None], wave_x)
    decay = torch.exp(-spread * step_um * frequency)
    depth = torch.empty_like(gain)
    running = torch.zeros_like(decay, dtype=torch.complex64)
    for plane, added in enumerate(gain):
        # Half of a plane's blood lies above its nodes, the other half below.
        half = torch.fft.rfft2(added, s=padded) * 0.5
        running += half
        image = torch.fft.irfft2(running, s=padded)
        depth[plane] = image[: gain.shape[1], : gain.shape[2]].clamp(min=0)
        running = (running + half) * decay
    return depth
