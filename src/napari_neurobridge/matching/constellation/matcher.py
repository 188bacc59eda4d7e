"""A first match of two fields without any landmark, from the constellation of their somata."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.constellation.any_turn import TurnParams, TurnSearch, search_turns
from napari_neurobridge.matching.constellation.flat_space import is_sheet
from napari_neurobridge.matching.constellation.model import (
    Constellation,
    embedding_codes,
    load_constellation,
)
from napari_neurobridge.matching.constellation.seeded import FEWEST, NOTHING, SeededMatch, grow
from napari_neurobridge.matching.constellation.window_search import (
    SearchParams,
    SearchSpace,
    WindowResult,
    search_windows,
)
from napari_neurobridge.matching.constellation.windows import one_to_one
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import CONSTELLATION
from napari_neurobridge.models.zoo import find_model
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_neurobridge.registration.pair_looks import Looks
    from napari_neurobridge.types import FloatArray, Report

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Half of the somata that agree on a map are not seeds: they test what the seeds lead to.
_MOST_SEEDS = 24
# Evidence of so many margins ends a search.
_STOP_AT_MARGINS = 2.0


@dataclass(frozen=True)
class ConstellationParams:
    """How much is tried, and when it is known.

    Attributes
    ----------
    search : SearchParams
        By the network, in volumes.
    turns : TurnParams
        At all angles about the optical axis.
    propagations_per_window : int
        So many of the best maps of each window start a propagation.
    min_confidence : float
        Of a match that is handed on.
    min_evidence_ratio : float
        The evidence must be so many times that of the mirrored gallery,
    evidence_margin, evidence_margin_per_query : float
        and exceed it by so much, and by so much for each query.
    """

    search: SearchParams = field(default_factory=SearchParams)
    turns: TurnParams = field(default_factory=TurnParams)
    propagations_per_window: int = 2
    min_confidence: float = 0.5
    min_evidence_ratio: float = 2.0
    evidence_margin: float = 12.0
    evidence_margin_per_query: float = 0.25


@dataclass(frozen=True, eq=False)
class ConstellationMatch:
    """What a field's constellation says without any landmark.

    Attributes
    ----------
    pairs : ndarray of int, shape (L, 2)
        Rows of queries and gallery, one-to-one, the surest first; none unless ``known``.
        What is not in it has no partner.
    confidence : ndarray, shape (L,)
        Probability of each.
    known : bool
        Whether the evidence is more than chance gives.
    reason : str
        Why, in a sentence.
    evidence, decoy_evidence : float
        Log probability of the gallery about the mapped queries, over chance. The same for
        a mirrored gallery, in which nothing can be right, which is not asked, and 0, if the
        evidence alone is too little; at all angles, for the best map that contradicts.
    network_rows : ndarray of int, shape (W,)
        Queries in the windows that were searched.
    network_pairs, network_confidence : ndarray, shape (K, 2) and (K,)
        What it alone matches there.
    proposals : tuple of ndarray of int, shape (L, 2)
        See `TurnSearch`; where all angles were tried.
    """

    pairs: RowArray
    confidence: Float64Array
    known: bool
    reason: str
    evidence: float
    decoy_evidence: float
    network_rows: RowArray
    network_pairs: RowArray
    network_confidence: Float64Array
    proposals: tuple[RowArray, ...] = ()


def match_constellation(
    queries_um: npt.ArrayLike,
    gallery_um: npt.ArrayLike,
    *,
    orientation: FloatArray | None,
    query_embeddings: npt.ArrayLike | None = None,
    gallery_embeddings: npt.ArrayLike | None = None,
    model: Constellation | Path | str | None = None,
    params: ConstellationParams | None = None,
    looks: Looks | None = None,
    report: Report | None = None,
) -> ConstellationMatch:
    """Match two fields of somata without any landmark, or say that it cannot be known.

    Where a side is a plane or sheet, or no orientation is stated, neighbourhoods are looked for
    at all angles about the optical axis; see `search_turns`. Otherwise the network matches
    windows of both sides; the affine map on which most of its matches agree starts a propagation
    over the field; what the field then explains must be far more than what the same search finds
    in the mirrored gallery.

    Parameters
    ----------
    queries_um, gallery_um : array_like, shape (N, 3) and (M, 3)
        Somata of either side, µm (z, y, x), each in its own space.
    orientation : ndarray, shape (3, 3), or None
        Rough linear part of the map from queries to gallery: rotation right to about 30°, in a
        plane to 45°, each axis' scale to about 30 %, handedness exact. None where nobody knows.
    query_embeddings, gallery_embeddings : array_like, shape (N, D) and (M, D), optional
        What the somata look like.
    model : Constellation, Path or str, optional
        A network, its folder or its name; the bundled one unless given.
    params : ConstellationParams, optional
    looks : callable, optional
        What pairs of somata look like where all angles are tried; see `search_turns`.
    report : callable, optional
        Called as ``report(done, total, message)``.

    Raises
    ------
    InputError
        If a point is no finite number, the orientation is not (3, 3) and invertible, or
        only one side has embeddings.
    """
    queries, gallery = as_points(queries_um), as_points(gallery_um)
    linear = None if orientation is None else _orientation(orientation)
    if min(len(queries), len(gallery)) < FEWEST:
        return _unknown(f"A constellation needs at least {FEWEST} somata on either side.")
    params = params or ConstellationParams()
    flat = is_sheet(queries) or is_sheet(gallery)
    if flat or linear is None:
        turned = search_turns(
            queries,
            gallery,
            orientation=linear,
            params=params.turns,
            looks=looks,
            report=report,
        )
        if flat or turned.known:
            return _of_turns(queries, gallery, turned, params)
        linear = np.eye(3)
    network = model if isinstance(model, Constellation) else _load(model)
    codes = _codes(query_embeddings, gallery_embeddings, (len(queries), len(gallery)), network)
    search = _FieldSearch(queries, linear, codes, network, params)
    found = search.run(gallery, partial(_report, report, "the gallery", 0))
    if found.best.evidence <= search.margin:
        return _result(found, 0.0, known=False, n_queries=len(queries))
    mirrored = gallery @ _mirror(queries @ linear.T)
    decoy = search.run(mirrored, partial(_report, report, "its mirror image", 1))
    chance = decoy.best.evidence
    known = found.best.evidence > max(params.min_evidence_ratio * chance, chance + search.margin)
    return _result(found, chance, known=known, n_queries=len(queries))


def _mirror(points: Float64Array) -> Float64Array:
    """Return the reflection (3, 3) along the widest extent: a plane of points is changed, too."""
    axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    return np.asarray(np.eye(3) - 2 * np.outer(axis, axis))


def _report(report: Report | None, where: str, number: int, done: int, total: int) -> None:
    if report is not None:
        report(number * total + done, 2 * total, f"looking for the field in {where}")


@lru_cache(maxsize=2)
def _load(name: Path | str | None) -> Constellation:
    return load_constellation(bundled_model(CONSTELLATION) if name is None else find_model(name))


def _orientation(orientation: FloatArray) -> Float64Array:
    linear = np.asarray(orientation, dtype=np.float64)
    if linear.shape != (3, 3) or not np.isfinite(linear).all():
        raise InputError("The orientation must be a (3, 3) matrix of finite numbers.")
    if abs(np.linalg.det(linear)) < 1e-6:
        raise InputError("The orientation must be invertible.")
    return linear


def _codes(
    first: npt.ArrayLike | None,
    second: npt.ArrayLike | None,
    counts: tuple[int, int],
    network: Constellation,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    if (first is None) != (second is None):
        raise InputError("Embeddings must be given for both sides or for neither.")
    if first is None or second is None:
        return None
    codes = embedding_codes(first, second, network.config.code)
    if (len(codes[0]), len(codes[1])) != counts:
        raise InputError("There must be one embedding for each soma.")
    return codes


def _unknown(reason: str, evidence: float = 0.0, chance: float = 0.0) -> ConstellationMatch:
    pairs, confidence, rows = NOTHING.pairs, NOTHING.confidence, np.empty(0, dtype=np.intp)
    return ConstellationMatch(
        pairs, confidence, False, reason, evidence, chance, rows, pairs, confidence
    )


@dataclass(frozen=True, eq=False)
class _SearchResult:
    """The best of a search of one gallery."""

    best: SeededMatch
    windows: tuple[WindowResult, ...]


@dataclass(frozen=True, eq=False)
class _FieldSearch:
    """What the searches of the gallery and of its mirror image have in common."""

    queries_um: Float64Array
    orientation: Float64Array
    codes: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None
    network: Constellation
    params: ConstellationParams

    @property
    def margin(self) -> float:
        """By how much the evidence must exceed what chance gives."""
        params = self.params
        return params.evidence_margin + params.evidence_margin_per_query * len(self.queries_um)

    def run(self, gallery_um: Float64Array, report: Callable[[int, int], None]) -> _SearchResult:
        """Search windows and propagate from the best maps, until one is beyond doubt."""
        space = SearchSpace.of(self.queries_um @ self.orientation.T, gallery_um, self.codes)
        best = NOTHING
        windows: list[WindowResult] = []
        total = self.params.search.query_windows
        report(0, total)
        for one in search_windows(space, self.network, self.params.search):
            windows.append(one)
            for affine in one.maps[: self.params.propagations_per_window]:
                seeds = affine.matches(space.queries, space.gallery)[::2][:_MOST_SEEDS]
                match = grow(
                    self.queries_um,
                    gallery_um,
                    seeds,
                    affine.linear @ self.orientation,
                    min_confidence=self.params.min_confidence,
                )
                best = max(best, match, key=lambda one: one.evidence)
                if best.evidence > _STOP_AT_MARGINS * self.margin:
                    return _SearchResult(best, tuple(windows))
            report(len(windows), total)
        return _SearchResult(best, tuple(windows))


def _of_turns(
    queries: Float64Array, gallery: Float64Array, turned: TurnSearch, params: ConstellationParams
) -> ConstellationMatch:
    """Return what grows from a search of all turns."""
    if not turned.known:
        unknown = _unknown(turned.reason, turned.evidence, turned.other_evidence)
        return replace(unknown, proposals=turned.proposals)
    match = grow(
        queries, gallery, turned.seeds, turned.linear, min_confidence=params.min_confidence
    )
    if not len(match.pairs):
        return _unknown("The neighbourhoods of the somata agree on no common map.")
    rows = np.empty(0, dtype=np.intp)
    return ConstellationMatch(
        match.pairs,
        match.confidence,
        True,
        turned.reason,
        turned.evidence,
        turned.other_evidence,
        rows,
        NOTHING.pairs,
        NOTHING.confidence,
        turned.proposals,
    )


def _result(
    found: _SearchResult, chance: float, *, known: bool, n_queries: int
) -> ConstellationMatch:
    evidence, pairs = found.best.evidence, found.best.pairs
    if known:
        reason = (
            f"{len(pairs)} of {n_queries} somata agree on one map; the evidence is "
            f"{evidence:.0f}, and {chance:.0f} in the mirrored gallery."
        )
    else:
        against = f", and {chance:.0f} in the mirrored gallery" if chance else ""
        reason = (
            "The somata do not say how the fields lie on each other: the evidence is only "
            f"{evidence:.0f}{against}. Match a few by hand."
        )
    network_pairs, confidence = one_to_one(
        np.concatenate([one.pairs for one in found.windows]),
        np.concatenate([one.confidence for one in found.windows]),
    )
    return ConstellationMatch(
        pairs if known else pairs[:0],
        found.best.confidence if known else found.best.confidence[:0],
        known,
        reason,
        evidence,
        chance,
        np.unique(np.concatenate([one.rows for one in found.windows])),
        network_pairs,
        confidence,
    )
