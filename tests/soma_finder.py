"""Finding a soma in an image by its shape, to hold against what the truth table says."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.signal import fftconvolve

Floats = npt.NDArray[np.float64]

_DARK_UM = 4.0
_FINE = 4


@dataclass(frozen=True, eq=False)
class SomaFinder:
    """Looks for balls, or for balls without their nucleus, that a microscope has blurred.

    Attributes
    ----------
    image : ndarray, shape (D, H, W)
    voxel_um : ndarray, shape (3,)
    origin_um : ndarray, shape (3,)
        Centre of the first voxel.
    sigma_um : tuple of float
        Point spread of the microscope.
    nucleus : float
        Radius of the dark nucleus relative to the soma, 0 without one.
    """

    image: npt.NDArray[np.float32]
    voxel_um: Floats
    origin_um: Floats
    sigma_um: tuple[float, float, float]
    nucleus: float

    def best_match(self, around_um: Floats, radius_um: float, search_um: float) -> Floats:
        """Return where the image is most like a soma, no farther away than ``search_um``.

        Like it is what correlates with it in a ball that holds the soma and some dark around
        it, whatever the brightness of either.
        """
        near, body = _template(
            round(2 * radius_um) / 2, self.nucleus, self.sigma_um, tuple(self.voxel_um)
        )
        reach = np.ceil(search_um / self.voxel_um).astype(int)
        middle = np.round((around_um - self.origin_um) / self.voxel_um).astype(int)
        rows = [
            np.clip(np.arange(m - r - n // 2, m + r + n // 2 + 1), 0, length - 1)
            for m, r, n, length in zip(middle, reach, body.shape, self.image.shape, strict=True)
        ]
        patch = self.image[np.ix_(*rows)].astype(float)
        mean, square, product = (
            fftconvolve(values, kernel[::-1, ::-1, ::-1], "valid")
            for values, kernel in ((patch, near), (patch**2, near), (patch, body))
        )
        likeness = product / np.sqrt(np.maximum(square - mean**2, 1e-9))
        index = np.indices(likeness.shape).reshape(3, -1).T - reach + middle
        place_um = index * self.voxel_um + self.origin_um
        within = np.linalg.norm(place_um - around_um, axis=1) <= search_um
        return place_um[np.where(within, likeness.ravel(), -np.inf).argmax()]

    def center_of_light(self, around_um: Floats, radius_um: float) -> Floats:
        """Return the centre of mass of what is brighter near a place than farther around it."""
        reach_um = radius_um + 1.0
        for _ in range(8):
            index = (around_um - self.origin_um) / self.voxel_um
            half = (reach_um + _DARK_UM) / self.voxel_um
            low = np.maximum(np.floor(index - half), 0).astype(int)
            high = np.minimum(np.ceil(index + half) + 1, self.image.shape).astype(int)
            patch = self.image[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
            place_um = (np.stack(np.indices(patch.shape), axis=-1) + low - index) * self.voxel_um
            distance = np.linalg.norm(place_um, axis=-1)
            around = (distance > reach_um + 1) & (distance < reach_um + _DARK_UM)
            light = np.clip(patch - np.median(patch[around]), 0, None)
            light *= np.clip(reach_um + 0.5 - distance, 0, 1)
            around_um = around_um + (light[..., None] * place_um).sum(axis=(0, 1, 2)) / light.sum()
        return around_um


@cache
def _template(
    radius_um: float,
    nucleus: float,
    sigma_um: tuple[float, float, float],
    voxel_um: tuple[float, float, float],
) -> tuple[Floats, Floats]:
    """Return the weights of the voxels that count, and the soma in them, with mean 0."""
    voxel = np.array(voxel_um)
    half = np.ceil((radius_um + _DARK_UM) / voxel).astype(int)
    d, h, w = 2 * half + 1
    places = (np.indices((d * _FINE, h * _FINE, w * _FINE)) + 0.5) / _FINE
    distance = np.linalg.norm(((places.T - half - 0.5) * voxel).T, axis=0)
    body = ((distance < radius_um) & (distance >= nucleus * radius_um)).astype(float)
    body = ndimage.gaussian_filter(body, np.array(sigma_um) * _FINE / voxel)
    near, body = (
        fine.reshape(d, _FINE, h, _FINE, w, _FINE).mean(axis=(1, 3, 5))
        for fine in ((distance < radius_um + _DARK_UM).astype(float), body)
    )
    near /= near.sum()
    return near, near * (body - (near * body).sum())
