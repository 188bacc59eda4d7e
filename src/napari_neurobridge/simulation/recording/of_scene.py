"""The recording of a scene: what lies in and around one plane of its two-photon volume."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.imaging import point_spread
from napari_neurobridge.simulation.lattice import Boxes, Sampling
from napari_neurobridge.simulation.optics.two_photon import TwoPhotonCamera
from napari_neurobridge.simulation.recording.footprints import Plane
from napari_neurobridge.simulation.recording.recorded_plane import RecordedCells, Surroundings
from napari_neurobridge.simulation.recording.recording import simulate_recording
from napari_neurobridge.simulation.render import Box, Rendering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_neurobridge.simulation.cloud import Morphology
    from napari_neurobridge.simulation.optics.labels import TwoPhotonLabel
    from napari_neurobridge.simulation.recording.motion import MotionParams
    from napari_neurobridge.simulation.recording.recording import Recording
    from napari_neurobridge.simulation.scene import ImageExtent, Scene
    from napari_neurobridge.simulation.specimen import Specimen
    from napari_neurobridge.types import Report, Vec3

# Light from farther off is not worth looking for.
_REACH_SIGMAS = 4.0
_SPARE_PIXELS = 4
_ALL = (slice(None), slice(None), slice(None))


def record_scene(
    path: Path,
    scene: Scene,
    *,
    n_frames: int,
    uids: Sequence[str] | None = None,
    report: Report | None = None,
) -> Recording:
    """Record the middle plane of a scene's two-photon volume; see `simulate_recording`.

    The recording shows the same cells, vessels and clutter as the z-stack, through the same
    point spread, in the same space. Motion, noise and the fine texture of the neuropil are
    its own.

    Parameters
    ----------
    path : Path
        The movie, ``….ome.tif``.
    scene : Scene
        What to record.
    n_frames : int
        At least 2.
    uids : sequence of str, optional
        Name of every cell of the tissue; empty for those without.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If there are too few frames, or the field is smaller than 16 pixels.
    """
    specimen, camera = scene.sides[0].specimen, scene.sides[0].camera
    assert isinstance(camera, TwoPhotonCamera)
    plane, params = middle_plane(scene.two_photon), scene.difficulty.recording
    axial_um, lateral_um, _ = camera.sigma_um(torch.tensor([plane.depth_um]))[0].tolist()
    device = specimen.tissue.somata.center_um.device
    low, high = (
        corner.to(device) for corner in _reach(plane, (axial_um, lateral_um), params.motion)
    )
    cells = RecordedCells.labelled(_cells_around(specimen, low, high), specimen.label, uids)
    passed, room = _light_and_room(specimen, camera, plane)
    return simulate_recording(
        path,
        cells,
        plane,
        n_frames=n_frames,
        axial_sigma_um=axial_um,
        lateral_sigma_um=lateral_um,
        params=params,
        key=scene.key.child("recording"),
        surroundings=Surroundings(specimen.clutter.cloud(low, high), passed, room),
        report=report,
    )


def middle_plane(volume: ImageExtent) -> Plane:
    """Return the middle plane of a z-stack, in square pixels over the whole field."""
    z_um, pixel_um, _ = volume.voxel_um
    _, height_um, width_um = volume.extent_um.tolist()
    shape = (round(height_um / pixel_um) + 1, round(width_um / pixel_um) + 1)
    return Plane(volume.shape[0] // 2 * z_um, (0.0, 0.0), shape, pixel_um)


def _reach(
    plane: Plane, sigma_um: tuple[float, float], motion: MotionParams
) -> tuple[Tensor, Tensor]:
    """Return corners of the box whose points a moving plane may show."""
    y, x = plane.origin_um
    height, width = (count * plane.pixel_um for count in plane.shape)
    axial, lateral = sigma_um
    beyond = torch.tensor(motion.limit_um)
    beyond += _REACH_SIGMAS * torch.tensor([axial, lateral, lateral])
    beyond[1:] += _SPARE_PIXELS * plane.pixel_um
    low = torch.tensor([plane.depth_um, y, x])
    high = torch.tensor([plane.depth_um, y + height, x + width])
    return low - beyond, high + beyond


def _cells_around(
    specimen: Specimen[TwoPhotonLabel], low_um: Tensor, high_um: Tensor
) -> Iterator[Morphology]:
    """Yield the cells near a box, moved into the image's space."""
    for morphology in specimen.tissue.chunks(*specimen.tissue_box(low_um, high_um)):
        yield replace(morphology, position_um=specimen.warp.map_tensor(morphology.position_um))


def _light_and_room(
    specimen: Specimen[TwoPhotonLabel], camera: TwoPhotonCamera, plane: Plane
) -> tuple[Tensor | None, Tensor]:
    """Return which shares vessels let pass and cell bodies leave free, as in the z-stack.

    Returns
    -------
    transmission : Tensor, shape (H, W), or None
        Share of the light that passes the vessels.
    neuropil_room : Tensor, shape (H, W)
        Share of each pixel that is no cell body. Vessels do not count: they let no light pass.
    """
    device = specimen.tissue.somata.center_um.device
    pixel_um: Vec3 = (camera.voxel_um[0], plane.pixel_um, plane.pixel_um)
    pixels = Boxes.of([(round(plane.depth_um / pixel_um[0]), 0, 0)], (1, *plane.shape))
    sampling = Sampling(pixels, pixel_um, camera.lumen_step_um, device=device)
    box = Box(sampling.nodes.starts[0], sampling.nodes.shape, camera.lumen_step_um)
    blur = point_spread(camera, box, moving=False)
    bodies, lumen = (Rendering(box, blur, device) for _ in range(2))
    for _, some in specimen.cells(*bodies.reach_um):
        bodies.add(some)
    lumen.add(specimen.lumen(*lumen.reach_um))
    passed = camera.passed(lumen.image().clamp_(max=1)[None], sampling.nodes)
    room = 1 - bodies.image().clamp_(max=1)[None]
    return None if passed is None else sampling(passed, _ALL)[0, 0], sampling(room, _ALL)[0, 0]
