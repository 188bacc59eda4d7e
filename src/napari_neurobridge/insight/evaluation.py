"""How well a model finds the partners of known pairs: what report, dock, files and card show.

There is one evaluation, `evaluate`, of which all of them draw; so they speak of the same cells.
It imports torch while it runs, not before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.training.evaluation_report import PAPER_GALLERY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.training.evaluation_report import EvaluationReport
    from napari_neurobridge.training.plain_measures import PlainMeasure
    from napari_neurobridge.types import Float32Array, FloatArray, Report

IntArray = npt.NDArray[np.int64]

FEWEST_TO_EVALUATE = 2
"""With one pair there is no wrong combination to compare it with."""

MOST_MAPPED = 400
"""Pairs on the map of embeddings; more would be a blot."""

MOST_EXAMPLES, N_BEST = 4, 5
"""Queries in the grid of best matches, and candidates of each (paper 1, figure 2)."""

_BATCH = 16


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a piece of work stands; ``total`` is 0 while it is unknown."""

    done: int
    total: int
    message: str


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model on N pairs.

    Attributes
    ----------
    model : str
        Name of the model.
    pairs : PairSet
        What it was evaluated on.
    vectors : tuple of ndarray, shape (N, D)
        Of the two-photon and the fMOST crops.
    report : EvaluationReport
        The figures of the papers' protocol, of all pairs.
    compared : mapping of str to ndarray, shape (S, S)
        Similarities of the `shown` pairs: the model's own first, then the plain measures that
        were asked for. Row i compares the two-photon crop of a pair with all fMOST crops.
    """

    model: str
    pairs: PairSet
    vectors: tuple[Float32Array, Float32Array]
    report: EvaluationReport
    compared: Mapping[str, Float32Array]

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def similarity(self) -> Float32Array:
        """The model's own similarities of all pairs, (N, N)."""
        return self.vectors[0] @ self.vectors[1].T

    @cached_property
    def ranks(self) -> IntArray:
        """Rank, from 1, of each pair's partner among the cells of its scene, (N,)."""
        from napari_neurobridge.training.evaluation import partner_ranks

        return partner_ranks(np.where(self._same_scene, self.similarity, -np.inf))

    @cached_property
    def candidates(self) -> IntArray:
        """Among how many cells of its scene that is, (N,)."""
        return np.asarray(self._same_scene.sum(axis=1), dtype=np.int64)

    @cached_property
    def shown(self) -> IntArray:
        """Rows (S,) of the pairs that figures compare in detail: 53 at most, as in paper 1."""
        return representative_pairs(self.pairs.scene, PAPER_GALLERY)

    @cached_property
    def mapped(self) -> IntArray:
        """Rows (M,) of the pairs on the map of embeddings."""
        return representative_pairs(self.pairs.scene, MOST_MAPPED)

    @cached_property
    def map(self) -> tuple[FloatArray, FloatArray]:
        """Where t-SNE puts the two-photon and the fMOST crops of the `mapped` pairs, (M, 2)."""
        from napari_neurobridge.insight.embedding_map import embedding_map

        first, second = (side[self.mapped] for side in self.vectors)
        return embedding_map(first, second)

    def best_matches(self, row: int, k: int = N_BEST) -> IntArray:
        """Return the ``k`` most similar cells of a pair's scene; see `ranks`.

        The partner comes last, in addition, where it is not among them. Equal similarities
        count against it, as in its rank.
        """
        mine = np.flatnonzero(self._same_scene[row])
        order = np.lexsort((mine == row, -self.similarity[row, mine]))
        found = mine[order][:k]
        return found if row in found else np.append(found, row)

    @cached_property
    def exampled(self) -> IntArray:
        """Rows of the pairs whose best matches are shown: drawn at random, not chosen."""
        return representative_pairs(self.pairs.scene, MOST_EXAMPLES)

    @property
    def has_plain_measures(self) -> bool:
        """Whether the model was compared with the plain measures."""
        return len(self.compared) > 1

    def curves(self) -> dict[str, FloatArray]:
        """Return, for each similarity, how often a partner is among the first k = 1 to S."""
        from napari_neurobridge.training.evaluation import partner_ranks, top_k_curve

        count = len(self.shown)
        return {
            name: top_k_curve(partner_ranks(matrix), np.full(count, count))[:count]
            for name, matrix in self.compared.items()
        }

    @property
    def _same_scene(self) -> npt.NDArray[np.bool_]:
        scene = self.pairs.scene
        return np.asarray(scene[:, None] == scene[None, :])


