"""Cutting crops out of a rendered block, as `io.crops.extract_crops` does out of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.simulation.render import Box

# So few that they stay in a processor's cache.
_CROPS_AT_ONCE = 4
_CROPS_AT_ONCE_ON_GPU = 256


def crop_reach_um(spec: CropSpec) -> tuple[float, float, float]:
    """Return how far a crop reaches from its centre along z, y and x."""
    depths, offsets = spec.depths_um(), spec.offsets_um()
    return float(depths[-1]), float(offsets[-1]), float(offsets[-1])


def cut_crops(
    image: Tensor, box: Box, centers_um: Tensor, reach_um: Tensor, spec: CropSpec
) -> tuple[Tensor, Tensor]:
    """Project the slab around each centre by its maximum.

    Sampling is trilinear, at the depths and pixels of ``spec``.

    Parameters
    ----------
    image : Tensor, shape (D, H, W)
        Holds every crop with a voxel to spare.
    box : Box
        Where the image lies.
    centers_um : Tensor, shape (N, 3)
        Centres in the image's space.
    reach_um : Tensor, shape (N, 2, 3)
        How far the imaged volume reaches from each centre, downwards and upwards; `inf`
        where no border is near.
    spec : CropSpec
        Size of crop and slab.

    Returns
    -------
    crops : Tensor, shape (N, pixels, pixels)
        Largest intensity in the slab; 0 outside the borders.
    inside : Tensor of bool, shape (N, pixels, pixels)
        Pixels with at least one plane inside the borders.
    """
    count = _CROPS_AT_ONCE if image.device.type == "cpu" else _CROPS_AT_ONCE_ON_GPU
    pieces = [
        _cut_some(image, box, centers, reach, spec)
        for centers, reach in zip(
            torch.split(centers_um, count), torch.split(reach_um, count), strict=True
        )
    ]
    crops, inside = zip(*pieces, strict=True)
    return torch.cat(crops), torch.cat(inside)


def cut_posed_crops(
    image: Tensor,
    box: Box,
    centers_um: Tensor,
    reach_um: Tensor,
    spec: CropSpec,
    frames: Tensor,
) -> tuple[Tensor, Tensor]:
    """Project a slab around each centre that is turned and tilted in the image.

    Sampling, parameters and results are those of `cut_crops`; borders lie along the image's
    axes, hence aslant in a crop that is turned.

    Parameters
    ----------
    image, box, centers_um, reach_um, spec
        As for `cut_crops`; the image holds every turned crop.
    frames : Tensor, shape (N, 3, 3)
        Each takes offsets in the crop's frame (depth, row, column) to offsets in the image's
        space, both µm.
    """
    axes = [
        torch.from_numpy(axis).to(centers_um)
        for axis in (spec.depths_um(), spec.offsets_um(), spec.offsets_um())
    ]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    voxel, start = (centers_um.new_tensor(values) for values in (box.voxel_um, box.start))
    # grid_sample counts from -1 to 1, and names the fastest axis first.
    last = centers_um.new_tensor(box.shape) - 1
    crops, inside = [], []
    for center, reach, frame in zip(centers_um, reach_um, frames.to(centers_um), strict=True):
        away = offsets @ frame.T
        places = 2 * ((center + away) / voxel - start) / last - 1
        planes = functional.grid_sample(
            image[None, None], places.flip(-1)[None], align_corners=True, padding_mode="border"
        )[0, 0]
        seen = ((away >= -reach[0]) & (away <= reach[1])).all(dim=-1)
        some = seen.any(dim=0)
        crops.append(planes.masked_fill(~seen, -torch.inf).amax(dim=0).masked_fill(~some, 0.0))
        inside.append(some)
    return torch.stack(crops), torch.stack(inside)


def _cut_some(
    image: Tensor, box: Box, centers_um: Tensor, reach_um: Tensor, spec: CropSpec
) -> tuple[Tensor, Tensor]:
    device = image.device
    voxel = torch.tensor(box.voxel_um, device=device)
    offsets = [
        torch.from_numpy(axis).float().to(device)
        for axis in (spec.depths_um(), spec.offsets_um(), spec.offsets_um())
    ]
    first = torch.stack([axis[0] for axis in offsets])
    last = torch.stack([axis[-1] for axis in offsets])
    lowest = (centers_um + first) / voxel - torch.tensor(box.start, device=device)
    start = lowest.floor()
    depth, height, width = (int(n) for n in ((last - first) / voxel).ceil() + 2)
    windows = torch.stack(
        [image[z : z + depth, y : y + height, x : x + width] for z, y, x in start.int().tolist()]
    )
    along_z, along_y, along_x = (
        _interpolation(
            (lowest - start)[:, axis, None] + (offsets[axis] - first[axis]) / voxel[axis], length
        )
        for axis, length in enumerate((depth, height, width))
    )
    count = len(windows)
    # The axis that needs the fewest planes comes first.
    planes = windows
    if len(offsets[0]) <= depth:
        planes = (along_z @ planes.view(count, depth, -1)).view(count, -1, height, width)
    planes = along_y[:, None] @ (planes @ along_x.transpose(1, 2)[:, None])
    if len(offsets[0]) > depth:
        planes = (along_z @ planes.view(count, depth, -1)).view(count, -1, *planes.shape[2:])
    sampled = planes
    in_z, in_y, in_x = (
        (offset >= -reach_um[:, 0, axis, None]) & (offset <= reach_um[:, 1, axis, None])
        for axis, offset in enumerate(offsets)
    )
    sampled.masked_fill_(~in_z[:, :, None, None], -torch.inf)
    inside = in_z.any(dim=1)[:, None, None] & in_y[:, :, None] & in_x[:, None, :]
    return sampled.amax(dim=1).masked_fill_(~inside, 0.0), inside


def _interpolation(positions: Tensor, length: int) -> Tensor:
    """Return the (B, n, length) matrices of linear interpolation at positions in samples."""
    return (1 - (positions[..., None] - torch.arange(length, device=positions.device)).abs()).clamp(
        min=0
    )
