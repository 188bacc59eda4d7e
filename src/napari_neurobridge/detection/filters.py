"""Difference of Gaussians with physical sizes, as separable torch filters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import Vec3

SCALE_STEP = 1.3
"""Ratio of neighbouring scales, and of the two Gaussians of one difference."""

TRUNCATE = 3.5
"""Where kernels end, in standard deviations."""


def gaussian_kernel(sigma: float) -> torch.Tensor:
    """Return a Gaussian integrated over voxels, which stays exact below one voxel.

    Parameters
    ----------
    sigma : float
        Standard deviation in voxels.

    Returns
    -------
    Tensor, shape (2 n + 1,), sum 1
    """
    radius = math.ceil(TRUNCATE * sigma)
    edges = torch.arange(-radius, radius + 2, dtype=torch.float64) - 0.5
    kernel: torch.Tensor = torch.special.ndtr(edges / sigma).diff()
    return (kernel / kernel.sum()).to(torch.float32)


def smooth(image: torch.Tensor, sigma_um: float, voxel_um: Vec3) -> torch.Tensor:
    """Blur by a Gaussian, repeating the border voxels outwards.

    Parameters
    ----------
    image : Tensor, shape (Z, Y, X)
        float32.
    sigma_um : float
        Standard deviation, the same along all axes.
    voxel_um : Vec3
        Voxel size.
    """
    for axis, size in enumerate(voxel_um):
        if image.shape[axis] > 1:
            matrix = _blur_matrix(image.shape[axis], sigma_um / size)
            image = torch.tensordot(matrix, image, dims=([1], [axis])).movedim(0, axis)
    return image


def _blur_matrix(length: int, sigma: float) -> torch.Tensor:
    """Return the blur along one axis as a banded matrix, shape (length, length).

    At the lengths of a block one dense product is ten times as fast on a CPU as torch's
    convolutions are with so few channels.
    """
    kernel = gaussian_kernel(sigma)
    reach = len(kernel) // 2
    rows = torch.arange(length)
    matrix = torch.zeros(length, length)
    for shift, weight in enumerate(kernel, start=-reach):
        columns = (rows + shift).clamp(0, length - 1)
        matrix.index_put_((rows, columns), weight.expand(length), accumulate=True)
    return matrix


def inner_sigma_um(radius_um: float, n_dimensions: int) -> float:
    """Return the narrower Gaussian of the difference that answers most to a ball.

    A Laplacian of Gaussian answers most at σ = r / √d (Lindeberg 1998); a difference of
    σ and kσ is close to one at √k σ.
    """
    return radius_um / math.sqrt(n_dimensions * SCALE_STEP)


def reach_um(radii_um: Sequence[float], n_dimensions: int) -> float:
    """Return how far the filters for these radii look."""
    return TRUNCATE * SCALE_STEP * inner_sigma_um(max(radii_um), n_dimensions)


def difference_of_gaussians(
    image: torch.Tensor, radii_um: Sequence[float], voxel_um: Vec3
) -> torch.Tensor:
    """Filter for bright balls (discs, in a plane) of several radii.

    Parameters
    ----------
    image : Tensor, shape (Z, Y, X)
        float32; one plane counts as two-dimensional.
    radii_um : sequence of float
        Each :data:`SCALE_STEP` times the one before, so that Gaussians are shared.
    voxel_um : Vec3
        Voxel size.

    Returns
    -------
    Tensor, shape (len(radii_um), Z, Y, X)
        Scaled such that a ball of the right radius gives its contrast at its centre.
    """
    n_dimensions = 2 if image.shape[0] == 1 else 3
    sigmas = [inner_sigma_um(radius, n_dimensions) for radius in radii_um]
    sigmas.append(sigmas[-1] * SCALE_STEP)
    blurred = [smooth(image, sigma, voxel_um) for sigma in sigmas]
    answers = [
        (blurred[i] - blurred[i + 1]) / _answer_to_unit_ball(radius, sigmas[i], n_dimensions)
        for i, radius in enumerate(radii_um)
    ]
    return torch.stack(answers)


def _answer_to_unit_ball(radius_um: float, sigma_um: float, n_dimensions: int) -> float:
    narrow = _mass_within(radius_um / sigma_um, n_dimensions)
    return narrow - _mass_within(radius_um / (SCALE_STEP * sigma_um), n_dimensions)


def _mass_within(radius: float, n_dimensions: int) -> float:
    """Return the part of a standard Gaussian within a radius (chi distribution)."""
    tail = math.exp(-(radius**2) / 2)
    if n_dimensions == 2:
        return 1 - tail
    return math.erf(radius / math.sqrt(2)) - math.sqrt(2 / math.pi) * radius * tail
