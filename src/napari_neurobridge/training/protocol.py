"""The papers' classification protocol: positives, hard and random negatives, a threshold.

As in section 3.1 of paper 1, every positive meets four negatives, half of them the most
similar wrong combinations and half random ones. The paper lets each model choose its own
hardest combinations, so that no two models answer the same questions. Here a reference that
is none of the models, `reference_similarity`, chooses them once for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from napari_neurobridge.io.crops import CropSpec
from napari_neurobridge.matching.proportions import area_interval, wilson_interval
from napari_neurobridge.training.evaluation_report import (
    PAPER_GALLERY,
    Classification,
    Confusion,
    Interval,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.types import Float32Array, FloatArray

IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

NEGATIVES_PER_POSITIVE = 4
RESAMPLES = 1000

# Wider than the centring error of a crop, so that no search over poses is needed.
_REFERENCE_BLUR_UM = 4.0
_RESAMPLES_AT_ONCE = 50


@dataclass(frozen=True, eq=False)
class Trials:
    """Combinations of a two-photon and an fMOST crop that are called same or different.

    Attributes
    ----------
    query, candidate : ndarray of int, shape (M,)
        Row and column of each combination in a similarity matrix; on the diagonal both
        crops show one neuron.
    """

    query: IntArray
    candidate: IntArray

    def __len__(self) -> int:
        return len(self.query)

    @property
    def positive(self) -> BoolArray:
        """Which trials show one neuron twice, shape (M,)."""
        same: BoolArray = self.query == self.candidate
        return same

    def scores(self, similarity: FloatArray) -> FloatArray:
        """Return the similarities (M,) of all trials, out of a matrix (N, N)."""
        chosen: FloatArray = similarity[self.query, self.candidate]
        return chosen


def reference_similarity(pairs: PairSet) -> Float32Array:
    """Compare every two-photon crop with every fMOST crop, by none of the models.

    Pearson's correlation of the crops' square roots, blurred to 4 µm: bright cells do not
    decide alone, and the few µm by which crops are badly centred do not matter. There is
    no search over poses.

    Parameters
    ----------
    pairs : PairSet
        N pairs of crops, each 120 µm wide.

    Returns
    -------
    ndarray of float32, shape (N, N)
        In [-1, 1]; 0 where a crop has no contrast.
    """
    return _outlines(pairs.two_photon) @ _outlines(pairs.fmost).T


def draw_trials(
    similarity: FloatArray,
    scene: npt.NDArray[np.integer],
    rng: np.random.Generator,
    *,
    among: IntArray | None = None,
) -> Trials:
    """Draw positives, their hardest negatives and as many random ones.

    Negatives are formed within groups of about 53 pairs of one scene, because the paper's
    test set has 53: the hardest of more combinations would be harder than the paper's.
    Scenes with less than half as many pairs share groups.

    Parameters
    ----------
    similarity : ndarray, shape (N, N)
        Decides what is hard.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    rng : Generator
        Draws the random negatives.
    among : ndarray of int, optional
        The pairs to use; all of them unless given.

    Returns
    -------
    Trials
        The positives first, in the order of their scenes.
    """
    chosen = np.arange(len(scene)) if among is None else among
    groups = _groups(chosen, scene)
    positives = np.concatenate(groups)
    query, candidate = [positives], [positives]
    for group in groups:
        rows, columns = np.nonzero(~np.eye(len(group), dtype=bool))
        values = similarity[group[rows], group[columns]]
        order = np.argsort(values, kind="stable")
        half = min(len(group) * NEGATIVES_PER_POSITIVE, len(order)) // 2
        rest, hard = np.split(order, [len(order) - half])
        wrong = np.concatenate((hard, rng.choice(rest, size=half, replace=False)))
        query.append(group[rows[wrong]])
        candidate.append(group[columns[wrong]])
    return Trials(np.concatenate(query), np.concatenate(candidate))


def trial_groups(scene: npt.NDArray[np.integer]) -> IntArray:
    """Return a number for each pair, shared by all pairs that it may meet in a trial."""
    names, index, counts = np.unique(scene, return_inverse=True, return_counts=True)
    small = 2 * counts < PAPER_GALLERY
    # Small scenes share their groups; see `draw_trials`.
    shared: IntArray = np.where(small, len(names), np.arange(len(names)))[index]
    return shared


def classify(
    similarity: FloatArray,
    validation: Trials,
    test: Trials,
    *,
    validation_similarity: FloatArray | None = None,
    seed: int = 0,
) -> Classification:
    """Choose a threshold on validation trials, and judge test trials by it.

    Parameters
    ----------
    similarity : ndarray, shape (N, N)
        Similarities of the test pairs.
    validation, test : Trials
        What to choose the threshold by, and what to report on.
    validation_similarity : ndarray, shape (K, K), optional
        Similarities of the validation pairs, when they are not among the same N.
    seed : int, default: 0
        Seed of the bootstrap.

    Returns
    -------
    Classification
        The intervals are those of a fixed threshold; see `rate_intervals`.
    """
    known = similarity if validation_similarity is None else validation_similarity
    threshold = best_threshold(validation.scores(known), validation.positive)
    scores = test.scores(similarity)
    confusion = _count(scores >= threshold, test.positive)
    area = float(roc_auc_score(test.positive, scores))
    drawn = bootstrap_intervals(scores, test, threshold, seed=seed)
    return Classification(
        recall=confusion.recall,
        specificity=confusion.specificity,
        auc=area,
        threshold=threshold,
        confusion=confusion,
        intervals=rate_intervals(confusion, area, drawn),
    )


def best_threshold(scores: FloatArray, positive: BoolArray) -> float:
    """Return the score that separates best by the mean of recall and specificity.

    It lies halfway to the next lower score, so that it favours neither side.
    """
    order = np.argsort(scores)[::-1]
    ranked, scores = positive[order], scores[order]
    recall = np.cumsum(ranked) / ranked.sum()
    specificity = 1 - np.cumsum(~ranked) / (~ranked).sum()
    # Equal scores are called alike, so only the last of a run can be a cut.
    cuts = np.append(scores[1:] < scores[:-1], True)
    best = int(np.argmax(np.where(cuts, recall + specificity, -np.inf)))
    return float(scores[best : best + 2].mean())


def rate_intervals(
    confusion: Confusion, area: float, drawn: Mapping[str, Interval]
) -> dict[str, Interval]:
    """Return 95 % intervals that are honest for few pairs, too.

    Resampling knows of trials that share a crop, but where all of a few are called right it
    draws nothing else, and says 1.00 to 1.00. So no interval is narrower than that of as many
    independent trials: Wilson's, and for the area Newcombe's. Negatives count as no more
    trials than there are pairs, of which they are made.

    Parameters
    ----------
    confusion : Confusion
        Of the test trials.
    area : float
        Under their ROC curve.
    drawn : mapping
        What `bootstrap_intervals` says.
    """
    n_same = confusion.true_positive + confusion.false_negative
    n_different = min(confusion.true_negative + confusion.false_positive, n_same)
    independent = {
        "recall": wilson_interval(confusion.recall, n_same),
        "specificity": wilson_interval(confusion.specificity, n_different),
        "auc": area_interval(area, n_same, n_different),
    }
    return {
        name: (min(low, drawn[name][0]), max(high, drawn[name][1]))
        for name, (low, high) in independent.items()
    }


def bootstrap_intervals(
    scores: FloatArray,
    trials: Trials,
    threshold: float,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return 95 % intervals of recall, specificity and AUC.

    Pairs are drawn with replacement, not trials: a negative counts as often as both of its
    neurons were drawn, since trials that share a crop are not independent.

    Parameters
    ----------
    scores : ndarray, shape (M,)
        Similarity of each trial.
    trials : Trials
        What was judged.
    threshold : float
        Scores from here on are called positive.
    resamples : int, default: 1000
    seed : int, default: 0

    Returns
    -------
    dict
        Lower and upper bound of "recall", "specificity" and "auc".
    """
    rng = np.random.default_rng(seed)
    pairs, place = np.unique(np.concatenate((trials.query, trials.candidate)), return_inverse=True)
    query, candidate = place[: len(trials)], place[len(trials) :]
    positive, called = trials.positive, scores >= threshold
    # Trials sorted by score and split at ties, so that AUC is a running sum.
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] > ranked[:-1]))
    found = []
    for begin in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - begin)
        drawn = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=size)
        weight = drawn[:, query] * np.where(positive, 1, drawn[:, candidate])
        yes, no = weight * positive, weight * ~positive
        with np.errstate(invalid="ignore"):
            recall = (yes * called).sum(axis=1) / yes.sum(axis=1)
            specificity = (no * ~called).sum(axis=1) / no.sum(axis=1)
            ties = (np.add.reduceat(part[:, order], starts, axis=1) for part in (yes, no))
            found.append((recall, specificity, _area(*ties)))
    names = ("recall", "specificity", "auc")
    draws = (np.concatenate(part) for part in zip(*found, strict=True))
    return {name: _percentiles(part) for name, part in zip(names, draws, strict=True)}


