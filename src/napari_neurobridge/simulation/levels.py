"""How hard a simulated scene is: all physical parameters together, in named sets."""

from __future__ import annotations

import hashlib
from typing import Any

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.deformation import DeformationParams
from napari_neurobridge.simulation.neurons.morphology import MorphologyParams
from napari_neurobridge.simulation.optics.clutter import ClutterParams, FmostClutterParams
from napari_neurobridge.simulation.optics.fmost import FmostParams
from napari_neurobridge.simulation.optics.labels import (
    FmostLabelParams,
    TwoPhotonLabelParams,
    in_regime,
)
from napari_neurobridge.simulation.optics.two_photon import TwoPhotonParams
from napari_neurobridge.simulation.parameters import Fraction, NonNegative, Parameters, Range
from napari_neurobridge.simulation.recording.recorded_plane import RecordingParams
from napari_neurobridge.simulation.tissue.somata import TissueParams
from napari_neurobridge.simulation.tissue.vasculature import VesselParams


class PlacingParams(Parameters):
    """How the ex-vivo block of a scene lies, as a user would state it.

    Attributes
    ----------
    angle_deg : float
        Largest in-plane angle between the two sides, beside swapped and flipped axes.
    expansion : Range
        Size of the ex-vivo tissue relative to life; the deformation's `scale` comes on top.
    """

    angle_deg: NonNegative = 10.0
    expansion: Range = (0.9, 1.05)


class CropParams(Parameters):
    """What is wrong with a crop beyond what the microscopes do.

    Attributes
    ----------
    centring_um : float
        Largest error of a crop's centre along each axis, on either side.
    border_fraction : float
        Chance that a face of the imaged volume is near a cell, for each face, side and
        crop on its own: a crop's padding says nothing about its partner's.
    border_um : Range
        Distance of such a face from the centre of the crop, which is padded beyond.
    """

    centring_um: NonNegative = 3.0
    border_fraction: Fraction = 0.06
    border_um: Range = (8.0, 60.0)


class Difficulty(Parameters):
    """All parameters of a simulation; the defaults are the level `paper`."""

    tissue: TissueParams = TissueParams()
    morphology: MorphologyParams = MorphologyParams()
    vessels: VesselParams = VesselParams()
    two_photon_label: TwoPhotonLabelParams = TwoPhotonLabelParams()
    two_photon_clutter: ClutterParams = ClutterParams()
    two_photon: TwoPhotonParams = TwoPhotonParams()
    recording: RecordingParams = RecordingParams()
    fmost_label: FmostLabelParams = FmostLabelParams()
    fmost_clutter: FmostClutterParams = FmostClutterParams()
    fmost: FmostParams = FmostParams()
    placing: PlacingParams = PlacingParams()
    misfit: DeformationParams = DeformationParams()
    crops: CropParams = CropParams()

    def changed(self, **changes: dict[str, Any]) -> Difficulty:
        """Return a copy with other values, as ``changed(tissue={"density_per_mm3": 1e4})``.

        Raises
        ------
        pydantic.ValidationError
            If there is no such parameter, or a value makes no sense.
        """
        content = self.model_dump()
        for group, values in changes.items():
            content[group] = content.get(group, {}) | values
        return Difficulty.model_validate(content)

    def with_labels(self, regime: str) -> Difficulty:
        """Return a copy in a label regime, one of `labels.REGIMES`."""
        two_photon, fmost = in_regime(regime, self.two_photon_label, self.fmost_label)
        return self.model_copy(update={"two_photon_label": two_photon, "fmost_label": fmost})

    def digest(self) -> str:
        """Return 12 hex digits that differ whenever any parameter does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def _cortex(scale: float, density: tuple[float, ...] = (0.15, 1.2, 1.5, 0.8, 1.0)) -> Any:
    """Return cortical layers whose somata are larger or smaller than a mouse's."""
    return tuple(
        layer.model_copy(
            update={
                "density": relative,
                "soma_radius_um": tuple(scale * r for r in layer.soma_radius_um),
            }
        ).model_dump()
        for layer, relative in zip(TissueParams().layers, density, strict=True)
    )


_PAPER = Difficulty()

_EASY = _PAPER.changed(
    tissue={"density_per_mm3": 20_000.0},
    two_photon_label={
        "visible_fraction": 0.95,
        "brightness_sigma": 0.4,
        "nuclear_exclusion": 0.6,
        "dendrite_gain": 2.5,
    },
    two_photon={
        "axial_sigma_um": (2.0, 3.0),
        "neuropil": (0.05, 0.1),
        "absorption_per_um": 0.01,
        "photons": 100.0,
        "jitter_um": (0.0, 0.0, 0.0),
        "drift_um": (0.0, 0.0, 0.0),
    },
    fmost_label={"labelled_fraction": 0.95, "cut_fraction": 0.0, "brightness_sigma": 0.25},
    fmost_clutter={"fibres_m_per_mm3": 1.0},
    misfit={
        "angle_deg": 5.0,
        "tilt_deg": 1.0,
        "scale": (0.97, 1.03),
        "nonrigid_um": 1.5,
        "dimple_um": 3.0,
        "compression": 0.01,
        "tears_per_mm3": 0.0,
        "axial_scale_error": 0.02,
        "scan_amplitude_um": 0.5,
    },
    crops={"centring_um": 1.0, "border_fraction": 0.02},
)

