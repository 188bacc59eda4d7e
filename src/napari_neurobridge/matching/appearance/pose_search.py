"""One in-plane angle for a whole field, found by appearance before any pair is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.mutual import mutual_similarity

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_neurobridge.types import Float32Array, FloatArray, Report

NEEDED_DEVIATIONS = 6.0
"""By how much the best angle must stand out before it is proposed.

Chosen on scenes 10 to 13 of level `paper` and 10 and 11 of level `hard`: the crops of one scene
against those of another, where no angle is right, reached 5.7 in 570 searches with 12 to 53
cells; right angles reached 13.7 to 27 with 53 cells (`paper`) and 5 (`hard`).
"""
FEWEST_QUERIES = 20
"""With fewer cells, chance comes near what a right angle reaches."""

_COARSE_DEG = 10.0
_FINE_DEG = 5.0
# The peak of a right angle is about 35 degrees wide at half its height.
_PEAK_DEG = 30.0
_QUARTERS = 4


@dataclass(frozen=True)
class AngleSearch:
    """The best angle, and how far it stands out.

    Attributes
    ----------
    angle_deg : float
        Best angle, in [-180, 180); of the finer search where it is known, else one of the
        angles tried.
    best, others, others_sd : float
        `decidedness` at the best angle of the coarse search; mean and standard deviation over
        its angles more than 30° from it.
    n_queries, n_gallery : int
        Crops compared.
    """

    angle_deg: float
    best: float
    others: float
    others_sd: float
    n_queries: int
    n_gallery: int

    @property
    def deviations(self) -> float:
        """Standard deviations by which the best angle exceeds the others."""
        return (self.best - self.others) / max(self.others_sd, 1e-9)

    @property
    def known(self) -> bool:
        """Whether the best angle stands out enough to be proposed."""
        return self.n_queries >= FEWEST_QUERIES and self.deviations >= NEEDED_DEVIATIONS

    @property
    def proposal_deg(self) -> float | None:
        """The angle to propose, in whole degrees; ``None`` where it is not known."""
        return float(round(self.angle_deg)) if self.known else None


def mutual_choices(similarity: FloatArray) -> FloatArray:
    """Return the probability that two crops choose each other, shape (N, M).

    Parameters
    ----------
    similarity : ndarray, shape (N, M)
        Cosine similarity of every query with every candidate.

    Returns
    -------
    ndarray, shape (N, M)
        p(candidate | query) times p(query | candidate); see `mutual_similarity`.
    """
    return np.asarray(np.exp(2 * mutual_similarity(similarity)))


def decidedness(similarity: FloatArray) -> float:
    """Return how far queries and candidates choose each other, from 0 to 1.

    Parameters
    ----------
    similarity : ndarray, shape (N, M)
        Cosine similarity of every query with every candidate.

    Returns
    -------
    float
        Mean over the queries of the sum of their `mutual_choices`: 1 where each query has one
        candidate, which has it alone.
    """
    return float(mutual_choices(similarity).sum(axis=1).mean())


def quarter_turned(embeddings: Float32Array, quarters: int) -> Float32Array:
    """Return the embeddings of crops turned by quarter turns, without embedding them.

    Parameters
    ----------
    embeddings : ndarray, shape (N, dim)
        Of an encoder that puts the vectors of four quarter turns side by side.
    quarters : int
        How often the crops are turned as ``numpy.rot90`` turns rows towards columns.

    Returns
    -------
    ndarray, shape (N, dim)
    """
    blocks = embeddings.reshape(len(embeddings), _QUARTERS, -1)
    return np.roll(blocks, -quarters, axis=1).reshape(embeddings.shape)


def search_pose(
    embed_at: Callable[[float], Float32Array],
    gallery: Float32Array,
    *,
    views: int,
    report: Report | None = None,
) -> AngleSearch:
    """Find the angle at which the queries are most decided about their partners.

    One angle for all queries: the best angle of each pair by itself would give every wrong
    pair its luckiest pose. Every 10° of the full circle is tried. Where the best of these stands
    out, 5° to either side are tried too, and the result is where a parabola through the similarity
    of the pairs that choose each other is highest.

    Parameters
    ----------
    embed_at : callable
        Takes an angle in degrees and returns the unit vectors (N, dim) of the queries' crops
        turned by it, as `numpy.rot90` turns by 90.
    gallery : ndarray, shape (M, dim)
        Unit vectors of the other side's crops, as they are.
    views : int
        Quarter turns that the encoder puts side by side in a vector. With 4, turning by 90°
        permutes the vector, and only a quarter of the circle is embedded.
    report : callable, optional
        Called as ``report(done, total, text)``; it may raise to cancel.

    Returns
    -------
    AngleSearch

    Raises
    ------
    InputError
        If either side is empty.
    """
    if not len(gallery):
        raise InputError("There are no crops to compare the queries with.")
    quarters = _QUARTERS if views == _QUARTERS else 1
    turned = _coarse(embed_at, gallery, quarters, report)
    tried = {angle: decidedness(queries @ gallery.T) for angle, queries in turned.items()}
    best = max(tried, key=tried.__getitem__)
    others = [value for angle, value in tried.items() if _apart(angle, best) > _PEAK_DEG]
    coarse = AngleSearch(
        angle_deg=best,
        best=tried[best],
        others=float(np.mean(others)),
        others_sd=float(np.std(others)),
        n_queries=len(turned[best]),
        n_gallery=len(gallery),
    )
    if not coarse.known:
        return coarse
    total = len(turned) // quarters + 2
    for done, angle in ((total - 2, best - _FINE_DEG), (total - 1, best + _FINE_DEG)):
        _tell(report, done, total)
        turned[_wrapped(angle)] = embed_at(angle)
    _tell(report, total, total)
    return replace(coarse, angle_deg=_refined(turned, gallery, best))


def _coarse(
    embed_at: Callable[[float], Float32Array],
    gallery: Float32Array,
    quarters: int,
    report: Report | None,
) -> dict[float, Float32Array]:
    """Return the queries' vectors at each angle of the full circle."""
    turned: dict[float, Float32Array] = {}
    n_coarse = round(360 / quarters / _COARSE_DEG)
    for done in range(n_coarse):
        _tell(report, done, n_coarse + 2)
        angle = done * _COARSE_DEG
        queries = embed_at(angle)
        if not len(queries):
            raise InputError("There are no crops to turn.")
        for quarter in range(quarters):
            turned[_wrapped(angle + 90.0 * quarter)] = (
                quarter_turned(queries, quarter) if quarter else queries
            )
    return turned