def _outlines(crops: Float32Array) -> Float32Array:
    """Turn crops (N, P, P) into unit vectors whose products are correlations."""
    pixel_um = CropSpec().size_um / crops.shape[-1]
    sigma = _REFERENCE_BLUR_UM / pixel_um
    step = max(1, int(sigma / 2))
    flat = np.empty((len(crops), len(range(0, crops.shape[-1], step)) ** 2), np.float32)
    for row, crop in zip(flat, crops, strict=True):
        blurred = ndimage.gaussian_filter(np.sqrt(np.maximum(crop, 0)), sigma, mode="nearest")
        row[:] = blurred[::step, ::step].ravel()
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    # What rounding leaves of a crop without contrast is no outline.
    return np.where(norms > 1e-4, flat / np.maximum(norms, 1e-12), np.float32(0))


def _groups(chosen: IntArray, scene: npt.NDArray[np.integer]) -> list[IntArray]:
    """Split pairs into groups of about 53, of one scene where it has enough of them."""
    groups, few = [], []
    for name in np.unique(scene[chosen]):
        own = chosen[scene[chosen] == name]
        if 2 * len(own) < PAPER_GALLERY:
            few.append(own)
        else:
            groups += np.array_split(own, max(1, round(len(own) / PAPER_GALLERY)))
    if few:
        rest = np.concatenate(few)
        groups += np.array_split(rest, -(-len(rest) // PAPER_GALLERY))
    return groups


def _count(called: BoolArray, positive: BoolArray) -> Confusion:
    return Confusion(
        true_positive=int((called & positive).sum()),
        false_positive=int((called & ~positive).sum()),
        false_negative=int((~called & positive).sum()),
        true_negative=int((~called & ~positive).sum()),
    )


def _area(yes: FloatArray, no: FloatArray) -> FloatArray:
    """Return the area under the ROC curve from weights (B, S) at rising scores."""
    below = np.cumsum(no, axis=1) - no / 2
    area: FloatArray = (yes * below).sum(axis=1) / (yes.sum(axis=1) * no.sum(axis=1))
    return area


def _percentiles(draws: FloatArray) -> Interval:
    # A resample may by chance hold no trial of one kind; it says nothing then.
    low, high = np.nanpercentile(draws, (2.5, 97.5))
    return float(low), float(high)
