"""The ex-vivo microscope: saturation, sections, stripes, shading, background and noise."""

import torch
from torch import Tensor

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes, Sampling
from napari_neurobridge.simulation.optics.camera import Camera, draw
from napari_neurobridge.simulation.optics.noise import shoot_
from napari_neurobridge.simulation.optics.texture import Texture, noise_along
from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
    Range,
)
from napari_neurobridge.types import Vec3

_GRAINS_UM: tuple[Vec3, ...] = ((2.5, 2.5, 2.5), (10.0, 10.0, 10.0))
_LUMEN_STEP_UM: Vec3 = (2.0, 2.0, 2.0)


class FmostParams(Parameters):
    """How the ex-vivo microscope sees the tissue. Intensity 1 is a median soma.

    "Own axes" are those of the volume: z across the sections, y across the lines of the
    camera, x across the strips that a section is imaged in.

    Attributes
    ----------
    voxel_um : Vec3
        Voxel size in the volume's own axes.
    lateral_sigma_um, axial_sigma_um : float
        Standard deviation of the point spread, in the volume's own axes.
    saturation : float
        Intensity at which the response has bent to 1 - 1/e of its ceiling.
    background, background_contrast : float
        Level of the background, and the relative standard deviation of its texture.
    body_darkness : float
        Share of the background that is missing in cell bodies.
    lumen_darkness : float
        Share of all light that is missing inside vessels.
    section_um : float
        Thickness of a section.
    section_step : float
        Standard deviation of the logarithm of the gain of each section.
    stripes : float
        Relative standard deviation of the gain of lines, along own y.
    stripe_um : Range
        Width of the stripes, drawn once a brain.
    shading : float
        Share of the light missing at the borders of a strip, falling off as its square.
    strip_um : Range
        Width of the strips along own x, drawn once a brain.
    photons : float
        Detected photons per voxel from intensity 1.
    read_noise : float
        Standard deviation of the noise that does not depend on the signal.
    """

    voxel_um: Vec3 = (2.0, 0.65, 0.65)
    lateral_sigma_um: Positive = 0.6
    axial_sigma_um: Positive = 1.0
    saturation: Positive = 0.55
    background: NonNegative = 0.08
    background_contrast: NonNegative = 0.25
    body_darkness: Fraction = 0.3
    lumen_darkness: Fraction = 0.85
    section_um: Positive = 2.0
    section_step: NonNegative = 0.06
    stripes: NonNegative = 0.04
    stripe_um: Range = (3.0, 10.0)
    shading: Fraction = 0.3
    strip_um: Range = (300.0, 900.0)
    photons: Positive = 150.0
    read_noise: NonNegative = 0.015


class FmostCamera(Camera):
    """One brain on the ex-vivo microscope. It implements `optics.camera.Camera`.

    Parameters
    ----------
    params : FmostParams
        Ranges, of which one value is drawn here.
    key : Key
        Names the brain.
    own_axes : tuple of int
        Which own axis of the volume (0 is its z) runs along each axis of the images asked
        for. The same tissue gives the same voxels whatever the order of the axes.

    Attributes
    ----------
    voxel_um, lumen_step_um : Vec3
        See `optics.camera.Camera`; along the axes of the images asked for.
    """

    lumen_step_um: Vec3 = _LUMEN_STEP_UM

    def __init__(
        self, params: FmostParams, key: Key, own_axes: tuple[int, int, int] = (0, 1, 2)
    ) -> None:
        z, y, x = own_axes
        own = params.voxel_um
        self.voxel_um: Vec3 = (own[z], own[y], own[x])
        sigma = (params.axial_sigma_um, params.lateral_sigma_um, params.lateral_sigma_um)
        self._sigma_um: Vec3 = (sigma[z], sigma[y], sigma[x])
        self._order = [own_axes.index(axis) for axis in range(3)]
        rng = key.child("brain").rng()
        self._stripe_um = draw(params.stripe_um, rng)
        self._strip_um = draw(params.strip_um, rng)
        self._strip_offset = float(rng.random())
        self._params = params
        self._key = key

    def sigma_um(self, z_um: Tensor) -> Tensor:
        """Return the standard deviations (n, 3) of the point spread at positions z (n,)."""
        return torch.tensor(self._sigma_um, device=z_um.device).expand(len(z_um), 3)

    def plane_shift_um(self, plane: Tensor) -> Tensor:
        """Return zeros (n, 3): the block does not move between the sections."""
        return torch.zeros(len(plane), 3, device=plane.device)

    def expose(
        self,
        density: Tensor,
        lumen: Tensor | None,
        boxes: Boxes,
        *,
        bodies: Tensor | None = None,
    ) -> Tensor:
        """Turn fluorophore into an image; see `optics.camera.Camera.expose`.

        ``(ceiling * (1 - exp(-density / ceiling)) + background) * (1 - darkness * lumen)`` times
        the gains of section, line and strip, with noise. The background is less in cell bodies.
        """
        image = torch.empty_like(density)
        order = [0, *(axis + 1 for axis in self._order)]
        self._expose_own(
            image.permute(order),
            density.permute(order),
            None if lumen is None else 1 - self._params.lumen_darkness * lumen.permute(order),
            None if bodies is None else 1 - self._params.body_darkness * bodies.permute(order),
            boxes.permuted(self._order),
        )
        return image

    def _expose_own(
        self,
        image: Tensor,
        density: Tensor,
        passed: Tensor | None,
        between: Tensor | None,
        boxes: Boxes,
    ) -> None:
        """Fill an image whose axes are the volume's own.

        ``passed`` is the share of all light, ``between`` that of the background, which is
        left at each node of the lumen's lattice.
        """
        params, device = self._params, density.device
        texture = Texture(
            self._key.child("background"), boxes, params.voxel_um, _GRAINS_UM, device=device
        )
        sampling = Sampling(boxes, params.voxel_um, self.lumen_step_um, device=device)
        across_sections, within_section = self._gains(boxes, device)
        for piece in boxes.pieces(device):
            signal = texture.sample(piece)
            signal.mul_(params.background_contrast).add_(1).clamp_(min=0).mul_(params.background)
            if between is not None:
                signal *= sampling(between, piece)
            bent = (density[piece] * (-1 / params.saturation)).exp_()
            signal.add_(params.saturation).sub_(bent.mul_(params.saturation))
            if passed is not None:
                signal *= sampling(passed, piece)
            signal *= across_sections[piece[:2]]
            signal *= within_section[piece[0], :, piece[2]]
            image[piece] = shoot_(
                signal,
                params.photons,
                params.read_noise,
                self._key.child("noise"),
                boxes.part(piece),
            )

    def _gains(self, boxes: Boxes, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the gains of sections (B, D, 1, 1) and within them (B, 1, H, W)."""
        params = self._params
        z, y, x = (boxes.index(axis).double() * params.voxel_um[axis] for axis in range(3))
        section = torch.floor(z / params.section_um + 0.5).long()
        step = torch.exp(params.section_step * self._key.child("sections").normal(section))
        stripes = noise_along(self._key.child("stripes"), y.flatten() / self._stripe_um)
        line = (1 + params.stripes * stripes.view(y.shape)).clamp(min=0)
        from_middle = 2 * torch.remainder(x / self._strip_um + self._strip_offset, 1) - 1
        strip = (1 - params.shading * from_middle**2).float()
        return (
            step.to(device)[:, :, None, None],
            (line[:, :, None] * strip[:, None, :]).to(device)[:, None],
        )
