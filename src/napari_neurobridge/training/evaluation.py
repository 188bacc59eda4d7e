"""The papers' retrieval protocol on embedded pairs (paper 1, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field
from sklearn.metrics import roc_auc_score

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.types import FloatArray

IntArray: TypeAlias = npt.NDArray[np.int64]

KS = (1, 5, 10)
PAPER_GALLERY = 53
NEGATIVES_PER_POSITIVE = 4


class Confusion(BaseModel, frozen=True):
    """Counts of pairs, as in table 1 of paper 1."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


class EvaluationReport(BaseModel, frozen=True):
    """How well embeddings find partners; an unknown number is ``None``."""

    n: int = Field(description="Number of pairs.")
    n_scenes: int = Field(description="Number of scenes they come from.")
    topk: dict[str, float] = Field(description="Partner among the first k of all N.")
    topk_53: dict[str, float] = Field(description="The same over random galleries of 53.")
    topk_scene: dict[str, float] = Field(description="The same over the query's own scene.")
    recall: float | None = Field(description="Part of the test positives called positive.")
    specificity: float | None = Field(description="Part of the test negatives called negative.")
    confusion: Confusion | None
    auc: float | None = Field(description="Area under the ROC curve of the test pairs.")
    threshold: float | None = Field(description="Similarity, chosen on the validation part.")


def evaluate_pairs(
    two_photon: FloatArray,
    fmost: FloatArray,
    scene: npt.NDArray[np.integer],
    *,
    galleries: int = 20,
    seed: int = 0,
) -> EvaluationReport:
    """Evaluate embeddings of pairs by retrieval and by classification.

    Retrieval ranks fMOST vectors for each two-photon vector. Classification splits the
    scenes (the pairs, when there is only one scene) into two halves, takes the
    threshold with the best mean of recall and specificity from the first, and reports
    on the second. Every positive meets four negatives: half of them the most similar
    wrong combinations, half random ones (paper 1, section 3.1). Combinations are formed
    within groups of about 53 pairs, scene by scene, because the paper's test set has 53:
    the hardest of more combinations would be harder than the paper's.

    Parameters
    ----------
    two_photon, fmost : ndarray, shape (N, D)
        Unit vectors; row i of both is one neuron.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    galleries : int, default: 20
        Random galleries of 53 per query.
    seed : int, default: 0
        Seed of galleries, split and random negatives.

    Returns
    -------
    EvaluationReport
        The classification figures are ``None`` for fewer than four pairs.

    Raises
    ------
    InputError
        If there are no pairs, or the three arrays disagree in length.
    """
    if not len(two_photon) or not len(two_photon) == len(fmost) == len(scene):
        raise InputError(
            "evaluation needs at least one pair, and as many two-photon crops, fMOST crops "
            f"and scenes; there are {len(two_photon)}, {len(fmost)} and {len(scene)}"
        )
    rng = np.random.default_rng(seed)
    similarity = np.asarray(two_photon, np.float32) @ np.asarray(fmost, np.float32).T
    own_scene = scene[:, None] == scene[None, :]
    ranks = partner_ranks(similarity)
    recall, specificity, confusion, auc, threshold = None, None, None, None, None
    if len(scene) >= 4:
        validation, test = _split(scene, rng)
        threshold = _best_threshold(*_labelled_pairs(similarity, validation, rng))
        scores, positive = _labelled_pairs(similarity, test, rng)
        confusion = _confusion(scores >= threshold, positive)
        recall = confusion.true_positive / int(positive.sum())
        specificity = confusion.true_negative / int((~positive).sum())
        auc = float(roc_auc_score(positive, scores))
    return EvaluationReport(
        n=len(scene),
        n_scenes=len(np.unique(scene)),
        topk=top_k(ranks),
        topk_53=_random_galleries(ranks, galleries, rng),
        topk_scene=top_k(partner_ranks(np.where(own_scene, similarity, -np.inf))),
        recall=recall,
        specificity=specificity,
        confusion=confusion,
        auc=auc,
        threshold=threshold,
    )


def partner_ranks(similarity: FloatArray) -> IntArray:
    """Return the rank (from 1) of each row's partner in a similarity matrix (N, N).

    The partner of row i is column i. Ties count against it, so that a constant
    similarity finds nothing.
    """
    partner = np.diagonal(similarity)[:, None]
    return np.asarray((similarity >= partner).sum(axis=1), dtype=np.int64)


def top_k(ranks: IntArray) -> dict[str, float]:
    """Return the part of ranks within the first 1, 5 and 10, keyed "1", "5" and "10"."""
    return {str(k): float(np.mean(ranks <= k)) for k in KS}


def _random_galleries(
    ranks: IntArray, galleries: int, rng: np.random.Generator
) -> dict[str, float]:
    """Average top-k over random galleries of 53: the partner and 52 others.

    Of the N - 1 others, rank - 1 beat the partner; how many of those a random gallery
    holds is hypergeometric, so the galleries need not be drawn one by one.
    """
    n = len(ranks)
    others = min(PAPER_GALLERY, n) - 1
    better = rng.hypergeometric(ranks - 1, n - ranks, others, size=(galleries, n))
    return top_k(better.ravel() + 1)


def _split(scene: npt.NDArray[np.integer], rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Split pairs into validation and test halves, whole scenes when there are several.

    Both halves are ordered by scene.
    """
    scenes = rng.permutation(np.unique(scene))
    first = np.isin(scene, scenes[: len(scenes) // 2])
    if min(first.sum(), (~first).sum()) < 2:
        first = rng.permutation(len(scene)) < len(scene) // 2
    order = np.argsort(scene, kind="stable")
    return order[first[order]], order[~first[order]]


def _labelled_pairs(
    similarity: FloatArray, chosen: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return scores and labels of the positives and of hard and random negatives."""
    positives = similarity[chosen, chosen]
    negatives = []
    for group in np.array_split(chosen, -(-len(chosen) // PAPER_GALLERY)):
        block = similarity[np.ix_(group, group)]
        wrong = np.sort(block[~np.eye(len(block), dtype=bool)])
        half = min(len(group) * NEGATIVES_PER_POSITIVE, len(wrong)) // 2
        rest, hard = np.split(wrong, [len(wrong) - half])
        negatives += [hard, rng.choice(rest, size=half, replace=False)]
    scores = np.concatenate((positives, *negatives))
    return scores, np.arange(len(scores)) < len(positives)


def _best_threshold(scores: FloatArray, positive: npt.NDArray[np.bool_]) -> float:
    """Return the score that separates best by the mean of recall and specificity.

    It lies halfway to the next lower score, so that it favours neither side.
    """
    order = np.argsort(scores)[::-1]
    ranked, scores = positive[order], scores[order]
    recall = np.cumsum(ranked) / ranked.sum()
    specificity = 1 - np.cumsum(~ranked) / (~ranked).sum()
    best = int(np.argmax(recall + specificity))
    return float(scores[best : best + 2].mean())


def _confusion(called: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_]) -> Confusion:
    return Confusion(
        true_positive=int((called & positive).sum()),
        false_positive=int((called & ~positive).sum()),
        false_negative=int((~called & positive).sum()),
        true_negative=int((~called & ~positive).sum()),
    )
