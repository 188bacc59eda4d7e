"""A ranking's numbers in words: for a candidate's line, for its tooltip, and beside the list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.matching.wording import percent
from napari_neurobridge.types import DEFAULT_NAMES, Basis, Role

if TYPE_CHECKING:
    from napari_neurobridge.types import Candidate, Expected, Ranking


_SHOWN = {
    DEFAULT_NAMES[Role.IN_VIVO]: "the two-photon field",
    DEFAULT_NAMES[Role.EX_VIVO]: "the fMOST volume",
}


def why(ranking: Ranking, candidate: Candidate) -> str:
    """Return sentences, one a line, on one candidate of a ranking."""
    lines = []
    if candidate.probability is not None:
        lines.append(f"Probability that this is the same cell: {percent(candidate.probability)}.")
    if candidate.residual_um is not None:
        lines.append(_distance(ranking, candidate.residual_um))
    if candidate.similarity is not None:
        lines.append(f"Similarity of the two crops: {candidate.similarity:.2f} (1 = identical).")
        if ranking.basis is Basis.APPEARANCE:
            everyone = f"all somata in {ranking.gallery_dataset}"
            lines.append(f"Number {candidate.rank} of {everyone} by similarity.")
    if ranking.p_none is not None:
        lines.append(f"Probability that no soma is this cell: {percent(ranking.p_none)}.")
    if ranking.note:
        lines.append(ranking.note)
    return "\n".join(lines)


def why_none(ranking: Ranking) -> str:
    """Return in a few words what speaks for none of the candidates; empty if nothing does."""
    if not ranking.outside:
        return ""
    gallery = ranking.gallery_dataset
    shown = _SHOWN.get(gallery, f"what '{gallery}' shows")
    return f"expected outside {shown}"


def measured(ranking: Ranking, candidate: Candidate) -> str:
    """Return a candidate's distance and similarity, what orders the ranking first."""
    parts = []
    if candidate.residual_um is not None:
        parts.append(f"distance {candidate.residual_um:.1f} µm")
    if candidate.similarity is not None:
        parts.append(f"similarity {candidate.similarity:.2f}")
    if ranking.basis is Basis.APPEARANCE:
        parts.reverse()
    return "   ".join(parts)


def notes(ranking: Ranking, near: tuple[float, int] | None) -> tuple[str, ...]:
    """Return how much a ranking leaves open, a sentence each.

    Parameters
    ----------
    ranking : Ranking
    near : (float, int) or None
        See `surroundings.near_expected`.
    """
    lines = []
    if near is not None:
        reach_um, n_somata = near
        somata = "1 soma" if n_somata == 1 else f"{n_somata} somata"
        lines.append(f"within ±{reach_um:.0f} µm of the expected place: {somata}")
    if ranking.note:
        lines.append(ranking.note)
    return tuple(lines)


def spread_um(expected: Expected) -> float:
    """Return one standard deviation of an expected place, over all directions."""
    return float(np.sqrt(np.trace(np.array(expected.covariance_um2)) / 3))


def _distance(ranking: Ranking, residual_um: float) -> str:
    if ranking.basis is Basis.DISTANCE:
        return f"{residual_um:.0f} µm from the place that the alignment predicts."
    spread = "" if ranking.expected is None else f" (± {spread_um(ranking.expected):.1f} µm)"
    return f"{residual_um:.1f} µm from the place that the other matches predict{spread}."
