"""Plain image similarities with a search over small rotations and shifts.

These are the measures that paper 1 (section 3.6) compares with. Each gets the pose that
suits it best: every two-photon crop is resampled at all poses of a grid, and the best
value over the poses counts.

Taken of the crops as they are, brightness, background and noise decide, which are different under
two microscopes. `band_passed` takes off what the model never sees either, and what is finer than
either microscope's detail; Pearson's correlation and the mean squared error gain by it.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from napari_neurobridge.io.crops import CropSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.types import Float32Array, Report


BAND_UM = (1.5, 12.0)
"""Blurs between which lie somata and thick dendrites; chosen on validation scenes."""


class PlainMeasure(StrEnum):
    """A similarity of two images that needs no training."""

    NMI = "nmi"
    SSIM = "ssim"
    PEARSON = "pearson"
    COSINE = "cosine"
    MSE = "mse"


class PoseRange(BaseModel, frozen=True, extra="forbid"):
    """The poses that a plain measure may try."""

    max_angle_deg: float = Field(15.0, ge=0)
    angle_step_deg: float = Field(5.0, gt=0)
    max_shift_px: float = Field(5.0, ge=0)
    shift_step_px: float = Field(2.5, gt=0)

    def poses(self) -> Float32Array:
        """Return all poses (V, 3) as angle in radians, shift of rows, shift of columns."""
        angles = np.deg2rad(_symmetric_range(self.max_angle_deg, self.angle_step_deg))
        shifts = _symmetric_range(self.max_shift_px, self.shift_step_px)
        grid = np.meshgrid(angles, shifts, shifts, indexing="ij")
        return np.stack([axis.ravel() for axis in grid], axis=1).astype(np.float32)

    def for_crops(self, pixels: int) -> PoseRange:
        """Return the same poses for crops of fewer or more pixels along each side."""
        factor = pixels / CropSpec().pixels
        return self.model_copy(
            update={
                "max_shift_px": factor * self.max_shift_px,
                "shift_step_px": factor * self.shift_step_px,
            }
        )


def band_passed(crops: Float32Array, *, band_um: tuple[float, float] = BAND_UM) -> Float32Array:
    """Return the structure of crops between two sizes, with mean 0 and deviation 1 each.

    The difference of two Gaussian blurs of the square root, which makes shot noise alike in
    bright and dim places.

    Parameters
    ----------
    crops : ndarray of float32, shape (N, P, P)
        In [0, 1], each 120 µm wide.
    band_um : tuple of float
        Standard deviations of the blurs.

    Returns
    -------
    ndarray of float32, shape (N, P, P)
        0 where a crop has no contrast.
    """
    pixel_um = CropSpec().size_um / crops.shape[-1]
    roots = np.sqrt(np.maximum(crops, 0))
    fine, coarse = (
        ndimage.gaussian_filter(roots, (0, sigma / pixel_um, sigma / pixel_um), mode="nearest")
        for sigma in band_um
    )
    band = fine - coarse
    band -= band.mean(axis=(1, 2), keepdims=True)
    deviation = band.std(axis=(1, 2), keepdims=True)
    # What rounding leaves of a crop without contrast is no structure.
    standardised: Float32Array = np.where(
        deviation > 1e-4, band / np.maximum(deviation, 1e-12), np.float32(0)
    )
    return standardised


def plain_similarity(
    measure: PlainMeasure,
    two_photon: Float32Array,
    fmost: Float32Array,
    *,
    search: PoseRange | None = None,
    report: Report | None = None,
) -> Float32Array:
    """Compare every two-photon crop with every fMOST crop.

    Parameters
    ----------
    measure : PlainMeasure
        The similarity; MSE is returned negated, so that more is better throughout.
    two_photon, fmost : ndarray of float32, shape (N, P, P) and (M, P, P)
        Crops in [0, 1].
    search : PoseRange, optional
        Poses to try; ±15° in steps of 5° and ±5 px in steps of 2.5 px by default.
    report : callable, optional
        Called as ``report(done, total, text)`` after each two-photon crop.

    Returns
    -------
    ndarray of float32, shape (N, M)
        The best value over the poses.
    """
    search = search or PoseRange()
    poses = torch.from_numpy(search.poses())
    margin = math.ceil(search.max_shift_px)
    compare = _MEASURES[measure](_trim(torch.from_numpy(fmost), margin))
    result = np.empty((len(two_photon), len(fmost)), dtype=np.float32)
    with torch.inference_mode():
        for index, crop in enumerate(torch.from_numpy(two_photon)):
            views = _trim(_views(crop, poses), margin)
            result[index] = compare(views).amax(dim=0).numpy()
            if report is not None:
                report(index + 1, len(two_photon), f"comparing crops by {measure.value}")
    return result


def _symmetric_range(limit: float, step: float) -> Float32Array:
    count = int(limit / step + 1e-9)
    return (np.arange(-count, count + 1) * step).astype(np.float32)


def _trim(images: Tensor, margin: int) -> Tensor:
    """Cut the border that a shifted view does not cover."""
    return images[..., margin : images.shape[-2] - margin, margin : images.shape[-1] - margin]


def _views(crop: Tensor, poses: Tensor) -> Tensor:
    """Resample one crop (P, P) at all poses (V, 3) to views (V, P, P)."""
    angle, rows, columns = poses.unbind(dim=1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    half = crop.shape[-1] / 2
    theta = torch.stack(
        (
            torch.stack((cos, -sin, columns / half), dim=1),
            torch.stack((sin, cos, rows / half), dim=1),
        ),
        dim=1,
    )
    size = [len(poses), 1, *crop.shape]
    grid = functional.affine_grid(theta, size, align_corners=False)
    stack = crop.expand(size)
    # Repeating the border leaves no black corners that every rotated view would share.
    return functional.grid_sample(stack, grid, padding_mode="border", align_corners=False)[:, 0]


class _Cosine:
    """Cosine of the angle between images as vectors."""

    def __init__(self, references: Tensor) -> None:
        self.references = self.prepare(references)

    @staticmethod
    def prepare(images: Tensor) -> Tensor:
        return functional.normalize(images.flatten(1), dim=1)

    def __call__(self, views: Tensor) -> Tensor:
        """Compare views (V, h, w) with the references: (V, M)."""
        return self.prepare(views) @ self.references.T


class _Pearson(_Cosine):
    """Correlation of pixel values."""

    @staticmethod
    def prepare(images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return functional.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)


class _NegativeMse:
    """Minus the mean squared difference."""

    def __init__(self, references: Tensor) -> None:
        self.references = references.flatten(1)

    def __call__(self, views: Tensor) -> Tensor:
        flat = views.flatten(1)
        squares = flat.square().sum(dim=1)[:, None] + self.references.square().sum(dim=1)
        return (2 * flat @ self.references.T - squares) / flat.shape[1]


class _Ssim:
    """Mean structural similarity with a uniform 7 x 7 window and data range 1.

    As scikit-image's ``structural_similarity`` computes it by default (Wang et al. 2004),
    but at every third window each way: all pixels count, and the search takes a tenth of
    the time.
    """

    window, stride = 7, 3
    c1, c2 = 0.01**2, 0.03**2

    def __init__(self, references: Tensor) -> None:
        self.references = references
        self.filters = [self._box_filter(side) for side in references.shape[1:]]
        self.means, self.variances = self._moments(references)

    def _box_filter(self, side: int) -> Tensor:
        """Return the matrix (windows, side) that averages over each window along one axis."""
        starts = torch.arange(0, side - self.window + 1, self.stride)[:, None]
        places = torch.arange(side)
        return ((places >= starts) & (places < starts + self.window)).float() / self.window

    def _mean(self, images: Tensor) -> Tensor:
        # Two products with small matrices are several times faster than pooling.
        means: Tensor = self.filters[0] @ images @ self.filters[1].T
        return means

    @property
    def _unbiased(self) -> float:
        return self.window**2 / (self.window**2 - 1)

    def _moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        means = self._mean(images)
        return means, self._unbiased * (self._mean(images.square()) - means.square())

    def __call__(self, views: Tensor) -> Tensor:
        means, variances = self._moments(views)
        columns = [
            self._against(views, means, variances, index) for index in range(len(self.references))
        ]
        return torch.stack(columns, dim=1)

    def _against(self, views: Tensor, means: Tensor, variances: Tensor, index: int) -> Tensor:
        mean, variance = self.means[index], self.variances[index]
        products = means * mean
        covariance = self._unbiased * (self._mean(views * self.references[index]) - products)
        luminance = (2 * products + self.c1) / (means.square() + mean.square() + self.c1)
        structure = (2 * covariance + self.c2) / (variances + variance + self.c2)
        return (luminance * structure).mean(dim=(1, 2))


class _Nmi:
    """Normalised mutual information (H(A) + H(B)) / H(A, B) (Studholme et al. 1999).

    Joint histograms of all views with all references are one product of indicator
    matrices. Bins are of equal width over [0, 1], which is the crops' range.
    """

    bins = 16

    def __init__(self, references: Tensor) -> None:
        self.count = len(references)
        self.indicators = self._indicators(references)
        self.entropy = _entropy(self.indicators.mean(dim=2), dims=(1,))

    def _indicators(self, images: Tensor) -> Tensor:
        """Turn images (K, h, w) into one-hot rows (K, bins, h * w)."""
        index = (images.flatten(1) * self.bins).long().clamp(0, self.bins - 1)
        levels = torch.arange(self.bins)[None, :, None]
        return (index[:, None, :] == levels).float()

    def __call__(self, views: Tensor) -> Tensor:
        indicators = self._indicators(views)
        pixels = indicators.shape[2]
        flat = indicators.flatten(0, 1)
        joint = flat @ self.indicators.flatten(0, 1).T / pixels
        joint = joint.reshape(len(views), self.bins, self.count, self.bins)
        own = _entropy(indicators.mean(dim=2), dims=(1,))
        return (own[:, None] + self.entropy) / _entropy(joint, dims=(1, 3)).clamp_min(1e-12)


def _entropy(probabilities: Tensor, dims: tuple[int, ...]) -> Tensor:
    terms: Tensor = torch.special.xlogy(probabilities, probabilities)
    return -terms.sum(dim=dims)


_MEASURES: dict[PlainMeasure, Callable[[Tensor], Callable[[Tensor], Tensor]]] = {
    PlainMeasure.NMI: _Nmi,
    PlainMeasure.SSIM: _Ssim,
    PlainMeasure.PEARSON: _Pearson,
    PlainMeasure.COSINE: _Cosine,
    PlainMeasure.MSE: _NegativeMse,
}
