"""Pairing two sides that lack some of each other's cells: whom to pair, and whom with none.

A field is never seen alike by both microscopes. Here cells are taken away from either side, pairs
are claimed by mutual choice, and a threshold, chosen on validation pairs, sends a query whose best
partner is not good enough to none: the dustbin of matching networks (Sarlin et al., "SuperGlue",
CVPR 2020), with one number in place of a learned score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

from napari_neurobridge.matching.appearance.mutual import TEMPERATURE, mutual_similarity

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

BoolArray: TypeAlias = npt.NDArray[np.bool_]

MISSING_SHARE = 0.3
DRAWS = 20

_TEMPERATURES = tuple(TEMPERATURE * factor for factor in (0.1, 0.3, 1.0, 3.0, 10.0))


class MissingPartners(BaseModel, frozen=True):
    """What is claimed where some queries have no partner."""

    precision: float | None = Field(
        description="Part of the claimed pairs that are right; None where nothing is claimed."
    )
    recall: float = Field(description="Part of the pairs there are that are claimed.")
    none: float | None = Field(
        description="Part of the queries without a partner of which nothing is claimed."
    )
    threshold: float = Field(description="Least mutual similarity of a claimed pair.")
    temperature: float = Field(description="Of the mutual similarity.")


@dataclass(frozen=True, eq=False)
class MutualClaims:
    """Pairs that choose each other, of several draws of what is missing.

    Attributes
    ----------
    score : ndarray, shape (C,)
        Mutual similarity of each.
    right : ndarray of bool, shape (C,)
        Whether both crops show one neuron.
    orphan : ndarray of bool, shape (C,)
        Whether the query has no partner.
    n_pairs, n_orphans : int
        Queries with and without a partner.
    """

    score: npt.NDArray[np.float64]
    right: BoolArray
    orphan: BoolArray
    n_pairs: int
    n_orphans: int

    def judged(self, threshold: float, temperature: float) -> MissingPartners:
        """Return what the claims from a threshold on are worth."""
        kept = self.score >= threshold
        right = int((kept & self.right).sum())
        return MissingPartners(
            precision=right / int(kept.sum()) if kept.any() else None,
            recall=right / max(1, self.n_pairs),
            none=1 - int((kept & self.orphan).sum()) / self.n_orphans if self.n_orphans else None,
            threshold=threshold,
            temperature=temperature,
        )

    def best_threshold(self) -> tuple[float, float]:
        """Return the threshold of the highest F1, and that F1."""
        if not len(self.score):
            return 0.0, 0.0
        order = np.argsort(-self.score, kind="stable")
        score, right = self.score[order], np.cumsum(self.right[order])
        # F1 is twice the right ones over the claimed and the true ones together.
        f1 = 2 * right / (np.arange(1, len(score) + 1) + self.n_pairs)
        # Equal scores are claimed together.
        last = np.append(score[1:] < score[:-1], True)
        best = int(np.argmax(np.where(last, f1, -np.inf)))
        return float(score[best : best + 2].mean()), float(f1[best])


def judge_missing(
    validation: tuple[FloatArray, npt.NDArray[np.integer]],
    test: tuple[FloatArray, npt.NDArray[np.integer]],
    *,
    share: float = MISSING_SHARE,
    draws: int = DRAWS,
    seed: int = 0,
) -> MissingPartners:
    """Choose temperature and threshold on validation pairs, and judge test pairs by them.

    Parameters
    ----------
    validation, test : tuple
        Similarities (N, N) of every query with every candidate, whose diagonal holds the
        pairs, and the scene (N,) of each pair. Pairs are sought within scenes.
    share : float
        Part of the queries left that have no partner, and of the candidates.
    draws : int
        How often what is missing is drawn anew; the counts of all draws are put together.
    seed : int
        Of the draws, which are the same for all methods.
    """
    found = []
    for temperature in _TEMPERATURES:
        claims = mutual_claims(*validation, temperature, share=share, draws=draws, seed=(seed, 0))
        threshold, f1 = claims.best_threshold()
        found.append((f1, threshold, temperature))
    _, threshold, temperature = max(found, key=lambda each: each[0])
    claims = mutual_claims(*test, temperature, share=share, draws=draws, seed=(seed, 1))
    return claims.judged(threshold, temperature)


def mutual_claims(
    similarity: FloatArray,
    scene: npt.NDArray[np.integer],
    temperature: float,
    *,
    share: float,
    draws: int,
    seed: tuple[int, ...],
) -> MutualClaims:
    """Take cells away from either side, and return those left that choose each other.

    A query and a candidate do if each is the other's best by `mutual_similarity`, taken over
    the scene without what is missing. No pair loses both of its crops.
    """
    rng = np.random.default_rng(seed)
    score: list[float] = []
    right: list[bool] = []
    orphan: list[bool] = []
    n_pairs = n_orphans = 0
    for _ in range(draws):
        for name in np.unique(scene):
            own = np.flatnonzero(scene == name)
            # Of n - lost cells on either side, as many have no partner.
            lost = round(share / (1 + share) * len(own))
            gone = rng.permutation(len(own))[: 2 * lost]
            queries, candidates = (
                np.delete(np.arange(len(own)), part) for part in (gone[:lost], gone[lost:])
            )
            mutual = mutual_similarity(
                similarity[np.ix_(own[queries], own[candidates])], temperature=temperature
            )
            row = mutual.argmax(axis=0)
            column = np.flatnonzero(mutual.argmax(axis=1)[row] == np.arange(len(candidates)))
            row = row[column]
            score += mutual[row, column].tolist()
            right += (candidates[column] == queries[row]).tolist()
            orphan += np.isin(queries[row], gone[lost:]).tolist()
            n_pairs, n_orphans = n_pairs + len(own) - 2 * lost, n_orphans + lost
    return MutualClaims(
        np.array(score), np.array(right, bool), np.array(orphan, bool), n_pairs, n_orphans
    )
