"""The map that the matches of two planes say, and which of them agree with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.consensus import TOLERANCE_UM
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.choose_fit import FitChoice, choose_fit
from napari_neurobridge.spaces.correspondences import Correspondences

if TYPE_CHECKING:
    from napari_neurobridge.registration.image_matches import ImageMatches
    from napari_neurobridge.spaces.choose_fit import FittedMap

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

LEAST_MATCHES = 4
"""With fewer, nothing tests a map."""

# The time of a thin plate grows with the cube of the matches.
_MOST_MATCHES = 600
# A match agrees if it is off by no more than this many times the median, within bounds.
_MEDIANS = 3.0
_LEAST_AGREEMENT_UM = 5.0


@dataclass(frozen=True, eq=False)
class PlaneFit:
    """A map between two planes, and what agrees with it.

    Attributes
    ----------
    choice : FitChoice
        Of matches lifted to depth 0 of both spaces; at most 600 of those that agree.
    agreeing : ndarray of bool, shape (K,)
        Which of all matches are verified and agree with the map.
    residuals_um : ndarray
        Of the matches that it was fitted to, each with its neighbourhood left out of the fit.
    """

    choice: FitChoice
    agreeing: BoolArray
    residuals_um: Float64Array

    @property
    def n_agreeing(self) -> int:
        """How many matches agree."""
        return int(self.agreeing.sum())

    @property
    def transform(self) -> FittedMap:
        """The map of places (N, 3), µm, of one plane at depth 0 into the other."""
        return self.choice.transform

    @property
    def affine(self) -> Affine:
        """The map, or what it bends."""
        transform = self.transform
        return transform if isinstance(transform, Affine) else transform.base

    @property
    def angle_deg(self) -> float:
        """Rotation of the similarity next to the affine part; positive turns y towards x."""
        (a, b), (c, d) = self.affine.linear[1:, 1:]
        return float(np.rad2deg(np.arctan2(c - b, a + d)))


def fit_plane(
    matches: ImageMatches, fitting: BoolArray, names: tuple[str, str], *, seed: int = 0
) -> PlaneFit | None:
    """Fit the simplest map that held-out matches justify.

    Parameters
    ----------
    matches : ImageMatches
    fitting : ndarray of bool, shape (K,)
        What to begin with: matches that one similarity explains.
    names : tuple of str
        Of the two spaces.
    seed : int
        Of the matches that are drawn where there are more than 600.

    Returns
    -------
    PlaneFit or None
        None for fewer than four matches, or matches that no map fits.
    """
    if fitting.sum() < LEAST_MATCHES:
        return None
    generator = np.random.default_rng(seed)
    try:
        # A thin plate bends to wrong matches, unless they are left out.
        _, off = _choose(matches, fitting, names, generator)
        agreeing = fitting & (off <= _within(off[fitting]))
        if agreeing.sum() < LEAST_MATCHES:
            return None
        choice, held_out = _choose(matches, agreeing, names, generator)
    except InputError:
        # The matches lie at one place, or flatten the plane.
        return None
    off = _off(choice, matches)
    fits = matches.verified & (off <= _within(off[agreeing]))
    return PlaneFit(choice, fits, held_out[agreeing])


def _choose(
    matches: ImageMatches, rows: BoolArray, names: tuple[str, str], generator: np.random.Generator
) -> tuple[FitChoice, Float64Array]:
    """Fit some matches, and return how far off each lies from a map that it had no part in."""
    drawn = np.sort(generator.permutation(np.flatnonzero(rows))[:_MOST_MATCHES])
    chosen = matches.take(drawn)
    choice = choose_fit(
        Correspondences(
            lifted(chosen.source_um),
            lifted(chosen.target_um),
            chosen.confidence,
            source=names[0],
            target=names[1],
        )
    )
    held = [held.residuals_um for held in choice.held_out if held.kind is choice.kind]
    off = _off(choice, matches)
    if held:
        # A pair that is there twice is weighed once.
        known = np.isfinite(held[0])
        off[drawn[known]] = held[0][known]
    return choice, off


def _off(choice: FitChoice, matches: ImageMatches) -> Float64Array:
    mapped = choice.transform.map_points(lifted(matches.source_um))[:, 1:]
    return np.asarray(np.linalg.norm(mapped - matches.target_um, axis=1))


def _within(residuals: Float64Array) -> float:
    """Return how far off a match may lie, judged by those of most."""
    usual = _MEDIANS * float(np.median(residuals))
    return min(max(usual, _LEAST_AGREEMENT_UM), TOLERANCE_UM)