def _refined(turned: dict[float, Float32Array], gallery: Float32Array, best: float) -> float:
    """Return where the pairs that choose each other are most alike.

    Their similarity, weighted by how sure the choice is, changes more smoothly with the angle
    than the choices themselves. Pairs and angle are taken in turns, until the pairs stay.
    """
    near = {
        angle: vectors @ gallery.T
        for angle, vectors in turned.items()
        if _apart(angle, best) <= _COARSE_DEG
    }
    middle, peak = best, best
    for _ in near:
        weights = mutual_choices(near[middle])
        alike = [
            (_wrapped(angle - best), float((weights * similarity).sum()))
            for angle, similarity in near.items()
        ]
        offsets, values = np.array(alike, dtype=np.float64).T
        curvature, slope, _ = np.polyfit(offsets, values, 2)
        if curvature >= 0:
            return best
        offset = float(np.clip(-slope / (2 * curvature), -_COARSE_DEG, _COARSE_DEG))
        peak = _wrapped(best + offset)
        nearest = min(near, key=lambda angle: _apart(angle, peak))
        if nearest == middle:
            break
        middle = nearest
    return peak


def _wrapped(angle: float) -> float:
    return (float(angle) + 180.0) % 360.0 - 180.0


def _apart(first: float, second: float) -> float:
    return abs(_wrapped(first - second))


def _tell(report: Report | None, done: int, total: int) -> None:
    if report is not None:
        report(done, total, "trying angles")
