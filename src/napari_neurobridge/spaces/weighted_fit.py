"""Similarity and affine maps of weighted correspondences, in a volume, a plane or on a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.similarity import fit_similarity, spanned_axes

if TYPE_CHECKING:
    from napari_neurobridge.spaces.correspondences import Correspondences
    from napari_neurobridge.spaces.similarity import Similarity
    from napari_neurobridge.types import FloatArray

Float64Array = npt.NDArray[np.float64]

# The orientation settles what the matches leave open, and no more: this share of their spread.
_OPEN = 1e-3


def weighted_similarity(
    matches: Correspondences, *, orientation: FloatArray | None = None
) -> Affine:
    """Fit rotation, one scale and a shift by weighted least squares.

    Parameters
    ----------
    matches : Correspondences
        One or more with a weight above 0; a pair that is there twice counts once.
    orientation : ndarray, shape (3, 3), optional
        Rough linear part; the identity by default. Handedness is always taken from it, and so
        is what the matches leave open: all but the shift from one match, the turn about the
        line from two or from matches on a line.

    Returns
    -------
    Affine
        From ``matches.source`` to ``matches.target``.

    Raises
    ------
    InputError
        If no match has a weight, all targets lie at one place, or the orientation has no inverse.

    Notes
    -----
    Matches in a plane fit as well when the plane is mirrored: the similarity then turns it over.
    `turned_over` tells.
    """
    chosen = matches.take(matches.used())
    similarity = _similarity(chosen, chosen.source_um, _checked(orientation))
    return similarity.to_affine(source=matches.source, target=matches.target)


def weighted_affine(matches: Correspondences, *, orientation: FloatArray | None = None) -> Affine:
    """Fit an affine map by weighted least squares.

    Along the axes that the matches extend along, it is the least-squares map. Across a plane (or
    a line) they say nothing: there the orientation counts, turned and scaled by the similarity
    that carries it onto the matches.

    Parameters
    ----------
    matches : Correspondences
        One or more with a weight above 0; a pair that is there twice counts once. Four in a
        volume determine all of the map.
    orientation : ndarray, shape (3, 3), optional
        Rough linear part, whose handedness and relative lengths are taken where matches say
        nothing; the identity by default.

    Returns
    -------
    Affine
        From ``matches.source`` to ``matches.target``.

    Raises
    ------
    InputError
        If no match has a weight, or the targets or the orientation flatten space.
    """
    chosen = matches.take(matches.used())
    axes = chosen.axes
    rough = _checked(orientation)
    # What is left to a similarity is only how the roughly placed matches turn and grow.
    left = _similarity(chosen, chosen.source_um @ rough.T, np.eye(3))
    base = left.linear @ rough
    center = np.average(chosen.source_um, axis=0, weights=chosen.weights)
    offsets = chosen.source_um - center
    rest = chosen.target_um - left.target_center_um - offsets @ base.T
    root = np.sqrt(chosen.weights)[:, None]
    correction = np.linalg.lstsq(root * (offsets @ axes.T), root * rest, rcond=None)[0]
    linear = base + correction.T @ axes
    shift = left.target_center_um - linear @ center
    return Affine.from_linear(linear, shift, source=matches.source, target=matches.target)


def turned_over(
    transform: Affine, matches: Correspondences, *, orientation: FloatArray | None = None
) -> bool:
    """Return whether a map of matches in one plane shows it from the other side.

    In space a mirrored plane is a plane that was turned over, so that no residual tells it.

    Parameters
    ----------
    transform : Affine
        A fit of the matches, or the affine part of one.
    matches : Correspondences
    orientation : ndarray, shape (3, 3), optional
        How the two spaces lie; the identity by default.
    """
    axes = matches.take(matches.used()).axes
    if len(axes) != 2:
        return False
    across = np.cross(*axes)
    return bool((transform.linear @ across) @ (_checked(orientation) @ across) < 0)


def _similarity(matches: Correspondences, source: Float64Array, rough: Float64Array) -> Similarity:
    center = np.average(source, axis=0, weights=matches.weights)
    spread = np.average(((source - center) ** 2).sum(axis=1), weights=matches.weights)
    if len(matches.axes) and not len(spanned_axes(matches.target_um, matches.weights)):
        raise InputError("The matches of different places all lie at one place in the target.")
    return fit_similarity(
        source,
        matches.target_um,
        mirrored=bool(np.linalg.det(rough) < 0),
        orientation=rough,
        spread_um=_OPEN * max(float(np.sqrt(spread)), _OPEN),
        weights=matches.weights,
    )


def _checked(orientation: FloatArray | None) -> Float64Array:
    rough = np.eye(3) if orientation is None else np.asarray(orientation, dtype=np.float64)
    if rough.shape != (3, 3):
        raise InputError(f"An orientation is a (3, 3) matrix, not one of shape {rough.shape}.")
    return Affine.from_linear(rough, np.zeros(3), source="", target="").linear
