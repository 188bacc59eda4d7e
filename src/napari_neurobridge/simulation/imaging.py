"""Taking a picture: a camera, a specimen and a box of voxels give an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.parallel import Check, go_on
from napari_neurobridge.simulation.render import Blur, Box, Rendering

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.simulation.optics.camera import Camera
    from napari_neurobridge.simulation.optics.labels import Label
    from napari_neurobridge.simulation.specimen import Specimen

# So few that their memory is used again and again.
_VOXELS_AT_ONCE = {"cpu": 3_000_000}
_VOXELS_AT_ONCE_ELSEWHERE = 200_000_000


def photograph(specimen: Specimen[Label], camera: Camera, box: Box, check: Check = go_on) -> Tensor:
    """Image a box of the camera's lattice.

    Parameters
    ----------
    specimen : Specimen
        What lies under the microscope.
    camera : Camera
        The microscope.
    box : Box
        Voxels to image; a voxel has the same value in whatever box.
    check : callable
        Called often; may raise to cancel.

    Returns
    -------
    Tensor, shape (D, H, W)
        Intensity, 1 for a median soma.
    """
    device = specimen.tissue.somata.center_um.device
    nodes = camera.lumen_boxes(Boxes.of([box.start], box.shape))
    # A slab may need one plane more than the whole does, where it starts between two nodes.
    depth, height, width = nodes.shape
    coarse = Box(nodes.starts[0], (depth + 1, height, width), camera.lumen_step_um)
    shining, bodies, lumen = (
        Rendering(some, point_spread(camera, some), device) for some in (box, coarse, coarse)
    )
    for cells, cell_bodies in specimen.cells(*shining.reach_um):
        check()
        shining.add(cells)
        bodies.add(cell_bodies)
    shining.add(specimen.clutter.cloud(*shining.reach_um))
    lumen.add(specimen.lumen(*lumen.reach_um))
    shares = [layer.image().clamp_(max=1)[None] for layer in (lumen, bodies)]

    image = torch.empty(box.shape, device=device)
    at_once = _VOXELS_AT_ONCE.get(device.type, _VOXELS_AT_ONCE_ELSEWHERE)
    thickness = max(1, at_once // math.prod(box.shape[1:]))
    for first in range(0, box.shape[0], thickness):
        check()
        planes = slice(first, first + thickness)
        density = shining.image(planes)[None]
        boxes = Boxes.of([(box.start[0] + first, *box.start[1:])], density.shape[1:])
        needed = camera.lumen_boxes(boxes)
        from_node = needed.starts[0][0] - coarse.start[0]
        some, others = (share[:, from_node : from_node + needed.shape[0]] for share in shares)
        image[planes] = camera.expose(density, some, boxes, bodies=others)[0]
    return image


def point_spread(camera: Camera, box: Box, *, moving: bool = True) -> Blur:
    """Return how a camera blurs a box on its own lattice or another one.

    Parameters
    ----------
    camera : Camera
        The microscope.
    box : Box
        Voxels to image.
    moving : bool
        Whether the planes move as those of a z-stack do.
    """
    plane = torch.arange(box.start[0], box.start[0] + box.shape[0])
    z_um = plane * box.voxel_um[0]
    sigma_um = camera.sigma_um(z_um)
    lateral = (float(sigma_um[0, 1]), float(sigma_um[0, 2]))
    if not moving:
        return Blur(sigma_um[:, 0], lateral)
    # Planes of the camera move, so a coarser lattice moves with the nearest one.
    shift_um = camera.plane_shift_um((z_um / camera.voxel_um[0]).round().long())
    return Blur(sigma_um[:, 0], lateral, shift_um if shift_um.any() else None)
