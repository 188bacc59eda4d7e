"""Why a candidate stands where it stands, in words for a tooltip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.types import Basis

if TYPE_CHECKING:
    from napari_neurobridge.types import Candidate, Expected, Ranking


def why(ranking: Ranking, candidate: Candidate) -> str:
    """Return sentences, one a line, on one candidate of a ranking."""
    lines = []
    if candidate.probability is not None:
        lines.append(f"{percent(candidate.probability)} that this is the cell.")
    if candidate.residual_um is not None:
        lines.append(_distance(ranking, candidate.residual_um))
    if candidate.similarity is not None:
        lines.append(f"The crops look {candidate.similarity:.2f} alike (1 is identical).")
        if ranking.basis is Basis.APPEARANCE:
            lines.append(f"Number {candidate.rank} of all somata in {ranking.gallery_dataset} so.")
    if ranking.p_none is not None:
        lines.append(f"{percent(ranking.p_none)} that no soma there is the cell.")
    if ranking.note:
        lines.append(ranking.note)
    return "\n".join(lines)


def percent(probability: float) -> str:
    """Return a probability as a person reads it; never 0 % or 100 %, which nothing is."""
    if probability < 0.01:
        return "< 1 %"
    if probability > 0.99:
        return "> 99 %"
    return f"{probability:.0%}".replace("%", " %")


def spread_um(expected: Expected) -> float:
    """Return one standard deviation of an expected place, over all directions."""
    return float(np.sqrt(np.trace(np.array(expected.covariance_um2)) / 3))


def _distance(ranking: Ranking, residual_um: float) -> str:
    if ranking.basis is Basis.DISTANCE:
        return f"{residual_um:.0f} µm from where the cell should lie."
    spread = "" if ranking.expected is None else f" (± {spread_um(ranking.expected):.1f} µm)"
    return f"{residual_um:.1f} µm from where the other matches expect it{spread}."
