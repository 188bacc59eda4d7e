"""A posterior read from both sides: whose partner a query is, and whose a soma of the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from napari_neurobridge.matching.posterior import Posterior

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class PartnerPosterior:
    """What is known about the partner of one soma.

    Attributes
    ----------
    rows : ndarray of int, shape (K,)
        Somata of the other side, the most probable first.
    probability : ndarray, shape (K,)
    none : float
        That the other side does not hold the cell.
    beyond : float
        That it is a soma that is not listed.
    """

    rows: RowArray
    probability: Float64Array
    none: float
    beyond: float

    def mass_above(self, share: float) -> float:
        """Return the probability of all answers that are more probable than ``share``."""
        answers = np.array([*self.probability, self.none, self.beyond])
        return float(min(answers[answers > share].sum(), 1.0))


@dataclass(frozen=True, eq=False)
class PosteriorSummary:
    """The answers of all N somata of one side, in short.

    Attributes
    ----------
    first, second : ndarray, shape (N,)
        Probabilities of the two most probable candidates.
    none, beyond : ndarray, shape (N,)
        As in `PartnerPosterior`.
    bits : ndarray, shape (N,)
        Entropy of each answer, all that is not listed being one outcome.
    """

    first: Float64Array
    second: Float64Array
    none: Float64Array
    beyond: Float64Array
    bits: Float64Array


@dataclass(frozen=True, eq=False)
class PosteriorReader:
    """The answers of N queries and of M somata of the gallery.

    A soma of the gallery has as partner the query that it is the partner of; what no query
    takes of it is shared between none and the queries that may be anywhere.

    Attributes
    ----------
    posterior : Posterior
        Of the queries.
    n_gallery : int
    """

    posterior: Posterior
    n_gallery: int

    def of_query(self, row: int) -> PartnerPosterior:
        """Return the answer of a query."""
        found = self.posterior
        listed = found.probability[row] > 0
        return PartnerPosterior(
            found.rows[row][listed],
            found.probability[row][listed],
            float(found.none[row]),
            float(found.beyond[row]),
        )

    def of_gallery(self, row: int) -> PartnerPosterior:
        """Return the answer of a soma of the gallery."""
        table = self._by_gallery
        place = slice(table.indptr[row], table.indptr[row + 1])
        rows, probability = table.indices[place].astype(np.intp), table.data[place]
        order = np.argsort(-probability, kind="stable")
        none, beyond = self._left(probability.sum())
        return PartnerPosterior(rows[order], probability[order], float(none), float(beyond))

    def summary_of_queries(self) -> PosteriorSummary:
        """Return the answers of all queries in short."""
        found = self.posterior
        top = np.zeros((len(found.none), 2))
        top[:, : found.probability.shape[1]] = found.probability[:, :2]
        bits = _bits(found.probability).sum(axis=1)
        return _summary(top, found.none, found.beyond, bits)

    def summary_of_gallery(self) -> PosteriorSummary:
        """Return the answers of all somata of the gallery in short."""
        table, n_somata = self._by_gallery, self.n_gallery
        count = np.diff(table.indptr)
        soma = np.repeat(np.arange(n_somata), count)
        order = np.lexsort((-table.data, soma))
        place = np.arange(len(soma)) - np.repeat(table.indptr[:-1], count)
        top = np.zeros((n_somata, 2))
        for rank in (0, 1):
            some = order[place == rank]
            top[soma[some], rank] = table.data[some]
        none, beyond = self._left(np.bincount(soma, weights=table.data, minlength=n_somata))
        bits = np.bincount(soma, weights=_bits(table.data), minlength=n_somata).astype(np.float64)
        return _summary(top, none, beyond, bits)

    @cached_property
    def _by_gallery(self) -> csr_array:
        found = self.posterior
        query, column = np.nonzero(found.probability > 0)
        values = found.probability[query, column]
        shape = (self.n_gallery, len(found.none))
        return csr_array((values, (found.rows[query, column], query)), shape=shape)

    def _left(self, taken: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Return none and beyond of somata of the gallery that queries take so much of."""
        left = np.clip(1.0 - np.asarray(taken), 0.0, 1.0)
        unlisted = max(self.n_gallery - self.posterior.rows.shape[1], 1)
        beyond = np.minimum(self.posterior.beyond.sum() / unlisted, left)
        return left - beyond, beyond


def _summary(
    top: Float64Array, none: Float64Array, beyond: Float64Array, bits: Float64Array
) -> PosteriorSummary:
    return PosteriorSummary(top[:, 0], top[:, 1], none, beyond, bits + _bits(none) + _bits(beyond))


def _bits(share: Float64Array) -> Float64Array:
    """Return what each outcome adds to the entropy."""
    return np.asarray(-share * np.log2(np.maximum(share, 1e-300)))
