"""Instances from probabilities by a seeded watershed, and how far they are from the truth."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.metrics import variation_of_information as skimage_variation
from skimage.segmentation import relabel_sequential, watershed

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_neurobridge.types import Float32Array

Target: TypeAlias = Literal["somata", "boundaries"]
"""What a probability is of: the inside of somata, or boundaries between cells."""
Labels: TypeAlias = npt.NDArray[np.int32]


class WatershedParams(BaseModel, frozen=True, extra="forbid"):
    """How probabilities become instances; lengths in pixels of the probabilities."""

    smooth_px: float = Field(1.0, ge=0, le=50, description="Gaussian before seeds are looked for.")
    seed: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Least smoothed probability of the middle of a soma; of cells between "
        "boundaries, the least probability of not being a boundary.",
    )
    inside: float = Field(
        0.4, ge=0, le=1, description="Least probability of a pixel that belongs to a soma."
    )
    distance_px: int = Field(3, ge=1, le=500, description="Least distance of two seeds.")
    radius_px: float = Field(
        1.4,
        ge=0,
        le=500,
        description="Instances smaller than such a ball (in a plane, a disc) are dropped.",
    )


def instances(
    probability: Float32Array,
    target: Target,
    params: WatershedParams,
    *,
    spacing: npt.ArrayLike | None = None,
) -> Labels:
    """Cut a probability into instances.

    Parameters
    ----------
    probability : ndarray, shape (Y, X) or (Z, Y, X)
        From 0 to 1.
    target : {"somata", "boundaries"}
        Somata are flooded from the peaks of the smoothed probability down to ``inside``, and what
        is left is 0. Between boundaries, basins are flooded from the places that are farthest
        from any boundary, over the whole image; there is no 0.
    params : WatershedParams
    spacing : array_like, shape (ndim,), optional
        Length of a pixel along each axis, in the pixels of the parameters; 1 unless given.

    Returns
    -------
    ndarray of int32, of the same shape
        0, or the number of the instance, from 1 without gaps.
    """
    steps = np.ones(probability.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    least = _least_size(probability.shape, params, steps)
    smooth = smoothed(probability, params, steps)
    if target == "somata":
        seeds = _numbered(soma_seeds(smooth, params, steps), smooth.shape)
        found = _of_size(watershed(-smooth, seeds, mask=probability >= params.inside), least)
        return np.asarray(relabel_sequential(found)[0], dtype=np.int32)
    far = ndimage.distance_transform_edt(1 - smooth >= params.seed, sampling=steps)
    seeds = _numbered(_peaks(far, params.distance_px / steps, 0.5), smooth.shape)
    found = watershed(smooth, seeds)
    large = _of_size(found, least)
    # What small basins held goes to their neighbours.
    found = watershed(smooth, large) if large.any() else found
    return np.asarray(relabel_sequential(found)[0], dtype=np.int32)


def smoothed(
    probability: Float32Array, params: WatershedParams, steps: npt.NDArray[np.float64]
) -> Float32Array:
    """Return a probability as seeds are looked for in it; ``steps`` as `instances`' spacing."""
    if not params.smooth_px:
        return probability
    sigma = params.smooth_px / steps
    return np.asarray(ndimage.gaussian_filter(probability, sigma, mode="nearest"), dtype=np.float32)


def soma_seeds(
    smooth: Float32Array, params: WatershedParams, steps: npt.NDArray[np.float64]
) -> npt.NDArray[np.intp]:
    """Return the pixels (N, ndim) from which somata are flooded, the likeliest first."""
    return _peaks(smooth, params.distance_px / steps, params.seed)


def _peaks(
    values: npt.NDArray[np.floating], distance: npt.NDArray[np.float64], least: float
) -> npt.NDArray[np.intp]:
    """Return the places that are highest within a box of half-widths (ndim,)."""
    sides = 2 * np.minimum(np.rint(distance).astype(int), values.shape) + 1
    found = peak_local_max(
        values, footprint=np.ones(sides), threshold_abs=least, exclude_border=False
    )
    return np.asarray(found, dtype=np.intp)


