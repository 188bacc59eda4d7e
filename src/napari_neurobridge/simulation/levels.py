"""How hard a simulated scene is: every physical parameter, in three named sets."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Vec3

Range = tuple[float, float]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Parameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TissueParams(_Parameters):
    """What the block of tissue holds.

    Attributes
    ----------
    density_per_mm3 : float
        Cells that either label could show. 25 000 puts about eleven into the
        120 × 120 × 30 µm seen by one crop.
    min_distance_um : float
        Between the centres of two somata.
    soma_radius_um : Range
        Uniform range of the mean radius of a soma.
    soma_ellipticity : float
        Standard deviation of the logarithm of each semi-axis.
    interneuron_fraction : float
        Cells without an apical dendrite.
    """

    density_per_mm3: Annotated[float, Field(gt=0)] = 25_000.0
    min_distance_um: Annotated[float, Field(gt=0)] = 15.0
    soma_radius_um: Range = (5.5, 8.5)
    soma_ellipticity: float = 0.12
    interneuron_fraction: Fraction = 0.2


class TwoPhotonParams(_Parameters):
    """How the in-vivo microscope sees the tissue. Intensity 1 is a median soma.

    Attributes
    ----------
    voxel_um : Vec3
        Voxel size; z is the optical axis.
    visible_fraction : float
        Cells active enough to be seen; the others are silent.
    brightness_sigma : float
        Standard deviation of the logarithm of the brightness of a cell.
    nuclear_exclusion : float
        Share of the indicator missing in the nucleus; 1 gives a hollow ring.
    nucleus_radius : float
        Relative to the soma.
    dendrite_gain, axon_gain : float
        Brightness of processes relative to their volume.
    fading_um : float
        Distance from the soma over which the indicator fades to 1/e along processes.
    lateral_sigma_um, axial_sigma_um : Range
        Standard deviation of the point-spread function, drawn once a scene.
    scattering_um : float
        Depth over which the signal falls to 1/e.
    neuropil : Range
        Level of the background, drawn once a scene.
    neuropil_contrast : float
        Relative standard deviation of its texture (2.5 µm and 10 µm grain).
    puncta_per_mm3, puncta_gain : float
        Bright specks that only this side shows, and their amount (µm³ of soma).
    fibres_m_per_mm3, fibre_gain : float
        Length of the fibres of far-away cells that pass through, and their amount for
        each µm.
    vessels_per_mm : float
        Surface vessels crossing each mm of the field, seen as dark shadows.
    vessel_depth : Range
        Share of the light that such a vessel takes.
    photons : float
        Detected photons per pixel from intensity 1.
    read_noise : float
        Standard deviation of the signal-independent noise.
    """

    voxel_um: Vec3 = (2.0, 1.0, 1.0)
    visible_fraction: Fraction = 0.7
    brightness_sigma: float = 1.0
    nuclear_exclusion: Fraction = 0.95
    nucleus_radius: Fraction = 0.72
    dendrite_gain: float = 1.5
    axon_gain: float = 0.5
    fading_um: float = 45.0
    lateral_sigma_um: Range = (0.6, 1.0)
    axial_sigma_um: Range = (2.0, 5.0)
    scattering_um: float = 400.0
    neuropil: Range = (0.2, 0.45)
    neuropil_contrast: float = 0.3
    puncta_per_mm3: float = 300_000.0
    puncta_gain: float = 4.0
    fibres_m_per_mm3: float = 5.0
    fibre_gain: float = 0.3
    vessels_per_mm: float = 10.0
    vessel_depth: Range = (0.3, 0.8)
    photons: float = 40.0
    read_noise: float = 0.03


class FmostParams(_Parameters):
    """How the ex-vivo microscope sees the tissue. Intensity 1 is a median soma.

    Attributes
    ----------
    voxel_um : Vec3
        Voxel size in the volume's own axes; sections are cut across its z.
    labelled_fraction : float
        Cells that carry the label; independent of the two-photon side.
    cut_fraction : float
        Cells that lose all processes beyond a plane beside the soma.
    brightness_sigma : float
        Standard deviation of the logarithm of the brightness of a cell.
    dendrite_gain, axon_gain : float
        Brightness of processes relative to their volume.
    fading_um : float
        Distance from the soma over which the label fades to 1/e along processes.
    saturation : float
        Intensity at which the response has bent to 1 - 1/e of its ceiling.
    lateral_sigma_um, axial_sigma_um : float
        Standard deviation of the point-spread function, in the volume's own axes.
    background, background_contrast : float
        Level of the background, and the relative standard deviation of its texture.
    puncta_per_mm3, puncta_gain : float
        Bright specks that only this side shows, and their amount (µm³ of soma).
    fibres_m_per_mm3, fibre_gain : float
        Length of the fibres of far-away cells that pass through, and their amount for
        each µm.
    section_step : float
        Standard deviation of the logarithm of the gain of each 2 µm section.
    stripes, shading : float
        Amplitude of the stripes along the cut and of the slow shading across it.
    photons, read_noise : float
        As on the two-photon side.
    """

    voxel_um: Vec3 = (2.0, 0.65, 0.65)
    labelled_fraction: Fraction = 0.75
    cut_fraction: Fraction = 0.04
    brightness_sigma: float = 0.6
    dendrite_gain: float = 2.2
    axon_gain: float = 2.2
    fading_um: float = 70.0
    saturation: float = 0.55
    lateral_sigma_um: float = 0.6
    axial_sigma_um: float = 1.0
    background: float = 0.06
    background_contrast: float = 0.25
    puncta_per_mm3: float = 60_000.0
    puncta_gain: float = 4.0
    fibres_m_per_mm3: float = 7.0
    fibre_gain: float = 2.2
    section_step: float = 0.06
    stripes: float = 0.06
    shading: float = 0.15
    photons: float = 150.0
    read_noise: float = 0.015


class MisfitParams(_Parameters):
    """What a user-set orientation leaves between the two sides.

    Attributes
    ----------
    angle_deg : float
        Largest in-plane rotation.
    tilt_deg : float
        Standard deviation of each of the two tilts.
    scale : Range
        Of each axis, beyond the expansion that the user stated.
    nonrigid_um : float
        Root mean square of each component of the smooth displacement.
    nonrigid_wavelength_um : Range
        Of the waves that the displacement is made of.
    centring_um : float
        Largest error of a crop's centre along each axis, on either side.
    border_fraction : float
        Chance that a face of the imaged volume is near a cell, for each face, side and
        crop on its own: a crop's padding says nothing about its partner's.
    border_um : Range
        Distance of such a face from the centre of the crop, which is padded beyond.
    """

    angle_deg: float = 12.0
    tilt_deg: float = 3.0
    scale: Range = (0.9, 1.1)
    nonrigid_um: float = 4.0
    nonrigid_wavelength_um: Range = (150.0, 400.0)
    centring_um: float = 3.0
    border_fraction: Fraction = 0.06
    border_um: Range = (8.0, 60.0)


class Difficulty(_Parameters):
    """All parameters of a simulation."""

    tissue: TissueParams = TissueParams()
    two_photon: TwoPhotonParams = TwoPhotonParams()
    fmost: FmostParams = FmostParams()
    misfit: MisfitParams = MisfitParams()


LEVELS: dict[str, Difficulty] = {
    "easy": Difficulty(
        tissue=TissueParams(density_per_mm3=20_000.0),
        two_photon=TwoPhotonParams(
            visible_fraction=0.95,
            brightness_sigma=0.4,
            nuclear_exclusion=0.6,
            dendrite_gain=2.5,
            axial_sigma_um=(2.0, 3.0),
            neuropil=(0.05, 0.1),
            vessels_per_mm=2.0,
            photons=100.0,
        ),
        fmost=FmostParams(
            labelled_fraction=0.95, cut_fraction=0.0, brightness_sigma=0.25, fibres_m_per_mm3=1.0
        ),
        misfit=MisfitParams(
            angle_deg=5.0,
            tilt_deg=1.0,
            scale=(0.97, 1.03),
            nonrigid_um=1.5,
            centring_um=1.0,
            border_fraction=0.02,
        ),
    ),
    "paper": Difficulty(),
    "hard": Difficulty(
        tissue=TissueParams(density_per_mm3=35_000.0),
        two_photon=TwoPhotonParams(
            visible_fraction=0.55,
            brightness_sigma=1.2,
            dendrite_gain=1.0,
            neuropil=(0.35, 0.6),
            vessels_per_mm=12.0,
            photons=20.0,
        ),
        fmost=FmostParams(
            labelled_fraction=0.6, cut_fraction=0.1, brightness_sigma=0.7, fibres_m_per_mm3=10.0
        ),
        misfit=MisfitParams(angle_deg=20.0, tilt_deg=4.0, scale=(0.85, 1.15), nonrigid_um=5.0),
    ),
}
"""Named difficulties; `paper` is set so that plain measures do as badly as in paper 1, §3.6."""


def level(name: str) -> Difficulty:
    """Return a named difficulty.

    Raises
    ------
    InputError
        If there is no such level.
    """
    try:
        return LEVELS[name]
    except KeyError:
        raise InputError(
            f"There is no simulation level '{name}'; choose one of {', '.join(LEVELS)}."
        ) from None