_HARD = _PAPER.changed(
    tissue={"density_per_mm3": 40_000.0},
    two_photon_label={"visible_fraction": 0.55, "brightness_sigma": 1.6, "dendrite_gain": 0.7},
    two_photon={"neuropil": (0.35, 0.6), "axial_sigma_um": (3.0, 5.0), "photons": 20.0},
    fmost_label={"labelled_fraction": 0.6, "cut_fraction": 0.1, "brightness_sigma": 1.2},
    fmost_clutter={"fibres_m_per_mm3": 16.0},
    placing={"expansion": (0.85, 1.15)},
    misfit={
        "angle_deg": 20.0,
        "tilt_deg": 4.0,
        "scale": (0.75, 1.25),
        "nonrigid_um": 5.0,
        "dimple_um": 20.0,
        "tears_per_mm3": 40.0,
    },
)

DOMAINS = ("domain-A", "domain-B", "domain-C", "domain-D", "domain-E", "domain-F")
"""Six imaging domains for studies of domain adaptation; see `LEVELS`."""

LEVELS: dict[str, Difficulty] = {
    "easy": _EASY,
    "paper": _PAPER,
    "hard": _HARD,
    # Mouse, a good rig: sharp, little noise and neuropil.
    "domain-A": _PAPER.changed(
        two_photon={
            "axial_sigma_um": (2.0, 2.5),
            "lateral_sigma_um": (0.6, 0.7),
            "neuropil": (0.1, 0.2),
            "photons": 100.0,
        },
        fmost={"background": 0.03, "section_step": 0.02, "stripes": 0.01, "shading": 0.05},
    ),
    # Rat-like: larger cells with longer dendrites, fewer of them; a blurred in-vivo image.
    "domain-B": _PAPER.changed(
        tissue={"density_per_mm3": 12_000.0, "layers": _cortex(1.35), "min_distance_um": 20.0},
        morphology={"size": 1.3},
        two_photon={"axial_sigma_um": (4.0, 5.0), "lateral_sigma_um": (1.0, 1.3)},
        fmost={"background": 0.1},
    ),
    # Fish-like: small cells packed closely, short processes.
    "domain-C": _PAPER.changed(
        tissue={
            "density_per_mm3": 70_000.0,
            "layers": _cortex(0.62, (1.0, 1.0, 1.0, 1.0, 1.0)),
            "min_distance_um": 8.0,
        },
        morphology={"size": 0.6},
        two_photon={"neuropil": (0.1, 0.2)},
    ),
    # One dilute virus: few cells, all their processes bright on both sides.
    "domain-D": _PAPER.with_labels("sparse-sparse").changed(
        two_photon_label={"dendrite_gain": 3.5, "axon_gain": 1.5, "nuclear_exclusion": 0.3},
        two_photon={"neuropil": (0.05, 0.12)},
        fmost_label={"fading_um": 120.0},
        fmost_clutter={"fibres_m_per_mm3": 2.0},
    ),
    # Cleared tissue under a light sheet: blurred across the sheet, hazy, no sections.
    "domain-E": _PAPER.changed(
        fmost={
            "axial_sigma_um": 2.5,
            "lateral_sigma_um": 1.0,
            "background": 0.15,
            "background_contrast": 0.35,
            "section_step": 0.0,
            "stripes": 0.1,
            "photons": 40.0,
        },
    ),
    # An old rig: few photons, much neuropil, strong stripes and steps, many cells cut.
    "domain-F": _PAPER.changed(
        two_photon_label={"nuclear_exclusion": 0.5},
        two_photon={"photons": 8.0, "read_noise": 0.1, "neuropil": (0.6, 0.9)},
        fmost_label={"cut_fraction": 0.3},
        fmost={"photons": 30.0, "section_step": 0.2, "stripes": 0.15, "shading": 0.5},
    ),
    # About 4,000 labelled cells/mm³ in layers 2 to 4, which are denser than the mean: one or two
    # neighbours in a crop, of `paper`'s dozen. One virus brings both labels to the same cells.
    "sparse": _PAPER.changed(
        two_photon_label={"visible_fraction": 0.1, "active_only_fraction": 0.05},
        two_photon={"neuropil": (0.05, 0.12)},
        fmost_label={"labelled_fraction": 0.1, "coexpression": 0.9},
        fmost_clutter={"fibres_m_per_mm3": 2.0},
    ),
}
"""Named difficulties.

`paper` is set so that plain measures do as badly as in paper 1, section 3.6. The domains differ in
point spread, noise, labelling, and the size and density of the cells. In `sparse` a
cell in ten is labelled, so that crops show one or two neighbours.

:meta hide-value:
"""


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
