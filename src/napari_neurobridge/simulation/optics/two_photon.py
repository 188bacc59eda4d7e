"""The in-vivo microscope: scattering, neuropil, shadows of vessels, motion and noise."""

import torch
from torch import Tensor

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes, Sampling
from napari_neurobridge.simulation.optics.camera import Camera, draw
from napari_neurobridge.simulation.optics.noise import shoot_
from napari_neurobridge.simulation.optics.shadow import VesselShadow
from napari_neurobridge.simulation.optics.texture import Texture, noise_along
from napari_neurobridge.simulation.parameters import (
    Fraction,
    NonNegative,
    Parameters,
    Positive,
    Range,
)
from napari_neurobridge.types import Vec3

# Grains are longer in z, as the point spread leaves them.
_GRAINS_UM: tuple[Vec3, ...] = ((5.0, 2.5, 2.5), (10.0, 10.0, 10.0))
_LUMEN_STEP_UM: Vec3 = (4.0, 2.0, 2.0)


class TwoPhotonParams(Parameters):
    """How the in-vivo microscope sees the tissue. Intensity 1 is a median soma at z = 0.

    Attributes
    ----------
    voxel_um : Vec3
        Voxel size; z is the optical axis.
    lateral_sigma_um : Range
        Standard deviation of the point spread in the plane, drawn once a session.
    axial_sigma_um : Range
        The same along z at the surface of the brain, drawn once a session.
    axial_growth_per_mm : float
        Relative growth of the axial standard deviation for each mm below the surface.
    scattering_um : float
        Depth over which the signal falls to 1/e at constant laser power.
    power_compensation : float
        Share of that loss which raising the laser power with depth makes up for.
    neuropil : Range
        Level of the background, drawn once a session.
    neuropil_contrast : float
        Relative standard deviation of its texture (2.5 µm and 10 µm grain).
    absorption_per_um : float
        Optical depth of one µm of blood, for what lies below.
    shadow_spread : float
        Half-width, µm, that the shadow of a vessel gains for each µm of depth below it.
    jitter_um : Vec3
        Standard deviation (z, y, x) of the shift of each plane on its own.
    drift_um : Vec3
        Standard deviation of the slow part of the shift.
    drift_planes : float
        Planes over which the slow part changes.
    photons : float
        Detected photons per voxel from intensity 1.
    read_noise : float
        Standard deviation of the noise that does not depend on the signal.
    """

    voxel_um: Vec3 = (2.0, 1.0, 1.0)
    lateral_sigma_um: Range = (0.6, 1.0)
    axial_sigma_um: Range = (2.0, 4.0)
    axial_growth_per_mm: NonNegative = 0.5
    scattering_um: Positive = 100.0
    power_compensation: Fraction = 0.75
    neuropil: Range = (0.2, 0.45)
    neuropil_contrast: NonNegative = 0.3
    absorption_per_um: NonNegative = 0.04
    shadow_spread: NonNegative = 0.3
    jitter_um: Vec3 = (0.2, 0.3, 0.3)
    drift_um: Vec3 = (0.4, 0.5, 0.5)
    drift_planes: Positive = 12.0
    photons: Positive = 40.0
    read_noise: NonNegative = 0.03


