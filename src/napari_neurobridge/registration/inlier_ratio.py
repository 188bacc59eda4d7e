"""How many matches are right, and where to cut, from the confidences of one set of matches.

At an inlier ratio ρ a right match meets K - 1 others in a subset that are all right with a
chance of ρ to the power K - 1 only: confidences of right and wrong matches sink with ρ, and no
fixed threshold suits all images. Their mean over all matches rises with ρ, whatever is right;
read backwards through what was measured at known ratios, it tells ρ, and ρ the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.registration.gccm import InlierResponse
    from napari_neurobridge.types import FloatArray


@dataclass(frozen=True)
class InlierEstimate:
    """What the confidences of one set of matches say of all of them.

    Attributes
    ----------
    inlier_ratio : float
        ρ, the share of matches that are right.
    tau : float
        Confidence above which a match is likelier right than wrong.
    width : float
        Confidence above ``tau`` for which the log odds rise by 1.
    """

    inlier_ratio: float
    tau: float
    width: float

    def probability(self, confidence: FloatArray) -> npt.NDArray[np.float64]:
        """Return the probability that matches of these confidences are right."""
        return np.asarray(expit((np.asarray(confidence) - self.tau) / self.width))


def estimate_inliers(confidence: FloatArray, responses: Sequence[InlierResponse]) -> InlierEstimate:
    """Return the inlier ratio that explains the mean confidence, and its threshold.

    Between the measured ratios all is linear; beyond them the first or last counts.

    Parameters
    ----------
    confidence : ndarray, shape (N,)
        Of all matches, before any is left out.
    responses : sequence of InlierResponse
        By rising ratio, with rising means.

    Raises
    ------
    InputError
        If there is no match, or it was never measured what confidences mean.
    """
    if not len(responses):
        raise InputError("This module's confidences were never measured at known inlier ratios.")
    if not np.size(confidence):
        raise InputError("The inlier ratio of no matches cannot be estimated.")
    mean = float(np.mean(confidence))
    means = [row.mean for row in responses]

    def at(name: str) -> float:
        return float(np.interp(mean, means, [getattr(row, name) for row in responses]))

    return InlierEstimate(at("inlier_ratio"), at("tau"), at("width"))
