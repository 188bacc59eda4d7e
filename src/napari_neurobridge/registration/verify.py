"""Matches verified by their geometry in one call: confidences, a threshold, and what stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.image_matches import ImageMatches
from napari_neurobridge.registration.inlier_ratio import estimate_inliers
from napari_neurobridge.registration.verification import GccmVerifier

if TYPE_CHECKING:
    from napari_neurobridge.registration.gccm import Gccm
    from napari_neurobridge.registration.subsets import SubsetConfig
    from napari_neurobridge.types import FloatArray

# Fewer matches hold no subsets to be verified by.
_FEWEST = 8


@dataclass(frozen=True, eq=False)
class Verification:
    """What the geometry of matches says of them.

    Attributes
    ----------
    confidence : ndarray, shape (N,)
        C of each match, 0 to 1.
    probability : ndarray, shape (N,)
        That the match is right, at the estimated inlier ratio.
    threshold : float
        Matches of a higher confidence are kept.
    kept : ndarray of bool, shape (N,)
    inlier_ratio : float
        Estimated share of right matches among all N.
    """

    confidence: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    threshold: float
    kept: npt.NDArray[np.bool_]
    inlier_ratio: float


def verified_matches(
    source_um: npt.NDArray[np.float64],
    target_um: npt.NDArray[np.float64],
    probability: npt.NDArray[np.float64],
    counts: tuple[int, int],
    *,
    gccm: Gccm,
    margin: float | None = None,
) -> ImageMatches:
    """Return matches of two planes with their geometric consistency; too few are not verified.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (K, 2)
    probability : ndarray, shape (K,)
        As the matcher says; taken as 0 or 1 where it is beyond.
    counts : (int, int)
        Keypoints of either plane.
    gccm : Gccm
    margin : float, optional
        See `ImageMatches`.
    """
    confidence, threshold, ratio = np.zeros(len(source_um)), 0.0, 0.0
    if len(source_um) >= _FEWEST:
        judged = verify(source_um, target_um, gccm=gccm)
        confidence, threshold, ratio = judged.confidence, judged.threshold, judged.inlier_ratio
    return ImageMatches(
        source_um,
        target_um,
        probability=probability.clip(0, 1),
        confidence=confidence,
        threshold=threshold,
        inlier_ratio=ratio,
        n_source=counts[0],
        n_target=counts[1],
        margin=margin,
    )


def verify(
    source_um: FloatArray,
    target_um: FloatArray,
    *,
    gccm: Gccm,
    threshold: float | Literal["fixed", "adaptive"] = "fixed",
    subsets: SubsetConfig | None = None,
    seed: int = 0,
) -> Verification:
    """Judge matches by their coordinates alone.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (N, D)
        The two places of each match, µm, in the axis order of the space; at least K matches.
    gccm : Gccm
        Of as many dimensions (`load_gccm` of `bundled_verifier`).
    threshold : "fixed", "adaptive" or float
        Of the confidence: where a match is as likely right as wrong over all inlier ratios that
        the module was measured at, or at the ratio that the confidences tell, or any other. Where
        fewer than a quarter are right, the adaptive one keeps hardly any.
    subsets : SubsetConfig, optional
        Other numbers of subsets than the module's own.
    seed : int
        Of the subsets.

    Raises
    ------
    InputError
        If there are too few matches, or some are not finite, or the threshold is none.
    """
    if isinstance(threshold, str):
        if threshold not in ("adaptive", "fixed"):
            raise InputError(f"A threshold is 'adaptive', 'fixed' or a number, not '{threshold}'.")
    elif not np.isfinite(threshold):
        raise InputError("The threshold of the confidence is not a finite number.")
    confidence = GccmVerifier(gccm, seed=seed, subsets=subsets).score(source_um, target_um)
    estimate = estimate_inliers(confidence, gccm.config.responses)
    if isinstance(threshold, str):
        limit = estimate.tau if threshold == "adaptive" else gccm.config.tau
    else:
        limit = float(threshold)
    return Verification(
        confidence=confidence,
        probability=estimate.probability(confidence),
        threshold=limit,
        kept=confidence > limit,
        inlier_ratio=estimate.inlier_ratio,
    )