class TwoPhotonCamera(Camera):
    """One session of the in-vivo microscope. It implements `optics.camera.Camera`.

    Parameters
    ----------
    params : TwoPhotonParams
        Ranges, of which one value is drawn here.
    key : Key
        Names the session.
    top_um : float
        Depth of z = 0 below the surface of the brain.
    shadow : VesselShadow, optional
        What the vessels leave of the light.

    Attributes
    ----------
    voxel_um, lumen_step_um : Vec3
        See `optics.camera.Camera`.
    lateral_sigma_um : float
        Point spread of this session, in the plane.
    """

    lumen_step_um: Vec3 = _LUMEN_STEP_UM

    def __init__(
        self,
        params: TwoPhotonParams,
        key: Key,
        *,
        top_um: float,
        shadow: VesselShadow | None = None,
    ) -> None:
        rng = key.child("session").rng()
        self.voxel_um = params.voxel_um
        self.lateral_sigma_um = draw(params.lateral_sigma_um, rng)
        self._surface_sigma_um = draw(params.axial_sigma_um, rng)
        self._neuropil = draw(params.neuropil, rng)
        self._params = params
        self._key = key
        self._top_um = top_um
        self._shadow = shadow

    def sigma_um(self, z_um: Tensor) -> Tensor:
        """Return the standard deviations (n, 3) of the point spread at positions z (n,).

        Deeper is worse: axially it is ``sigma_0 * (1 + growth * depth)``, with the depth below
        the surface of the brain in mm.
        """
        depth_mm = (z_um + self._top_um).clamp(min=0) / 1000
        axial = self._surface_sigma_um * (1 + self._params.axial_growth_per_mm * depth_mm)
        lateral = torch.full_like(axial, self.lateral_sigma_um)
        return torch.stack([axial, lateral, lateral], dim=-1)

    def remaining(self, z_um: Tensor) -> Tensor:
        """Return the share of the signal left by scattering at positions z (n,).

        It is ``exp(-(1 - compensation) * z / scattering)``: 1 at the top of the volume, where
        the power is set for the image wanted there.
        """
        params = self._params
        return torch.exp(-(1 - params.power_compensation) / params.scattering_um * z_um)

    def plane_shift_um(self, plane: Tensor) -> Tensor:
        """Return where planes of a z-stack really look; see `optics.camera.Camera.plane_shift_um`.

        The sum of a jitter that is new in every plane and of a slow drift.
        """
        key = self._key.child("motion")
        jitter = key.child("jitter").normal(plane, 3)
        grains = plane.cpu().double() / self._params.drift_planes
        drift = torch.stack([noise_along(key.child(axis), grains) for axis in range(3)], dim=1)
        scale_jitter, scale_drift = (
            jitter.new_tensor(scale) for scale in (self._params.jitter_um, self._params.drift_um)
        )
        return jitter * scale_jitter + drift.to(plane.device) * scale_drift

    def expose(
        self,
        density: Tensor,
        lumen: Tensor | None,
        boxes: Boxes,
        *,
        bodies: Tensor | None = None,
    ) -> Tensor:
        """Turn fluorophore into an image; see `optics.camera.Camera.expose`.

        ``(density + neuropil) * transmission * (1 - lumen) * remaining(z)``, with noise.
        Neuropil is only between cell bodies, so that a silent cell is a dark hole.
        """
        params, device = self._params, density.device
        texture = Texture(
            self._key.child("neuropil"), boxes, self.voxel_um, _GRAINS_UM, device=device
        )
        sampling = Sampling(boxes, self.voxel_um, self.lumen_step_um, device=device)
        passed = self.passed(lumen, self.lumen_boxes(boxes))
        between = None if bodies is None else (1 - bodies).mul_(self._neuropil)
        remaining = self.remaining(boxes.index(0).double() * self.voxel_um[0])
        remaining = remaining.float().to(device)[:, :, None, None]
        image = torch.empty_like(density)
        for piece in boxes.pieces(device):
            signal = texture.sample(piece)
            signal.mul_(params.neuropil_contrast).add_(1).clamp_(min=0)
            signal *= self._neuropil if between is None else sampling(between, piece)
            signal += density[piece]
            if passed is not None:
                signal *= sampling(passed, piece)
            signal *= remaining[piece[:2]]
            image[piece] = shoot_(
                signal,
                params.photons,
                params.read_noise,
                self._key.child("noise"),
                boxes.part(piece),
            )
        return image

    def passed(self, lumen: Tensor | None, nodes: Boxes) -> Tensor | None:
        """Return what vessels and their shadow leave of the light, or None where all of it.

        Parameters
        ----------
        lumen : Tensor, shape (B, d, h, w), or None
            As for `expose`.
        nodes : Boxes
            Its nodes, on the lattice with the step `lumen_step_um`.
        """
        outside = None if lumen is None else 1 - lumen
        if self._shadow is None:
            return outside
        shadow = self._shadow.at(nodes, self.lumen_step_um)
        return shadow if outside is None else outside.mul_(shadow)
