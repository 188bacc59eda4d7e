"""Examples of the segmenter: windows of simulated images, with the pixels that are somata."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from napari_neurobridge.detection.planes import plane_scales, standardised, with_neighbours

if TYPE_CHECKING:
    from napari_neurobridge.training.segmented_scenes import SegmentedScene, SegmentedSide
    from napari_neurobridge.types import Float32Array

Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.float64]


class DrawParams(BaseModel, frozen=True, extra="forbid"):
    """What examples are drawn."""

    size_px: int = Field(96, gt=0, description="Side of a window.")
    two_photon: float = Field(0.7, ge=0, le=1, description="Share of two-photon images.")
    single: float = Field(0.3, ge=0, le=1, description="Share of single planes and projections.")
    two_photon_planes: int = Field(6, gt=0, description="Most planes that are projected,")
    fmost_planes: int = Field(10, gt=0, description="and the same for fMOST.")
    scale: tuple[float, float] = Field((0.8, 1.25), description="Size of the window's pixels.")
    skip: int = Field(3, gt=0, description="Planes may be this many steps apart.")


def draw_example(
    scene: SegmentedScene, planes: int, params: DrawParams, rng: np.random.Generator
) -> tuple[Float32Array, Bools]:
    """Draw a window of one side of a scene.

    Parameters
    ----------
    scene : SegmentedScene
    planes : int
        That the network sees at once.
    params : DrawParams
    rng : numpy.random.Generator

    Returns
    -------
    images : ndarray of float32, shape (planes, S, S)
        Standardised.
    somata : ndarray of bool, shape (S, S)
        Of the middle plane, or of all that were projected.
    """
    in_vivo = rng.random() < params.two_photon
    side = scene.two_photon if in_vivo else scene.fmost
    single = rng.random() < params.single
    most = params.two_photon_planes if in_vivo else params.fmost_planes
    values, somata, middle, skip = (
        _projected(side, int(rng.integers(1, most + 1)), rng)
        if single
        else _stack(side, planes, int(rng.integers(1, params.skip + 1)), rng)
    )
    half = (np.array(values.shape[1:]) - 1) / 2
    room = np.maximum(half - params.size_px / 2, 0)
    at = window_places(half + rng.uniform(-room, room), params, rng)
    images = seen_at(values, at, middle, count=planes, step=1 / skip, rng=rng)
    return images, labels_at(somata > 0, at)


def seen_at(
    values: Float32Array,
    at: Places,
    middle: int,
    *,
    count: int,
    step: float,
    rng: np.random.Generator,
) -> Float32Array:
    """Return what the network sees of planes at the pixels of a window, varied at random.

    Parameters
    ----------
    values : ndarray, shape (Z, Y, X)
        Intensities; beyond the borders, their mirror image.
    at : ndarray, shape (2, S, S)
        Of `window_places`.
    middle : int
        Index of the plane that is judged.
    count, step
        As of `detection.planes.with_neighbours`.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float32, shape (count, S, S)
    """
    seen = np.stack([map_coordinates(plane, at, order=1, mode="mirror") for plane in values])
    seen = varied(seen, rng)
    seen = standardised(seen, plane_scales(seen))
    return np.asarray(with_neighbours(seen, np.array([middle]), count=count, step=step)[0])


def labels_at(labels: Bools, at: Places) -> Bools:
    """Return the labels (S, S) at the pixels of a window; nearest, mirrored as the image."""
    return np.asarray(map_coordinates(labels.astype(np.uint8), at, order=0, mode="mirror") > 0)


def window_places(
    middle: npt.NDArray[np.float64], params: DrawParams, rng: np.random.Generator
) -> Places:
    """Return the places (2, S, S) of a square window's pixels, turned, scaled and mirrored.

    Parameters
    ----------
    middle : ndarray, shape (2,)
        Of the window, in pixels of the image.
    params : DrawParams
    rng : numpy.random.Generator
    """
    size = params.size_px
    angle = rng.uniform(0, 2 * math.pi)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if rng.random() < 0.5:
        turn[:, 1] *= -1
    offsets = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij")).reshape(2, -1)
    places = middle[:, None] + rng.uniform(*params.scale) * turn @ grid
    return np.asarray(places.reshape(2, size, size))


def varied(values: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return planes (Z, Y, X) with another contrast, shading, blur and noise."""
    lifted = np.clip(values, 0, None)
    lifted = np.clip(lifted / max(float(np.percentile(lifted, 99.5)), 1e-6), 0, 4)
    seen: npt.NDArray[np.floating] = lifted ** rng.uniform(0.7, 1.3)
    if rng.random() < 0.5:
        shade = gaussian_filter(rng.standard_normal((16, 16)), 2.5)
        shade = zoom(shade / shade.std(), np.array(seen.shape[1:]) / 16, order=1)
        seen = seen * np.exp(0.4 * shade)
    if rng.random() < 0.3:
        sigma = rng.uniform(0.2, 0.7)
        seen = gaussian_filter(seen, (0, sigma, sigma))
    if rng.random() < 0.5:
        seen = seen + rng.uniform(0, 0.06) * rng.standard_normal(seen.shape)
    return np.asarray(seen, dtype=np.float32)


def _stack(
    side: SegmentedSide, planes: int, skip: int, rng: np.random.Generator
) -> tuple[Float32Array, npt.NDArray[np.uint16], int, int]:
    """Return every so many planes about one, its somata, and where it is among them."""
    depth = len(side.image)
    middle = int(rng.integers(depth))
    reach = math.ceil((planes // 2) / skip)
    rows = middle + skip * np.arange(-reach, reach + 1)
    rows = rows[(rows >= 0) & (rows < depth)]
    at = int(np.flatnonzero(rows == middle)[0])
    return side.image[rows].astype(np.float32), side.somata[middle], at, skip


def _projected(
    side: SegmentedSide, thick: int, rng: np.random.Generator
) -> tuple[Float32Array, npt.NDArray[np.uint16], int, int]:
    """Return one plane, the maximum or the mean of a few."""
    thick = min(thick, len(side.image))
    first = int(rng.integers(len(side.image) - thick + 1))
    slab = slice(first, first + thick)
    values = side.image[slab].astype(np.float32)
    plane = values.max(axis=0) if rng.random() < 0.5 else values.mean(axis=0)
    return plane[None], side.somata[slab].max(axis=0), 0, 1
