"""A real volume as the simulated in-vivo microscope would show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.simulation.optics.two_photon import TwoPhotonCamera

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_neurobridge.simulation.optics.two_photon import TwoPhotonParams
    from napari_neurobridge.types import Float32Array, FloatArray

_BACKGROUND_PERCENT = 10.0


def through_two_photon(
    volume: Volume,
    centers_um: FloatArray,
    params: TwoPhotonParams | None = None,
    *,
    seed: int = 0,
) -> Volume:
    """Image a real volume by the simulated two-photon microscope.

    The voxels stand for fluorophore: what is brighter than the background, in units of the
    median cell. On it work the point spread that grows with depth, motion of the planes,
    scattering, neuropil and noise. There are no vessels and so no shadows, and labels are
    as they are: which cells shine is the tissue's own.

    Parameters
    ----------
    volume : Volume
        What lies under the microscope; its first plane is the surface of the brain.
    centers_um : ndarray, shape (N, 3)
        Cells, whose median brightness becomes 1.
    params : TwoPhotonParams, optional
        The microscope; that of the level ``paper`` unless given.
    seed : int, default: 0
        Draws the session and all noise.

    Returns
    -------
    Volume
        On the microscope's lattice, in the same µm.

    Raises
    ------
    InputError
        If the cells are no brighter than the background.
    """
    params = params or named_level("paper").two_photon
    camera = TwoPhotonCamera(params, Key.of(seed), top_um=0.0)
    voxels = volume.read((0, 0, 0), volume.shape)
    places = np.rint(centers_um / np.asarray(volume.voxel_size_um)).astype(int)
    z, y, x = np.clip(places, 0, np.array(volume.shape) - 1).T
    background = np.percentile(voxels, _BACKGROUND_PERCENT)
    cell = float(np.median(voxels[z, y, x]) - background)
    if cell <= 0:
        raise InputError(
            f"The positions in {volume.name} are no brighter than its background, so they are "
            "no cells; check that positions and volume belong together and are in µm."
        )
    density = np.maximum(voxels - background, 0) / np.float32(cell)
    scale = np.asarray(volume.voxel_size_um) / np.asarray(camera.voxel_um)
    image = _blur(_resample(density, scale), camera)
    boxes = Boxes.of([(0, 0, 0)], image.shape)
    seen = camera.expose(torch.from_numpy(image)[None], None, boxes)[0]
    return Volume(
        [seen.numpy()], name=f"{volume.name}, optics simulated", voxel_size_um=camera.voxel_um
    )


def _resample(voxels: Float32Array, scale: npt.NDArray[np.float64]) -> Float32Array:
    """Sample a volume on a lattice that is ``scale`` times as fine, with the same first voxel."""
    shape = tuple(int((n - 1) * s) + 1 for n, s in zip(voxels.shape, scale, strict=True))
    fine: Float32Array = ndimage.affine_transform(
        voxels, 1 / scale, output_shape=shape, order=1, mode="nearest", output=np.float32
    )
    return fine


def _blur(density: Float32Array, camera: TwoPhotonCamera) -> Float32Array:
    """Blur by the point spread of each plane, seen where the plane really looked."""
    step = camera.voxel_um
    plane = torch.arange(len(density))
    z_um = plane * step[0]
    sigma_um = camera.sigma_um(z_um).double().numpy()
    shift_um = camera.plane_shift_um(plane).double().numpy()
    apart = z_um.numpy()[None, :] - (z_um.numpy() + shift_um[:, 0])[:, None]
    weights = np.exp(-0.5 * (apart / sigma_um[:, :1]) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    flat: Float32Array = weights.astype(np.float32) @ density.reshape(len(density), -1)
    blurred = flat.reshape(density.shape)
    for image, sigma, shift in zip(blurred, sigma_um, shift_um, strict=True):
        lateral = sigma[1:] / step[1:]
        moved = ndimage.shift(image, -shift[1:] / step[1:], order=1, mode="nearest")
        ndimage.gaussian_filter(moved, lateral, output=image, mode="nearest")
    return blurred
