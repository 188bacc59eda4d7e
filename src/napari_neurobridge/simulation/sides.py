"""One tissue under two microscopes: what each looks at, and with which camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import torch

from napari_neurobridge.simulation.deformation.scan import draw_scan_distortion
from napari_neurobridge.simulation.imaging import photograph
from napari_neurobridge.simulation.optics.clutter import Clutter
from napari_neurobridge.simulation.optics.fmost import FmostCamera
from napari_neurobridge.simulation.optics.labels import FmostLabel, TwoPhotonLabel
from napari_neurobridge.simulation.optics.shadow import VesselShadow
from napari_neurobridge.simulation.optics.two_photon import TwoPhotonCamera
from napari_neurobridge.simulation.parallel import Check, go_on
from napari_neurobridge.simulation.render import Blur, Box, Rendering
from napari_neurobridge.simulation.specimen import AnyLabel, Specimen

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.deformation.deformation import Deformation
    from napari_neurobridge.simulation.keyed import Key
    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.simulation.optics.camera import Camera
    from napari_neurobridge.simulation.tissue.tissue import Tissue
    from napari_neurobridge.types import Vec3

_SHADOW_STEP_UM = 4.0
# Coarser than for images: 4 µm nodes need no more.
_SHADOW_POINT_UM3 = 12.0


@dataclass(frozen=True)
class ImagedSpecimen(Generic[AnyLabel]):
    """A specimen and the camera that looks at it.

    Attributes
    ----------
    specimen : Specimen
        Tissue with a label, in the image's space.
    camera : Camera
        The microscope.
    """

    specimen: Specimen[AnyLabel]
    camera: Camera

    def photograph(self, box: Box, check: Check = go_on) -> Tensor:
        """Image a box of the camera's lattice; see `imaging.photograph`."""
        return photograph(self.specimen, self.camera, box, check)


def in_vivo_side(
    tissue: Tissue,
    difficulty: Difficulty,
    animal: Key,
    key: Key,
    field_um: tuple[Vec3, Vec3],
) -> ImagedSpecimen[TwoPhotonLabel]:
    """Put a tissue under the two-photon microscope.

    Parameters
    ----------
    tissue : Tissue
        What to image.
    difficulty : Difficulty
        All parameters.
    animal : Key
        Decides about the labels; the same for both sides.
    key : Key
        Decides about all else on this side.
    field_um : tuple of Vec3
        Corners of the field that is scanned.
    """
    specimen = Specimen(
        tissue,
        TwoPhotonLabel(tissue.somata, difficulty.two_photon_label, animal),
        Clutter(difficulty.two_photon_clutter, key.child("clutter")),
        draw_scan_distortion(difficulty.misfit, key.child("scan"), *field_um),
    )
    camera = TwoPhotonCamera(
        difficulty.two_photon,
        key.child("camera"),
        top_um=tissue.top_um,
        shadow=_vessel_shadow(specimen, difficulty),
    )
    return ImagedSpecimen(specimen, camera)


def _vessel_shadow(specimen: Specimen[TwoPhotonLabel], difficulty: Difficulty) -> VesselShadow:
    """Fill the vessels from the surface of the brain down, on a coarse lattice."""
    tissue = specimen.tissue
    corners = torch.tensor([[-tissue.top_um, *tissue.low_um[1:]], [*tissue.high_um]])
    low, high = specimen.warp.map_tensor(corners)
    start = (low / _SHADOW_STEP_UM).floor().int() - 1
    shape = ((high - low) / _SHADOW_STEP_UM).ceil().int() + 3
    step = (_SHADOW_STEP_UM, _SHADOW_STEP_UM, _SHADOW_STEP_UM)
    z, y, x = start.tolist()
    d, h, w = shape.tolist()
    box = Box((z, y, x), (d, h, w), step)
    # Sharp: the light that the vessels take has not been focussed yet.
    lumen = Rendering(box, Blur(torch.zeros(d), (0.0, 0.0)), tissue.somata.center_um.device)
    lumen.add(specimen.lumen(*lumen.reach_um, point_um3=_SHADOW_POINT_UM3))
    params = difficulty.two_photon
    return VesselShadow(
        lumen.image().clamp_(max=1),
        _SHADOW_STEP_UM,
        (z * _SHADOW_STEP_UM, y * _SHADOW_STEP_UM, x * _SHADOW_STEP_UM),
        params.absorption_per_um,
        params.shadow_spread,
    )


def ex_vivo_side(
    tissue: Tissue,
    difficulty: Difficulty,
    animal: Key,
    key: Key,
    deformation: Deformation,
    own_axes: tuple[int, int, int] = (0, 1, 2),
) -> ImagedSpecimen[FmostLabel]:
    """Put a deformed tissue under the fMOST microscope; ``own_axes`` as for `FmostCamera`."""
    specimen = Specimen(
        tissue,
        FmostLabel(tissue.somata, difficulty.fmost_label, animal),
        Clutter(difficulty.fmost_clutter, key.child("clutter")),
        deformation,
    )
    return ImagedSpecimen(specimen, FmostCamera(difficulty.fmost, key.child("camera"), own_axes))
