"""How many matches one similarity explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_neurobridge.registration.image_matches import BoolArray, Float64Array, ImageMatches

TOLERANCE_UM = 25.0
"""So far tissue that bends may depart from a similarity over a field of view."""
LARGEST_SCALE = 2.0
"""By more than this, or less than its inverse, tissue neither swells nor shrinks."""

_TRIALS = 1000
# Two matches that are nearer than this say little of the angle between all.
_LEAST_APART_UM = 1.0


def verified_consensus(matches: ImageMatches) -> BoolArray:
    """Return which matches are verified and explained by the one similarity that explains most."""
    fitting = matches.verified.copy()
    fitting[fitting] = consensus(matches.source_um[fitting], matches.target_um[fitting])
    return fitting


def consensus(
    source_um: Float64Array,
    target_um: Float64Array,
    *,
    tolerance_um: float = TOLERANCE_UM,
    seed: int = 0,
) -> BoolArray:
    """Return which matches the similarity explains that explains most, by RANSAC.

    Mirrored similarities are not tried, nor those that collapse a plane into a place, to which
    any match with a target nearby would fit.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (N, 2)
        The two places of each match, µm (y, x).
    tolerance_um : float
        From where the similarity puts a match to its target, at most.
    seed : int
        Of the samples; all pairs of matches are tried where there are no more than 1,000.

    Returns
    -------
    ndarray of bool, shape (N,)
        None of them where no similarity is found.

    References
    ----------
    Fischler and Bolles, Communications of the ACM 24:381 (1981).

    Notes
    -----
    With (y, x) as the complex number y + ix, a similarity is a z + b, and two matches say it. So
    all samples are scored at once; scikit-image's ``ransac``, one sample after the other, takes
    a hundred times as long.
    """
    here, there = (points[:, 0] + 1j * points[:, 1] for points in (source_um, target_um))
    first, second = _samples(len(here), seed)
    along = here[second] - here[first]
    apart = np.abs(along) >= _LEAST_APART_UM
    first, second, along = first[apart], second[apart], along[apart]
    factor = (there[second] - there[first]) / along
    plausible = (np.abs(factor) <= LARGEST_SCALE) & (np.abs(factor) >= 1 / LARGEST_SCALE)
    if not plausible.any():
        return np.zeros(len(here), dtype=np.bool_)
    first, factor = first[plausible], factor[plausible]
    shift = there[first] - factor * here[first]
    off = np.abs(factor[:, None] * here + shift[:, None] - there)
    explained = off <= tolerance_um
    # Of those that explain as many, the one that is nearest to them.
    most = explained.sum(axis=1) - np.minimum(off, tolerance_um).mean(axis=1) / tolerance_um
    return np.asarray(explained[int(most.argmax())])


def _samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two different matches for each trial."""
    if count * (count - 1) // 2 <= _TRIALS:
        rows = np.triu_indices(count, 1)
        return rows[0], rows[1]
    generator = np.random.default_rng(seed)
    first = generator.integers(count, size=_TRIALS)
    step = generator.integers(1, count, size=_TRIALS)
    return first, (first + step) % count
