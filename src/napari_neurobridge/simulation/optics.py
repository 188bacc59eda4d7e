"""What each microscope makes of the tissue: labels, point spread, background, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from napari_neurobridge.simulation.morphology import Part
from napari_neurobridge.simulation.render import (
    Grid,
    PointCloud,
    interpolation_matrix,
    transform_axes,
)

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.levels import FmostParams, Range, TwoPhotonParams
    from napari_neurobridge.simulation.tissue import Tissue
    from napari_neurobridge.types import Vec3

_TABLE = 64
_COARSER = 4
_GRAIN_UM = 2.5
_SECTIONS = 512
_FIBRE_STEPS = 250
_SHADOW_STEP_UM = 2.0
_STRIPE_PERIOD_UM = (6.0, 20.0)
_SHADING_PERIOD_UM = (300.0, 900.0)
_DIMMEST, _BRIGHTEST = 0.35, 6.0
# A cut passes just beside the soma, which stays whole.
_CUT_UM = -9.0


@dataclass(frozen=True)
class Labelling:
    """Which cells one side shows, and what its label puts into every point.

    Attributes
    ----------
    visible : Tensor of bool, shape (N,)
        Cells whose soma is there to be found.
    amount : Tensor, shape (M,)
        Fluorophore of every point of the tissue's morphology.
    """

    visible: Tensor
    amount: Tensor


def _draw(bounds: Range, generator: torch.Generator) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand(1, generator=generator))


def _brightness(count: int, sigma: float, generator: torch.Generator) -> Tensor:
    """Draw heavy-tailed brightnesses with median 1; a visible cell is never quite dark."""
    return torch.exp(sigma * torch.randn(count, generator=generator)).clamp(_DIMMEST, _BRIGHTEST)


def _process_gain(
    tissue: Tissue, dendrite_gain: float, axon_gain: float, fading_um: float
) -> Tensor:
    """Return the gain of every point, 1 in somata, fading along processes."""
    cells = tissue.morphology
    gain = torch.tensor([1.0, dendrite_gain, axon_gain])[cells.part]
    fading = torch.exp(-cells.reach / fading_um)
    return torch.where(cells.part == Part.SOMA, gain, gain * fading)


def label_two_photon(
    tissue: Tissue, params: TwoPhotonParams, generator: torch.Generator
) -> Labelling:
    """Express the calcium indicator: ring-like somata, dim processes, some cells silent."""
    cells = tissue.morphology
    count = len(tissue.center_um)
    visible = torch.rand(count, generator=generator) < params.visible_fraction
    brightness = _brightness(count, params.brightness_sigma, generator) * visible
    gain = _process_gain(tissue, params.dendrite_gain, params.axon_gain, params.fading_um)
    nucleus = (cells.part == Part.SOMA) & (cells.reach < params.nucleus_radius)
    gain = torch.where(nucleus, 1 - params.nuclear_exclusion, gain)
    return Labelling(visible, cells.volume_um3 * gain * brightness[cells.cell])


def label_fmost(tissue: Tissue, params: FmostParams, generator: torch.Generator) -> Labelling:
    """Express the structural label: filled somata, bright fibres, some cells cut."""
    cells = tissue.morphology
    count = len(tissue.center_um)
    visible = torch.rand(count, generator=generator) < params.labelled_fraction
    cut = torch.rand(count, generator=generator) < params.cut_fraction
    brightness = _brightness(count, params.brightness_sigma, generator) * visible
    gain = _process_gain(tissue, params.dendrite_gain, params.axon_gain, params.fading_um)
    normal = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    beyond = ((cells.position_um - tissue.center_um[cells.cell]) * normal[cells.cell]).sum(dim=1)
    kept = ~cut[cells.cell] | (beyond > _CUT_UM)
    amount = cells.volume_um3 * gain * brightness[cells.cell] * kept
    return Labelling(visible, amount)


def _clutter(
    low_um: Tensor,
    high_um: Tensor,
    params: TwoPhotonParams | FmostParams,
    generator: torch.Generator,
) -> PointCloud:
    """Fill a box with what belongs to no cell of the tissue: specks and passing fibres."""
    size = high_um - low_um
    volume_mm3 = float(size.prod()) * 1e-9
    specks = low_um + size * torch.rand(
        round(params.puncta_per_mm3 * volume_mm3), 3, generator=generator
    )
    speck_amount = params.puncta_gain * _brightness(len(specks), 0.7, generator)

    count = round(params.fibres_m_per_mm3 * 1e6 * volume_mm3 / _FIBRE_STEPS)
    heading = torch.randn(count, 1, 3, generator=generator)
    wander = 0.05 * torch.randn(count, _FIBRE_STEPS, 3, generator=generator).cumsum(dim=1)
    directions = torch.nn.functional.normalize(heading + wander, dim=-1)
    course = directions.cumsum(dim=1)
    course += low_um + size * torch.rand(count, 1, 3, generator=generator)
    course -= directions.sum(dim=1, keepdim=True) / 2
    fibre_amount = params.fibre_gain * _brightness(count, 0.7, generator)
    return PointCloud(
        torch.cat([specks, course.reshape(-1, 3)]),
        torch.cat([speck_amount, fibre_amount.repeat_interleave(_FIBRE_STEPS)]),
    )


class Camera(Protocol):
    """What crops and scenes ask of a microscope.

    Attributes
    ----------
    sigma_um, step_um : Vec3
        Point spread and voxel size along the axes of the images asked for.
    """

    sigma_um: Vec3
    step_um: Vec3

    def clutter(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        """Fill a box (corners in µm) with what belongs to no cell: specks, passing fibres."""

    def expose(self, density: Tensor, origins_um: Tensor, grid: Grid) -> Tensor:
        """Turn blurred fluorophore (B, D, H, W) into a noisy image of the same shape.

        ``origins_um`` (B, 3) is where voxel (0, 0, 0) of each image lies.
        """


class _Texture:
    """Random grain in space, fine and coarse: a table that repeats, interpolated linearly."""

    def __init__(self, spacing_um: float, generator: torch.Generator) -> None:
        self._spacing = spacing_um
        fine = torch.randn(_TABLE, _TABLE, _TABLE, generator=generator)
        few = torch.randn(1, 1, *(3 * [_TABLE // _COARSER]), generator=generator)
        coarse = torch.nn.functional.interpolate(few, scale_factor=_COARSER, mode="trilinear")
        self._table = fine + coarse[0, 0]

    def sample(self, origins_um: Tensor, grid: Grid) -> Tensor:
        """Return values (B, D, H, W) of unit order; origins snap to the table's spacing."""
        start = torch.floor(origins_um / self._spacing).long()
        counts = [
            math.ceil((n - 1) * step / self._spacing) + 2
            for n, step in zip(grid.shape, grid.step_um, strict=True)
        ]
        z, y, x = (
            (start[:, axis, None] + torch.arange(count)) % _TABLE
            for axis, count in enumerate(counts)
        )
        coarse = self._table[z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]]
        up_z, up_y, up_x = (
            interpolation_matrix(torch.arange(n) * step / self._spacing, count)
            for n, step, count in zip(grid.shape, grid.step_um, counts, strict=True)
        )
        return transform_axes(coarse, (up_z, up_y, up_x))


