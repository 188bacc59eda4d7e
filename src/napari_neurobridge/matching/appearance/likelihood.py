"""How much more likely two crops look so alike if they show the same cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.spatial import cKDTree
from scipy.special import log_expit, logsumexp

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.mutual import TEMPERATURE
from napari_neurobridge.spaces.affine import as_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.models.model_folder import ModelCalibration

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

COHORT = 12
"""Neighbours on either side that a pair is compared with."""

LIMIT = 5.0
"""No appearance says more than this, log likelihood ratio."""

_PAIRS_AT_ONCE = 1024
# Up to so many pairs in all, 200 MB, all cosines are made at once, which is faster.
_FEW_PAIRS = 50_000_000
_NEGATIVES = 10
# How far accepted pairs may move a fit from the known one, as standard deviations of the
# log of the weight and of the offset.
_WEIGHT_SD, _OFFSET_SD = 0.5, 0.7


class Margins:
    """How much more alike a query and a candidate are than either with the other's neighbours.

    The crops of neighbours overlap, so whatever lies in the spatial gate is somewhat
    alike, and a crop without features is alike to everything. A pair's cosine similarity
    is therefore taken relative to the query's with the candidate's nearest neighbours, and
    the candidate's with the query's: the mean of the two soft maxima, as `mutual` does it
    for whole scenes. It needs no alignment and does not depend on the gallery's size.

    Parameters
    ----------
    query_embeddings, gallery_embeddings : ndarray, shape (N, D) and (M, D)
        Unit vectors; a row that is not finite or zero has no image.
    queries_um, gallery_um : array_like, shape (N, 3) and (M, 3)
        µm (z, y, x), each side in its own space.

    Raises
    ------
    InputError
        If the lengths do not fit.

    Notes
    -----
    What was computed is kept: memory grows with the pairs that were asked about.
    """

    def __init__(
        self,
        query_embeddings: npt.ArrayLike,
        gallery_embeddings: npt.ArrayLike,
        queries_um: npt.ArrayLike,
        gallery_um: npt.ArrayLike,
    ) -> None:
        places = [as_points(side) for side in (queries_um, gallery_um)]
        vectors = [np.asarray(e, np.float32) for e in (query_embeddings, gallery_embeddings)]
        if [len(p) for p in places] != [len(v) for v in vectors]:
            raise InputError("Appearance needs one embedding for each soma.")
        if any(v.ndim != 2 for v in vectors) or vectors[0].shape[1] != vectors[1].shape[1]:
            raise InputError("The embeddings of the two sides differ in length.")
        self.gallery_um = places[1]
        self._known = [_has_image(side) for side in vectors]
        self._vectors = [
            np.where(known[:, None], v, 0.0).astype(np.float32)
            for known, v in zip(self._known, vectors, strict=True)
        ]
        self._near = [
            _neighbours(place, known) for place, known in zip(places, self._known, strict=True)
        ]
        few = len(places[0]) * len(places[1]) <= _FEW_PAIRS
        self._all = self._vectors[0] @ self._vectors[1].T if few else None
        self._keys = np.empty(0, dtype=np.int64)
        self._values = np.empty(0)

    def __call__(self, queries: RowArray, candidates: RowArray) -> Float64Array:
        """Return the margins of some pairs.

        Parameters
        ----------
        queries : ndarray of int, shape (N,)
        candidates : ndarray of int, shape (N, K)

        Returns
        -------
        ndarray, shape (N, K)
            On the scale of cosines; NaN where either has no image.
        """
        key = np.asarray(queries, dtype=np.int64)[:, None] * len(self.gallery_um) + candidates
        new = np.setdiff1d(key, self._keys)
        if len(new):
            pairs = np.divmod(new, len(self.gallery_um))
            values = self.between(*pairs)
            keys, values = np.append(self._keys, new), np.append(self._values, values)
            order = np.argsort(keys, kind="stable")
            self._keys, self._values = keys[order], values[order]
        found: Float64Array = self._values[np.searchsorted(self._keys, key)]
        return found

    def between(
        self, queries: RowArray, candidates: RowArray, without: RowArray | None = None
    ) -> Float64Array:
        """Return the margins of pairs (P,), as if somata (P,) were not in the gallery."""
        margin = np.full(len(queries), np.nan)
        rows = np.flatnonzero(self._known[0][queries] & self._known[1][candidates])
        for start in range(0, len(rows), _PAIRS_AT_ONCE):
            some = rows[start : start + _PAIRS_AT_ONCE]
            left_out = None if without is None else without[some]
            margin[some] = self._margin(queries[some], candidates[some], left_out)
        return margin

    def _margin(
        self, queries: RowArray, candidates: RowArray, without: RowArray | None
    ) -> Float64Array:
        others, rivals = self._near[1][candidates], self._near[0][queries]
        there = others >= 0 if without is None else (others >= 0) & (others != without[:, None])
        query, candidate = queries[:, None], candidates[:, None]
        usual = _soft_maximum(self._cosine(query, others), there)
        usual += _soft_maximum(self._cosine(rivals, candidate), rivals >= 0)
        return np.asarray(self._cosine(query, candidate)[:, 0] - usual / 2)

    def _cosine(self, queries: RowArray, candidates: RowArray) -> Float32Array:
        """Return cosines of rows (P, k) and (P, j), one of k and j being 1."""
        if self._all is not None:
            return np.asarray(self._all[queries, candidates])
        here, there = self._vectors[0][queries], self._vectors[1][candidates]
        return np.asarray(here @ there.swapaxes(1, 2)).reshape(len(here), -1)


@dataclass(frozen=True, eq=False)
class Appearance:
    """Log likelihood ratio of appearance, a straight line in the margin.

    Attributes
    ----------
    margins : Margins
    weight : float
        Log likelihood ratio for each unit of the margin, at least 0.
    offset : float
        At margin 0.
    """

    margins: Margins
    weight: float
    offset: float

    def log_ratio(self, queries: RowArray, candidates: RowArray) -> Float64Array:
        """Return the log likelihood ratio of pairs, 0 where either has no image.

        Parameters
        ----------
        queries : ndarray of int, shape (N,)
        candidates : ndarray of int, shape (N, K)

        Returns
        -------
        ndarray, shape (N, K)
            Between `-LIMIT` and `LIMIT`.
        """
        ratio = self.offset + self.weight * self.margins(queries, candidates)
        return np.clip(np.nan_to_num(ratio, nan=0.0), -LIMIT, LIMIT)


FEWEST_TO_FIT_APPEARANCE = 10
"""Pairs without which nothing is said of a model whose likelihood nobody has measured."""

# Of a model of which nothing is known: somewhere about there, give or take a factor of seven.
_UNKNOWN, _UNKNOWN_SPREAD = (10.0, 0.0), (2.0, 2.0)


def appearance_of(
    margins: Margins, pairs: npt.ArrayLike, calibration: ModelCalibration
) -> Appearance | None:
    """Return what a model's margins say, as far as that is known.

    Parameters
    ----------
    margins : Margins
    pairs : array_like of int, shape (L, 2)
        Rows of queries and gallery of accepted pairs that the model was not trained on.
    calibration : ModelCalibration
        Of the model.

    Returns
    -------
    Appearance or None
        ``None`` where the model does not say and there are fewer pairs than
        `FEWEST_TO_FIT_APPEARANCE`.
    """
    known = calibration.likelihood
    if known is not None:
        return fit_appearance(margins, pairs, prior=(known.weight, known.offset))
    if len(np.asarray(pairs).reshape(-1, 2)) < FEWEST_TO_FIT_APPEARANCE:
        return None
    return fit_appearance(margins, pairs, prior=_UNKNOWN, spread=_UNKNOWN_SPREAD)


def fit_appearance(
    margins: Margins,
    pairs: npt.ArrayLike,
    *,
    prior: tuple[float, float],
    spread: tuple[float, float] = (_WEIGHT_SD, _OFFSET_SD),
) -> Appearance:
    """Fit the likelihood ratio to accepted pairs, drawn towards a known one.

    Logistic regression of the partners against the somata nearest to them, which are what
    the gate holds; both count alike, so that the log odds are the log likelihood ratio. The
    neighbours are compared as if the partner were not there, as they are when it is missing.

    Parameters
    ----------
    margins : Margins
    pairs : array_like of int, shape (L, 2)
        Rows of queries and gallery; may be empty.
    prior : tuple of float
        Weight and offset before any pair is seen.
    spread : tuple of float
        Standard deviations of the log of the weight, and of the offset.
    """
    positive, negative = _examples(margins, np.asarray(pairs, dtype=np.intp).reshape(-1, 2))
    return Appearance(margins, *_fit(positive, negative, prior, spread))


def pooled_fit(parts: Sequence[tuple[Margins, npt.ArrayLike]]) -> tuple[float, float]:
    """Return weight and offset that fit the pairs of several fields; what a model folder states."""
    examples = [
        _examples(margins, np.asarray(pairs, dtype=np.intp).reshape(-1, 2))
        for margins, pairs in parts
    ]
    positive, negative = (np.concatenate(side) for side in zip(*examples, strict=True))
    return _fit(positive, negative, _UNKNOWN, (10.0, 10.0))


def _fit(
    positive: Float64Array,
    negative: Float64Array,
    prior: tuple[float, float],
    spread: tuple[float, float],
) -> tuple[float, float]:
    """Return the most probable weight and offset."""
    if not len(positive) or not len(negative):
        return prior
    share = len(positive) / len(negative)

    def cost(about: Float64Array) -> float:
        weight, offset = prior[0] * np.exp(about[0]), prior[1] + about[1]
        right = log_expit(weight * positive + offset).sum()
        wrong = share * log_expit(-weight * negative - offset).sum()
        away = (about[0] / spread[0]) ** 2 + (about[1] / spread[1]) ** 2
        return float(away / 2 - right - wrong)

    about = minimize(cost, np.zeros(2), method="L-BFGS-B", bounds=[(-4, 4), (-20, 20)]).x
    return float(prior[0] * np.exp(about[0])), float(prior[1] + about[1])


def _examples(margins: Margins, pairs: RowArray) -> tuple[Float64Array, Float64Array]:
    """Return the margins of partners, and of the somata around them."""
    query, partner = pairs.T
    count = min(_NEGATIVES + 1, len(margins.gallery_um))
    if not len(pairs) or count < 2:
        return np.empty(0), np.empty(0)
    near = cKDTree(margins.gallery_um).query(margins.gallery_um[partner], k=np.arange(1, count + 1))
    others = np.asarray(near[1])
    queries, partners = (np.broadcast_to(side[:, None], others.shape) for side in (query, partner))
    wrong = others != partners
    negative = margins.between(queries[wrong], others[wrong], partners[wrong])
    positive = margins.between(query, partner)
    return positive[np.isfinite(positive)], negative[np.isfinite(negative)]


def _has_image(vectors: Float32Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))


def _neighbours(points: Float64Array, known: npt.NDArray[np.bool_]) -> RowArray:
    """Return the nearest somata with an image of each soma (N, `COHORT`), -1 for no more."""
    near = np.full((len(points), COHORT), -1, dtype=np.intp)
    rows = np.flatnonzero(known)
    count = min(COHORT + 1, len(rows))
    if count < 2:
        return near
    found = rows[cKDTree(points[rows]).query(points, k=np.arange(1, count + 1))[1]]
    # Itself goes, or the farthest if it is not listed: it has no image, or shares a place.
    itself = found == np.arange(len(points))[:, None]
    itself[~itself.any(axis=1), -1] = True
    near[:, : count - 1] = found[~itself].reshape(len(points), count - 1)
    return near


def _soft_maximum(similarity: Float32Array, there: npt.NDArray[np.bool_]) -> Float64Array:
    """Return log-mean-exp over those that are there (P, k), 0 where there is none."""
    count = there.sum(axis=1)
    total = logsumexp(similarity / TEMPERATURE, axis=1, b=np.where(there, 1.0, 1e-300))
    usual = TEMPERATURE * (total - np.log(np.maximum(count, 1)))
    return np.where(count > 0, usual, 0.0)
