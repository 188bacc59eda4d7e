"""Random views of crop pairs: what must not change a neuron's identity."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.nn import functional

from napari_neurobridge.io.crops import DARKEST


class AugmentConfig(BaseModel, frozen=True, extra="forbid"):
    """Strength of each random change; all are drawn anew for each crop.

    Both sides are changed, so the two crops of a pair come to differ by up to twice as
    much, on top of the misfit that the simulation gave them.
    """

    rotation_deg: float = Field(10.0, ge=0, description="Rotation of one side, ± degrees.")
    shift_px: float = Field(2.0, ge=0, description="Error of the centre, ± pixels per axis.")
    scale: float = Field(0.04, ge=0, lt=1, description="Relative size, ±.")
    gamma: float = Field(0.3, ge=0, description="Natural log of the gamma exponent, ±.")
    brightness: float = Field(0.2, ge=0, lt=1, description="Gain and offset, ±.")
    noise: float = Field(0.04, ge=0, description="Largest deviation of added white noise.")
    dropout_probability: float = Field(0.2, ge=0, le=1, description="Chance to lose context.")
    dropout_px: int = Field(40, ge=1, description="Largest side of a lost patch, pixels.")


def augment_pairs(
    two_photon: Tensor, fmost: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Change both crops of each pair: the plane's symmetries alike, the rest apart.

    Parameters
    ----------
    two_photon, fmost : Tensor, shape (B, 1, P, P)
        Crops in [0, 1]; row i of both is one neuron.
    config : AugmentConfig
        Strengths.
    generator : torch.Generator
        Source of all random numbers.

    Returns
    -------
    tuple of Tensor
        Both sides, (B, 1, P, P) in [0, 1].
    """
    # Quarter turns, since others would hide the corners that crops show in use.
    turns = torch.randint(4, (len(two_photon),), generator=generator) * (math.pi / 2)
    mirror = torch.where(torch.rand(len(two_photon), generator=generator) < 0.5, -1.0, 1.0)
    sides = []
    for crops in (two_photon, fmost):
        warped = functional.grid_sample(
            crops,
            _sampling_grid(crops, turns, mirror, config, generator),
            align_corners=False,
        )
        sides.append(_drop_context(_change_intensity(warped, config, generator), config, generator))
    return sides[0], sides[1]


def _uniform(shape: tuple[int, ...], limit: float, generator: torch.Generator) -> Tensor:
    """Draw from [-limit, limit]."""
    return (2 * torch.rand(shape, generator=generator) - 1) * limit


def _sampling_grid(
    crops: Tensor,
    turns: Tensor,
    mirror: Tensor,
    config: AugmentConfig,
    generator: torch.Generator,
) -> Tensor:
    """Combine the pair's common turn and mirroring with this side's own errors of pose."""
    n = len(crops)
    angle = turns + _uniform((n,), math.radians(config.rotation_deg), generator)
    scale = 1 + _uniform((n,), config.scale, generator)
    # affine_grid counts in half widths of the image.
    shift = _uniform((n, 2), config.shift_px, generator) * (2 / crops.shape[-1])
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        (
            torch.stack((cos * mirror, -sin * mirror, shift[:, 0]), dim=1),
            torch.stack((sin, cos, shift[:, 1]), dim=1),
        ),
        dim=1,
    )
    return functional.affine_grid(theta, list(crops.shape), align_corners=False)


def _change_intensity(crops: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    n = (len(crops), 1, 1, 1)
    exponent = torch.exp(_uniform(n, config.gamma, generator))
    gain = 1 + _uniform(n, config.brightness, generator)
    offset = _uniform(n, config.brightness / 2, generator)
    deviation = torch.rand(n, generator=generator) * config.noise
    noise = torch.randn(crops.shape, generator=generator) * deviation
    changed = crops.clamp_min(1e-4).pow(exponent) * gain + offset + noise
    # What lies outside the image stays outside, and the rest inside.
    return torch.where(crops > 0, changed.clamp(float(DARKEST), 1), 0.0)


def _drop_context(crops: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Blank a random rectangle of some crops, as a cut, a vessel or a border would."""
    n, pixels = len(crops), crops.shape[-1]
    lost = torch.rand(n, generator=generator) < config.dropout_probability
    sides = torch.rand((n, 2, 1), generator=generator) * config.dropout_px
    starts = torch.rand((n, 2, 1), generator=generator) * (pixels - sides)
    places = torch.arange(pixels)
    inside = (places >= starts) & (places < starts + sides)
    blank = inside[:, 0, :, None] & inside[:, 1, None, :] & lost[:, None, None]
    return crops.masked_fill(blank[:, None], 0.0)