def representative_pairs(scene: npt.NDArray[np.integer], most: int) -> IntArray:
    """Choose the pairs that figures show: of the largest scenes first, drawn at random.

    Parameters
    ----------
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    most : int
        A smaller number chooses some of those that a larger one chooses.

    Returns
    -------
    ndarray of int, shape (at most ``most``,)
        Rows, ascending; the same for the same scenes.
    """
    _, place, counts = np.unique(scene, return_inverse=True, return_counts=True)
    lot = np.random.default_rng(0).permutation(len(scene))
    chosen = np.lexsort((lot, place, -counts[place]))[:most]
    return np.sort(chosen).astype(np.int64)


def check_enough(n: int) -> None:
    """Refuse to evaluate on so few pairs that there is no wrong combination.

    Raises
    ------
    InputError
        If there are fewer than two.
    """
    if n < FEWEST_TO_EVALUATE:
        raise InputError(
            f"An evaluation needs at least {FEWEST_TO_EVALUATE} accepted pairs, not {n}.",
            kind=ErrorKind.TOO_FEW_PAIRS,
        )


def evaluate(
    pairs: PairSet,
    encoder: Encoder,
    *,
    measures: Sequence[PlainMeasure] = (),
    report: Report | None = None,
) -> Evaluation:
    """Evaluate a model on pairs by the papers' protocol.

    Parameters
    ----------
    pairs : PairSet
    encoder : Encoder
    measures : sequence of PlainMeasure
        To compare with in the figures, which takes up to a minute each.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If there are fewer than two pairs, or their crops have another size than the model's.
    """
    steps = evaluate_in_steps(pairs, encoder)
    found = _last(steps, report)
    return _last(compare_in_steps(found, measures), report) if measures else found


def evaluate_in_steps(pairs: PairSet, encoder: Encoder) -> Iterator[Progress | Evaluation]:
    """As `evaluate`, in steps of about a second, between which other work may slip in.

    Yields
    ------
    Progress or Evaluation
        The evaluation comes last.
    """
    n = len(pairs)
    if not n:
        raise InputError("There is no pair to evaluate on.", kind=ErrorKind.TOO_FEW_PAIRS)
    from napari_neurobridge.training.evaluation import evaluate_embedded

    vectors = []
    for side, crops in enumerate((pairs.two_photon, pairs.fmost)):
        parts = []
        for start in range(0, n, _BATCH):
            parts.append(encoder.embed(crops[start : start + _BATCH]))
            yield Progress(side * n + start + len(parts[-1]), 2 * n, "embedding crops")
        vectors.append(np.concatenate(parts))
    first, second = vectors
    shown = representative_pairs(pairs.scene, PAPER_GALLERY)
    yield Evaluation(
        model=encoder.name,
        pairs=pairs,
        vectors=(first, second),
        report=evaluate_embedded(pairs, first, second),
        compared={encoder.name: first[shown] @ second[shown].T},
    )


def compare_in_steps(
    evaluation: Evaluation, measures: Sequence[PlainMeasure] | None = None
) -> Iterator[Progress | Evaluation]:
    """Compare the shown pairs by plain measures, too.

    Parameters
    ----------
    evaluation : Evaluation
    measures : sequence of PlainMeasure, optional
        All of them unless given.

    Yields
    ------
    Progress or Evaluation
        The evaluation, with a similarity for each measure, comes last.
    """
    from napari_neurobridge.training.plain_measures import PlainMeasure, plain_similarity

    asked = tuple(PlainMeasure) if measures is None else tuple(measures)
    few = evaluation.pairs.take(evaluation.shown)
    compared = dict(evaluation.compared)
    for position, measure in enumerate(asked):
        rows: list[Float32Array] = []
        for crop in few.two_photon:
            done = position * len(few) + len(rows)
            yield Progress(done, len(asked) * len(few), f"comparing by {measure.value}")
            rows.append(plain_similarity(measure, crop[None], few.fmost))
        compared[measure.value] = np.concatenate(rows)
    yield replace(evaluation, compared=compared)


def _last(steps: Iterator[Progress | Evaluation], report: Report | None) -> Evaluation:
    for step in steps:
        if isinstance(step, Evaluation):
            return step
        if report is not None:
            report(step.done, step.total, step.message)
    raise AssertionError("The steps end with an evaluation.")
