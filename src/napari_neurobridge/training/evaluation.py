"""The papers' retrieval protocol on embedded pairs (paper 1, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import stats

from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.mutual import mutual_similarity
from napari_neurobridge.matching.proportions import wilson_interval
from napari_neurobridge.training.evaluation_report import (
    FEWEST_TO_CLASSIFY,
    GATE_UM,
    PAPER_GALLERY,
    Classification,
    EvaluationReport,
    MutualReport,
)
from napari_neurobridge.training.protocol import (
    classify,
    draw_trials,
    reference_similarity,
    trial_groups,
)

if TYPE_CHECKING:
    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.types import FloatArray, Report

IntArray: TypeAlias = npt.NDArray[np.int64]

KS = (1, 5, 10)


def evaluate_encoder(
    encoder: Encoder, pairs: PairSet, *, seed: int = 0, report: Report | None = None
) -> EvaluationReport:
    """Embed both sides of pairs and evaluate; see `evaluate_embedded`.

    Raises
    ------
    InputError
        If there are no pairs, or the crops have another size than the model was made for.
    """
    vectors = (encoder.embed(side, report=report) for side in (pairs.two_photon, pairs.fmost))
    return evaluate_embedded(pairs, *vectors, seed=seed)


def evaluate_embedded(
    pairs: PairSet, two_photon: FloatArray, fmost: FloatArray, *, seed: int = 0
) -> EvaluationReport:
    """Evaluate the vectors (N, D) of both sides of pairs; see `evaluate_pairs`.

    The hard negatives are those of `protocol.reference_similarity`, and the gate is around the
    cells' places where those are known.
    """
    return evaluate_pairs(
        two_photon,
        fmost,
        pairs.scene,
        reference=reference_similarity(pairs),
        center_um=pairs.center_um,
        seed=seed,
    )


def evaluate_pairs(
    two_photon: FloatArray,
    fmost: FloatArray,
    scene: npt.NDArray[np.integer],
    *,
    reference: FloatArray | None = None,
    center_um: FloatArray | None = None,
    seed: int = 0,
) -> EvaluationReport:
    """Evaluate embeddings of pairs by retrieval and by classification.

    Parameters
    ----------
    two_photon, fmost : ndarray, shape (N, D)
        Unit vectors; row i of both is one neuron.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    reference, center_um, seed
        See `evaluate_similarity`.

    Returns
    -------
    EvaluationReport
        The classification figures are ``None`` for fewer than four pairs.

    Raises
    ------
    InputError
        If there are no pairs, or the arrays disagree in length.
    """
    if not len(two_photon) or not len(two_photon) == len(fmost) == len(scene):
        raise InputError(
            "evaluation needs at least one pair, and as many two-photon crops, fMOST crops "
            f"and scenes; there are {len(two_photon)}, {len(fmost)} and {len(scene)}"
        )
    similarity = np.asarray(two_photon, np.float32) @ np.asarray(fmost, np.float32).T
    return evaluate_similarity(
        similarity, scene, reference=reference, center_um=center_um, seed=seed
    )


def evaluate_similarity(
    similarity: FloatArray,
    scene: npt.NDArray[np.integer],
    *,
    reference: FloatArray | None = None,
    center_um: FloatArray | None = None,
    seed: int = 0,
) -> EvaluationReport:
    """Evaluate a similarity of pairs by retrieval and by classification.

    Retrieval ranks fMOST crops for each two-photon crop. Classification splits the
    scenes (the pairs, when there is only one scene) into two halves, takes the
    threshold with the best mean of recall and specificity from the first, and reports
    on the second. See `training.protocol` for positives and negatives.

    Parameters
    ----------
    similarity : ndarray, shape (N, N)
        Of two-photon crop i with fMOST crop j; the diagonal holds the partners.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    reference : ndarray, shape (N, N), optional
        What chooses the hard negatives: `protocol.reference_similarity` of the crops. Two
        models that are compared need the same; the model itself chooses unless it is given.
    center_um : ndarray, shape (N, 3), optional
        Where the cells lie, for ranking within a spatial gate.
    seed : int, default: 0
        Seed of split, random negatives and bootstrap.

    Returns
    -------
    EvaluationReport
        The classification figures are ``None`` for fewer than four pairs.

    Raises
    ------
    InputError
        If a matrix is not N by N, or there are not N positions.
    """
    n = len(scene)
    wrong = [a.shape for a in (similarity, reference) if a is not None and a.shape != (n, n)]
    if wrong or (center_um is not None and center_um.shape != (n, 3)):
        raise InputError(
            f"evaluation of {n} pairs needs similarities of shape ({n}, {n}) and positions of "
            f"shape ({n}, 3); compare all crops of both sides and give one position for each pair"
        )
    own_scene = scene[:, None] == scene[None, :]
    own_ranks = partner_ranks(np.where(own_scene, similarity, -np.inf))
    gated, n_gated = (None, None)
    if center_um is not None:
        ranks, sizes = gated_ranks(similarity, scene, center_um)
        gated, n_gated = float(np.mean(ranks == 1)), float(sizes.mean())
    all_ranks = partner_ranks(similarity)
    mutual = mutual_similarity(similarity, trial_groups(scene))
    judged, own_hard, judged_mutually = _judge(similarity, mutual, scene, reference, seed)
    return EvaluationReport(
        n=n,
        n_scenes=len(np.unique(scene)),
        topk=(topk := top_k(all_ranks)),
        topk_intervals={k: wilson_interval(share, n) for k, share in topk.items()},
        topk_53=_of_curve(top_k_curve(all_ranks, np.full(n, n))),
        topk_scene=top_k(own_ranks),
        median_rank=float(np.median(own_ranks)),
        curve=tuple(top_k_curve(own_ranks, own_scene.sum(axis=1)).tolist()),
        top1_gated=gated,
        gate_candidates=n_gated,
        recall=judged and judged.recall,
        specificity=judged and judged.specificity,
        confusion=judged and judged.confusion,
        auc=judged and judged.auc,
        threshold=judged and judged.threshold,
        intervals=judged and judged.intervals,
        hard_by="model" if reference is None else "reference",
        own_hard=own_hard,
        mutual=MutualReport(
            topk_scene=top_k(partner_ranks(np.where(own_scene, mutual, -np.inf))),
            judged=judged_mutually,
        ),
    )


def partner_ranks(similarity: FloatArray) -> IntArray:
    """Return the rank (from 1) of each row's partner in a similarity matrix (N, N).

    The partner of row i is column i. Ties count against it, so that a constant
    similarity finds nothing.
    """
    partner = np.diagonal(similarity)[:, None]
    return np.asarray((similarity >= partner).sum(axis=1), dtype=np.int64)


def gated_ranks(
    similarity: FloatArray,
    scene: npt.NDArray[np.integer],
    center_um: FloatArray,
    *,
    gate_um: float = GATE_UM,
) -> tuple[IntArray, IntArray]:
    """Return the partner's rank within a spatial gate, and how many cells are in the gate.

    The gate is a ball around the partner's true place, as if an alignment foretold it
    without error. Its cells are those of the same scene that are among the pairs.
    """
    near = scene[:, None] == scene[None, :]
    for name in np.unique(scene):
        own = np.flatnonzero(scene == name)
        apart = np.linalg.norm(center_um[own, None] - center_um[None, own], axis=2)
        near[np.ix_(own, own)] = apart <= gate_um
    ranks = partner_ranks(np.where(near, similarity, -np.inf))
    return ranks, near.sum(axis=1, dtype=np.int64)


def top_k(ranks: IntArray) -> dict[str, float]:
    """Return the part of ranks within the first 1, 5 and 10, keyed "1", "5" and "10"."""
    return {str(k): float(np.mean(ranks <= k)) for k in KS}


def top_k_curve(ranks: IntArray, sizes: IntArray) -> npt.NDArray[np.float64]:
    """Return how often the partner is among the first k = 1 to 53.

    Parameters
    ----------
    ranks : ndarray of int, shape (N,)
        Rank of each query's partner.
    sizes : ndarray of int, shape (N,)
        Candidates that it was ranked among.

    Returns
    -------
    ndarray, shape (53,)
        Where there are more than 53 candidates, the mean over all galleries of the partner
        and 52 others: of the ``size - 1`` others, ``rank - 1`` beat the partner, and how
        many of those a random gallery holds is hypergeometric.
    """
    k = np.arange(1, PAPER_GALLERY + 1)
    many = sizes > PAPER_GALLERY
    found = (ranks[~many, None] <= k).sum(axis=0).astype(np.float64)
    # Cells of large scenes share few ranks, and one distribution for each is slow enough.
    cases, counts = np.unique(np.stack((ranks, sizes))[:, many], axis=1, return_counts=True)
    law = stats.hypergeom(cases[1, :, None] - 1, cases[0, :, None] - 1, PAPER_GALLERY - 1)
    within: npt.NDArray[np.float64] = (found + counts @ law.cdf(k - 1)) / len(ranks)
    return within


def _of_curve(curve: npt.NDArray[np.float64]) -> dict[str, float]:
    return {str(k): float(curve[k - 1]) for k in KS}


def _judge(
    similarity: FloatArray,
    mutual: FloatArray,
    scene: npt.NDArray[np.integer],
    reference: FloatArray | None,
    seed: int,
) -> tuple[Classification | None, Classification | None, Classification | None]:
    """Classify with the reference's negatives, with the model's own, and by mutual similarity."""
    if len(scene) < FEWEST_TO_CLASSIFY:
        return None, None, None
    validation, test = _split(scene, np.random.default_rng(seed))

    def judge(chooser: FloatArray, scores: FloatArray) -> Classification:
        trials = (
            draw_trials(chooser, scene, np.random.default_rng((seed, part)), among=among)
            for part, among in enumerate((validation, test))
        )
        return classify(scores, *trials, seed=seed)

    chooser = similarity if reference is None else reference
    own, mutually = judge(similarity, similarity), judge(chooser, mutual)
    return own if reference is None else judge(chooser, similarity), own, mutually


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
