"""One-to-one matching: no two queries are the same soma."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_ROUNDS = 10
_TINY = 1e-300
_LEAST_PROBABILITY = 1e-6


def exclusive_marginals(
    weight: Float64Array, rest: Float64Array, rows: RowArray, n_gallery: int
) -> tuple[Float64Array, Float64Array]:
    """Return probabilities under the rule that a soma is the partner of one query at most.

    Belief propagation on the assignment: exact where the queries that share candidates
    form no loop, and close to it otherwise.

    Parameters
    ----------
    weight : ndarray, shape (N, K)
        Weight of each candidate of each query, 0 where there is none.
    rest : ndarray, shape (N,)
        Weight of everything else.
    rows : ndarray of int, shape (N, K)
        Which soma of the gallery each candidate is.
    n_gallery : int

    Returns
    -------
    probability : ndarray, shape (N, K)
    left : ndarray, shape (N,)
        Probability of everything else.
    """
    allowed = np.ones_like(weight)
    for _ in range(_ROUNDS):
        offered = weight * allowed
        others = rest[:, None] + offered.sum(axis=1, keepdims=True) - offered
        claim = weight / np.maximum(others, _TINY)
        claimed = np.bincount(rows.ravel(), weights=claim.ravel(), minlength=n_gallery)
        allowed = 1.0 / (1.0 + np.maximum(claimed[rows] - claim, 0.0))
    offered = weight * allowed
    total = np.maximum(rest + offered.sum(axis=1), _TINY)
    return offered / total[:, None], rest / total


def assign(rows: RowArray, probability: Float64Array, none: Float64Array) -> RowArray:
    """Return the most probable one-to-one assignment.

    Parameters
    ----------
    rows : ndarray of int, shape (N, K)
        Candidates of each query.
    probability : ndarray, shape (N, K)
    none : ndarray, shape (N,)
        Probability that it is none of them.

    Returns
    -------
    ndarray of int, shape (N,)
        The soma of each query, or -1.
    """
    n_queries = len(rows)
    if not n_queries:
        return np.empty(0, dtype=np.intp)
    query, column = np.nonzero(probability > _LEAST_PROBABILITY)
    somata, soma = np.unique(rows[query, column], return_inverse=True)
    own = len(somata) + np.arange(n_queries)
    value = np.concatenate([probability[query, column], np.maximum(none, _LEAST_PROBABILITY)])
    # Costs must not vanish, or the sparse matrix forgets them; a constant for each query
    # changes no assignment.
    cost = 1.0 - np.log(np.clip(value, _LEAST_PROBABILITY**2, 1.0))
    left = np.concatenate([query, np.arange(n_queries)])
    right = np.concatenate([soma, own])
    graph = coo_array((cost, (left, right)), shape=(n_queries, len(somata) + n_queries)).tocsr()
    chosen_query, chosen = min_weight_full_bipartite_matching(graph)
    partner = np.full(n_queries, -1, dtype=np.intp)
    real = chosen < len(somata)
    partner[chosen_query[real]] = somata[chosen[real]]
    return partner