def _least_size(
    shape: tuple[int, ...], params: WatershedParams, steps: npt.NDArray[np.float64]
) -> int:
    """Return the pixels of a ball; of a disc, where at most two axes are longer than a pixel."""
    flat = np.array(shape) == 1
    if (~flat).sum() < 3:
        return math.ceil(math.pi * params.radius_px**2 / float(np.prod(steps[~flat])))
    return math.ceil(4 / 3 * math.pi * params.radius_px**3 / float(np.prod(steps)))


def _numbered(places: npt.NDArray[np.intp], shape: tuple[int, ...]) -> Labels:
    seeds = np.zeros(shape, dtype=np.int32)
    seeds[tuple(places.T)] = np.arange(1, len(places) + 1)
    return seeds


def _of_size(found: npt.NDArray[np.integer], least: int) -> npt.NDArray[np.integer]:
    size = np.bincount(found.ravel())
    return np.where(size[found] >= least, found, 0)


def variation_of_information(
    truth: npt.NDArray[np.integer], found: npt.NDArray[np.integer], *, background: bool = False
) -> tuple[float, float]:
    """Return how much two segmentations disagree, as split and merge in bits (Meilă 2007).

    Split is H(found | truth), which rises when a true cell is cut into several; merge is
    H(truth | found), which rises when several are joined. Both use logarithms to the base 2, and
    their sum is the variation of information; 0 is perfect.

    Parameters
    ----------
    truth, found : ndarray of int, of one shape
    background : bool
        By default, pixels that are 0 in the truth are left out: they belong to no cell, so that
        what is found there is not counted, neither for nor against. With ``True`` the truth's 0
        is a segment like any other. The 0 of ``found`` always is.

    Raises
    ------
    InputError
        If the shapes differ, or the truth holds no cell.
    """
    if truth.shape != found.shape:
        raise InputError(
            f"Two segmentations of shapes {truth.shape} and {found.shape} cannot be compared."
        )
    if not truth.any():
        raise InputError("The true segmentation holds no cell.")
    split, merge = skimage_variation(truth, found, ignore_labels=() if background else (0,))
    return float(split), float(merge)


def watershed_grid(
    *,
    smooth_px: Iterable[float] = (0.5, 1.0, 1.5),
    seed: Iterable[float] = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6),
    inside: Iterable[float] = (0.3, 0.5),
    distance_px: Iterable[int] = (3,),
    radius_px: Iterable[float] = (1.4,),
) -> list[WatershedParams]:
    """Return all combinations of some settings."""
    return [
        WatershedParams(smooth_px=s, seed=least, inside=i, distance_px=d, radius_px=r)
        for s, least, i, d, r in itertools.product(smooth_px, seed, inside, distance_px, radius_px)
    ]


def fit_watershed(
    probabilities: Sequence[Float32Array],
    truths: Sequence[npt.NDArray[np.integer]],
    target: Target,
    grid: Sequence[WatershedParams],
    *,
    cost: Callable[[npt.NDArray[np.integer], Labels], float] | None = None,
) -> tuple[WatershedParams, float]:
    """Choose the settings for a source: those of least mean cost, the first of equal ones.

    Parameters
    ----------
    probabilities, truths : sequence of ndarray
        What the source's own network says of its own images, and their true instances.
    target : {"somata", "boundaries"}
    grid : sequence of WatershedParams
    cost : callable, optional
        Of a truth and what was found; the variation of information unless given, in which
        background counts for somata and not between boundaries.

    Returns
    -------
    params : WatershedParams
    cost : float
        The mean.
    """
    if not grid or not probabilities or len(probabilities) != len(truths):
        raise InputError("Fixing a watershed takes settings to try, and a truth for each image.")

    def information(truth: npt.NDArray[np.integer], found: Labels) -> float:
        return sum(variation_of_information(truth, found, background=target == "somata"))

    judge = cost or information
    costs = [
        float(
            np.mean(
                [
                    judge(truth, instances(probability, target, params))
                    for probability, truth in zip(probabilities, truths, strict=True)
                ]
            )
        )
        for params in grid
    ]
    best = int(np.argmin(costs))
    return grid[best], costs[best]