def _shoot(signal: Tensor, photons: float, read_noise: float, generator: torch.Generator) -> Tensor:
    """Add shot and read noise. Shot noise is Gaussian: at tens of photons it nearly is."""
    deviation = signal.clamp(min=0).div_(photons).add_(read_noise**2).sqrt_()
    return signal.addcmul(deviation, torch.randn(signal.shape, generator=generator))


def _vessel_shadow(
    low_um: Vec3, high_um: Vec3, params: TwoPhotonParams, generator: torch.Generator
) -> Tensor:
    """Return the share of light (H, W) that surface vessels let pass, every 2 µm."""
    size = torch.tensor(high_um[1:]) - torch.tensor(low_um[1:])
    height, width = (int(n) + 1 for n in (size / _SHADOW_STEP_UM).ceil())
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = _SHADOW_STEP_UM * torch.stack([y.ravel(), x.ravel()], dim=1).float()
    passed = torch.ones(len(pixels))
    steps = int(float(size.max()) * 1.5 / 4)
    for _ in range(round(params.vessels_per_mm * float(size.mean()) / 1000)):
        heading = torch.cumsum(0.12 * torch.randn(steps, generator=generator), dim=0)
        heading += 2 * math.pi * torch.rand(1, generator=generator)
        course = torch.cumsum(4.0 * torch.stack([heading.sin(), heading.cos()], dim=1), dim=0)
        course += size * torch.rand(2, generator=generator) - course[steps // 2]
        radius = _draw((4.0, 12.0), generator)
        distance = torch.cdist(pixels, course).amin(dim=1)
        passed *= 1 - _draw(params.vessel_depth, generator) * torch.exp(
            -0.5 * (distance / radius) ** 2
        )
    return passed.view(height, width)


class TwoPhotonCamera:
    """One session of the in-vivo microscope.

    Parameters
    ----------
    low_um, high_um : Vec3
        Box that may be imaged, in the two-photon frame.
    params : TwoPhotonParams
        Ranges, of which one value is drawn here.
    generator : torch.Generator
        Source of all randomness, including every exposure's noise.
    """

    def __init__(
        self, low_um: Vec3, high_um: Vec3, params: TwoPhotonParams, generator: torch.Generator
    ) -> None:
        self._params = params
        self._generator = generator
        self._low = torch.tensor(low_um)
        lateral = _draw(params.lateral_sigma_um, generator)
        self.sigma_um: Vec3 = (_draw(params.axial_sigma_um, generator), lateral, lateral)
        self.step_um = params.voxel_um
        self._neuropil = _draw(params.neuropil, generator)
        self._texture = _Texture(_GRAIN_UM, generator)
        self._shadow = _vessel_shadow(low_um, high_um, params, generator)

    def clutter(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        """Fill a box (corners in µm) with what belongs to no cell: specks, passing fibres."""
        return _clutter(low_um, high_um, self._params, self._generator)

    def expose(self, density: Tensor, origins_um: Tensor, grid: Grid) -> Tensor:
        """Turn blurred fluorophore (B, D, H, W) into a noisy image of the same shape."""
        params = self._params
        texture = self._texture.sample(origins_um, grid)
        neuropil = texture.mul_(params.neuropil_contrast).add_(1).clamp_(min=0).mul_(self._neuropil)
        depth = origins_um[:, :1] - self._low[0] + torch.arange(grid.shape[0]) * grid.step_um[0]
        passed = torch.exp(-depth / params.scattering_um)[:, :, None, None]
        signal = (density + neuropil) * passed * self._shadow_at(origins_um, grid)[:, None]
        return _shoot(signal, params.photons, params.read_noise, self._generator)

    def _shadow_at(self, origins_um: Tensor, grid: Grid) -> Tensor:
        """Sample the shadow (B, H, W)."""
        start = (origins_um - self._low)[:, 1:]
        y, x = (
            (start[:, axis, None] + torch.arange(grid.shape[axis + 1]) * grid.step_um[axis + 1])
            / _SHADOW_STEP_UM
            for axis in (0, 1)
        )
        height, width = self._shadow.shape
        rows = torch.stack([interpolation_matrix(row, height) for row in y])
        columns = torch.stack([interpolation_matrix(column, width) for column in x])
        return rows @ self._shadow @ columns.transpose(1, 2)


class FmostCamera:
    """One run of the ex-vivo microscope.

    Parameters
    ----------
    params : FmostParams
        What the microscope does.
    generator : torch.Generator
        Source of all randomness, including every exposure's noise.
    own_axes : tuple of int
        Which axis of the volume (0 is its z, across the sections) runs along each axis
        of the images asked for.
    """

    def __init__(
        self,
        params: FmostParams,
        generator: torch.Generator,
        own_axes: tuple[int, int, int] = (0, 1, 2),
    ) -> None:
        self._params = params
        self._generator = generator
        self._own_axes = own_axes
        z, y, x = own_axes
        sigma = (params.axial_sigma_um, params.lateral_sigma_um, params.lateral_sigma_um)
        self.sigma_um: Vec3 = (sigma[z], sigma[y], sigma[x])
        self.step_um: Vec3 = (params.voxel_um[z], params.voxel_um[y], params.voxel_um[x])
        self._texture = _Texture(_GRAIN_UM, generator)
        self._sections = torch.exp(
            params.section_step * torch.randn(_SECTIONS, generator=generator)
        )
        self._stripe_period = _draw(_STRIPE_PERIOD_UM, generator)
        self._shading_period = _draw(_SHADING_PERIOD_UM, generator)
        self._phases = 2 * math.pi * torch.rand(2, generator=generator)

    def clutter(self, low_um: Tensor, high_um: Tensor) -> PointCloud:
        """Fill a box (corners in µm) with what belongs to no cell: specks, passing fibres."""
        return _clutter(low_um, high_um, self._params, self._generator)

    def expose(self, density: Tensor, origins_um: Tensor, grid: Grid) -> Tensor:
        """Turn blurred fluorophore (B, D, H, W) into a noisy image of the same shape."""
        params = self._params
        texture = self._texture.sample(origins_um, grid)
        background = texture.mul_(params.background_contrast).add_(1).clamp_(min=0)
        bent = 1 - torch.exp(-density / params.saturation)
        signal = bent.mul_(params.saturation).add_(background, alpha=params.background)
        for axis in range(3):
            along = torch.arange(grid.shape[axis]) * grid.step_um[axis]
            gain = self._gain(self._own_axes[axis], origins_um[:, axis, None] + along)
            shape = [len(gain), 1, 1, 1]
            shape[axis + 1] = grid.shape[axis]
            signal *= gain.view(shape)
        return _shoot(signal, params.photons, params.read_noise, self._generator)

    def _gain(self, own_axis: int, position_um: Tensor) -> Tensor:
        """Return the gain along one axis of the volume at positions (B, n)."""
        params = self._params
        if own_axis == 0:
            section = torch.round(position_um / params.voxel_um[0]).long() % _SECTIONS
            return self._sections[section]
        period, amplitude = (
            (self._stripe_period, params.stripes)
            if own_axis == 1
            else (self._shading_period, params.shading)
        )
        phase = self._phases[own_axis - 1]
        return 1 + amplitude * torch.sin(2 * math.pi * position_um / period + phase)
