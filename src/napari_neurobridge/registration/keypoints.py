"""Planar images with a pixel size, keypoints on them, and what an extractor of keypoints is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import normalize_crops

if TYPE_CHECKING:
    from napari_neurobridge.types import Float32Array

LEAST_SIDE = 16
"""Pixels; nothing can be told apart in a smaller image."""

BACKGROUND_UM = 20.0
"""Standard deviation of the Gaussian window whose mean is background and whose spread is contrast.

A few somata wide: narrower windows take somata for background, wider ones keep the shadows of
vessels and the falling-off of the light towards the borders.
"""
_LEAST_CONTRAST = 0.1  # of a place, in deviations of the whole image, so that noise stays noise


@dataclass(frozen=True, eq=False)
class PlanarImage:
    """One grey plane with square pixels; the centre of pixel (0, 0) lies at 0 µm.

    Attributes
    ----------
    values : ndarray of float32, shape (H, W)
        Finite intensities in any unit, rows along y.
    pixel_um : float
        Side of a pixel.
    """

    values: Float32Array
    pixel_um: float

    @classmethod
    def of(cls, array: npt.ArrayLike, pixel_um: float) -> PlanarImage:
        """Check an array and take it as an image.

        Parameters
        ----------
        array : array_like, shape (H, W)
            Of any real type.
        pixel_um : float
            Side of a pixel.

        Raises
        ------
        InputError
            If it is no single grey plane, is smaller than `LEAST_SIDE` pixels along a side, holds
            NaN or infinite pixels, has no contrast, or the pixel size is no positive number.
        """
        values = np.asarray(array)
        if not np.isfinite(pixel_um) or pixel_um <= 0:
            raise InputError(f"The pixel size of an image must be positive µm, not {pixel_um}.")
        if values.ndim != 2:
            colours = values.ndim == 3 and values.shape[-1] in (3, 4)
            what = "a colour image" if colours else f"an array of {values.ndim} dimensions"
            raise InputError(
                f"An image must be one grey plane, not {what} of shape {values.shape}."
            )
        if values.dtype.kind not in "buif":
            raise InputError(f"An image must hold real numbers, not {values.dtype}.")
        if min(values.shape) < LEAST_SIDE:
            raise InputError(
                f"An image of {values.shape[0]} x {values.shape[1]} pixels is too small; "
                f"{LEAST_SIDE} along each side are the least."
            )
        values = values.astype(np.float32)
        finite = np.isfinite(values)
        if not finite.all():
            bad = np.count_nonzero(~finite)
            raise InputError(f"{bad} of the image's {values.size} pixels are NaN or infinite.")
        if values.min() == values.max():
            raise InputError(f"The image has no contrast: every pixel is {values.flat[0]:g}.")
        return cls(values, float(pixel_um))

    @classmethod
    def squared(
        cls, array: npt.ArrayLike, steps_um: tuple[float, float], pixel_um: float
    ) -> PlanarImage:
        """Take an array whose pixels are longer than wide as an image with square ones.

        Parameters
        ----------
        array : array_like, shape (H, W)
        steps_um : tuple of float
            Distance of its pixels along y and x.
        pixel_um : float
            Side of a pixel of the result; as `resampled` weighs them.

        Raises
        ------
        InputError
            As `of` and `resampled` do.
        """
        checked = cls.of(array, steps_um[0])
        cls.of(array, steps_um[1])
        if steps_um == (pixel_um, pixel_um):
            return checked
        return _resampled(checked.values, steps_um, pixel_um)

    @property
    def size_um(self) -> tuple[float, float]:
        """Height and width, from the outer edge of the first pixel to that of the last."""
        height, width = self.values.shape
        return height * self.pixel_um, width * self.pixel_um

    def resampled(self, pixel_um: float) -> PlanarImage:
        """Return the image with pixels of another size; the first pixel's centre stays at 0.

        Parameters
        ----------
        pixel_um : float
            Side of a pixel of the result, which ends less than one of its own pixels before
            the last pixel of this image.

        Raises
        ------
        InputError
            If the pixel size is no positive number, or fewer than `LEAST_SIDE` pixels would be
            left along a side.

        Notes
        -----
        A pixel is the mean under a triangle twice as wide as the coarser of both pixels. Coarser
        pixels are thus protected from aliasing, and since such triangles add up to one, each pixel
        of this image weighs the same in the result; finer ones are interpolated linearly.
        """
        if not np.isfinite(pixel_um) or pixel_um <= 0:
            raise InputError(f"The pixel size of an image must be positive µm, not {pixel_um}.")
        if pixel_um == self.pixel_um:
            return self
        return _resampled(self.values, (self.pixel_um, self.pixel_um), pixel_um)

    def standardised(self) -> Float32Array:
        """Return values that depend neither on gain and offset nor on slow changes of either.

        The mean of the surroundings (a Gaussian window of `BACKGROUND_UM`) is taken off, the
        rest is divided by its deviation there, and the whole is stretched to [0, 1] by
        :func:`napari_neurobridge.io.crops.normalize_crops`.

        Returns
        -------
        ndarray of float32, shape (H, W)
            From 0 to 1, the same for both microscopes' images of the same thing.
        """
        values = self.values.astype(np.float64)
        values -= np.median(values)  # or a large offset would cost digits
        sigma = BACKGROUND_UM / self.pixel_um
        values -= gaussian_filter(values, sigma, mode="reflect")
        local = np.sqrt(gaussian_filter(values**2, sigma, mode="reflect"))
        return normalize_crops(values / (local + _LEAST_CONTRAST * values.std()))


def _resampled(values: Float32Array, steps_um: tuple[float, float], pixel_um: float) -> PlanarImage:
    """Bring pixels of some height and width to square ones; see `PlanarImage.resampled`."""
    rows, columns = (
        _triangles(length, pixel_um / step)
        for length, step in zip(values.shape, steps_um, strict=True)
    )
    if min(rows.shape[0], columns.shape[0]) < LEAST_SIDE:
        height, width = (n * step for n, step in zip(values.shape, steps_um, strict=True))
        raise InputError(
            f"An image of {height:g} x {width:g} µm is too small for pixels "
            f"of {pixel_um:g} µm; {LEAST_SIDE} along each side are the least."
        )
    across = (columns @ (rows @ values).T).T
    return PlanarImage(np.ascontiguousarray(across, dtype=np.float32), float(pixel_um))


def _triangles(length: int, ratio: float) -> csr_array:
    """Return the weights of ``length`` pixels in those ``ratio`` times as wide, (new, length)."""
    count = int((length - 1) / ratio + 1e-9) + 1
    centres = np.arange(count) * ratio
    width = max(ratio, 1.0)
    reach = int(np.ceil(width))
    near = np.floor(centres).astype(int)[:, None] + np.arange(-reach, reach + 2)
    weight = np.maximum(0, 1 - np.abs(near - centres[:, None]) / width)
    weight[(near < 0) | (near >= length)] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(count), near.shape[1])
    column = np.clip(near, 0, length - 1).ravel()
    return csr_array((weight.ravel(), (row, column)), shape=(count, length))


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Described places of an image or a volume.

    Attributes
    ----------
    positions_um : ndarray of float64, shape (N, 2) or (N, 3)
        (y, x) or (z, y, x), from the centre of the first pixel.
    scores : ndarray of float32, shape (N,)
        The higher, the surer the extractor is that it would find the place again.
    descriptors : ndarray of float32, shape (N, C)
        Compared by their dot product; unit vectors unless the extractor says otherwise.
    """

    positions_um: npt.NDArray[np.float64]
    scores: Float32Array
    descriptors: Float32Array

    def __post_init__(self) -> None:
        if self.positions_um.ndim != 2 or self.positions_um.shape[1] not in (2, 3):
            raise InputError(
                "Keypoints have two or three coordinates each, not an array of shape "
                f"{self.positions_um.shape}."
            )
        count = len(self.positions_um)
        if self.scores.shape != (count,) or self.descriptors.shape[:-1] != (count,):
            raise InputError(
                f"{count} keypoints need as many scores and descriptors, not arrays of shape "
                f"{self.scores.shape} and {self.descriptors.shape}."
            )

    @classmethod
    def at(cls, points_um: npt.ArrayLike, *, scores: npt.ArrayLike | None = None) -> Keypoints:
        """Take given points as keypoints without descriptors, for matching by place.

        Parameters
        ----------
        points_um : array_like, shape (N, 2) or (N, 3)
        scores : array_like, shape (N,), optional
            By default 1.

        Raises
        ------
        InputError
            If the points are no finite numbers, two or three for each.
        """
        points = np.asarray(points_um, dtype=np.float64)
        if not np.isfinite(points).all():
            raise InputError("Keypoints hold NaN or infinite coordinates; remove those rows.")
        count = len(points)
        known = np.ones(count) if scores is None else np.asarray(scores)
        return cls(points, known.astype(np.float32), np.zeros((count, 0), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.positions_um)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Keypoints:
        """Return some of the keypoints, by index or by mask."""
        return replace(
            self,
            positions_um=self.positions_um[rows],
            scores=self.scores[rows],
            descriptors=self.descriptors[rows],
        )

    def strongest(self, count: int) -> Keypoints:
        """Return the ``count`` keypoints of highest score, best first; all if there are fewer."""
        return self.take(np.argsort(-self.scores, kind="stable")[:count])


class Extractor(Protocol):
    """Finds keypoints in an image and describes them."""

    @property
    def name(self) -> str:
        """What results cite."""

    def extract(self, image: PlanarImage, count: int) -> Keypoints:
        """Return at most ``count`` keypoints, best first, of an image of any pixel size.

        Positions are µm in the image as given, however the extractor resamples it.
        """


class Describer(Protocol):
    """Describes places of an image that something else has found."""

    @property
    def name(self) -> str:
        """What results cite."""

    def describe(self, image: PlanarImage, points_um: npt.NDArray[np.float64]) -> Float32Array:
        """Return unit vectors (N, C) of points (N, 2) in (y, x)."""
