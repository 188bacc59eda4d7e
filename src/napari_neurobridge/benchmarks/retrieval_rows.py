"""Figures of one method on one split, and the rows of a table made of several splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.matching.appearance.mutual import mutual_similarity
from napari_neurobridge.training.evaluation import (
    gated_ranks,
    partner_ranks,
    top_k,
    top_k_curve,
)
from napari_neurobridge.training.evaluation_report import Classification, Confusion, Interval
from napari_neurobridge.training.missing_partners import (
    MISSING_SHARE,
    MissingPartners,
    judge_missing,
)
from napari_neurobridge.training.protocol import classify, draw_trials, trial_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_neurobridge.benchmarks.few_shot import Compared
    from napari_neurobridge.benchmarks.few_shot_data import FewShotData
    from napari_neurobridge.training.protocol import IntArray, Trials
    from napari_neurobridge.types import FloatArray

COMPARED_FIGURES = ("top1", "recall", "specificity", "auc")
"""Figures whose differences between methods are given."""

_RESAMPLES = 10_000


class SplitScore(BaseModel, frozen=True):
    """What one method reaches on the test pairs of one split."""

    topk: dict[str, float]
    top1_gated: float | None
    median_rank: float
    curve: tuple[float, ...]
    reference: Classification = Field(description="Hard negatives chosen once for all methods.")
    own: Classification = Field(description="Hard negatives chosen by the method itself.")
    mutual_topk: dict[str, float] = Field(description="By mutual similarity.")
    mutual: Classification = Field(description="By mutual similarity, same trials.")
    mutual_own: Classification = Field(description="By mutual similarity, its own hardest.")
    missing: MissingPartners = Field(description="With partners missing on either side.")
    seconds: float
    steps: int
    learning_rate: float | None

    def figures(self) -> dict[str, float]:
        """Return all single numbers by name."""
        # Where nothing is claimed, nothing is claimed wrongly.
        precision = 1.0 if self.missing.precision is None else self.missing.precision
        gated = {} if self.top1_gated is None else {"top1_gated": self.top1_gated}
        return {
            **{f"top{k}": value for k, value in self.topk.items()},
            **gated,
            "median_rank": self.median_rank,
            "recall": self.reference.recall,
            "specificity": self.reference.specificity,
            "auc": self.reference.auc,
            "own_recall": self.own.recall,
            "own_specificity": self.own.specificity,
            "own_auc": self.own.auc,
            **{f"mutual_top{k}": value for k, value in self.mutual_topk.items()},
            "mutual_recall": self.mutual.recall,
            "mutual_specificity": self.mutual.specificity,
            "mutual_auc": self.mutual.auc,
            "mutual_own_recall": self.mutual_own.recall,
            "mutual_own_specificity": self.mutual_own.specificity,
            "mutual_own_auc": self.mutual_own.auc,
            "missing_precision": precision,
            "missing_recall": self.missing.recall,
            "missing_none": 1.0 if self.missing.none is None else self.missing.none,
        }


class Spread(BaseModel, frozen=True):
    """One figure over the splits."""

    mean: float
    sd: float | None = Field(description="Sample standard deviation; None of a single split.")


class Difference(BaseModel, frozen=True):
    """A method minus the full method, on the same splits."""

    mean: float
    interval: Interval | None = Field(
        description="95 % bootstrap over the splits; None of a single split."
    )


class MethodResult(BaseModel, frozen=True):
    """One row of the table: means over the splits."""

    method: str = Field(description="Name of the configuration or measure.")
    topk: dict[str, float] = Field(description='Top "1", "5", "10" within the own scene.')
    figures: dict[str, Spread]
    confusion: Confusion = Field(description="Of all splits together.")
    own_confusion: Confusion = Field(description="The same with the method's own hardest.")
    curve: tuple[float, ...] = Field(description="Partner among the first k = 1 to 53.")
    against_full: dict[str, Difference] | None = Field(
        description="Differences to the full method, if both ran."
    )
    steps: float = Field(description="Updates after which the weights were best.")
    learning_rates: tuple[float | None, ...] = Field(
        (), description="Used for each split, where rates were swept; None: no training helped."
    )
    seconds: float = Field(description="Time for one split.")


def score_split(compared: Compared, data: FewShotData) -> SplitScore:
    """Measure what a method says of the test pairs; the threshold is from the validation."""
    test, scene = compared.test, data.test.scene
    own_scene = scene[:, None] == scene[None, :]
    ranks = partner_ranks(np.where(own_scene, test, -np.inf))
    gated = None
    if data.test.center_um is not None:
        gated = float(np.mean(gated_ranks(test, scene, data.test.center_um)[0] == 1))
    parts = ((compared.validation, data.validation.scene), (test, scene))
    trials = [data.validation_trials, data.test_trials]
    mutual = [mutual_similarity(similarity, trial_groups(of)) for similarity, of in parts]
    scenes = [of for _, of in parts]
    return SplitScore(
        topk=top_k(ranks),
        top1_gated=gated,
        median_rank=float(np.median(ranks)),
        curve=tuple(top_k_curve(ranks, own_scene.sum(axis=1)).tolist()),
        reference=_judge([compared.validation, test], trials, data.split),
        own=_judge_own([compared.validation, test], scenes, data.split),
        mutual_topk=top_k(partner_ranks(np.where(own_scene, mutual[1], -np.inf))),
        mutual=_judge(mutual, trials, data.split),
        mutual_own=_judge_own(mutual, scenes, data.split),
        missing=judge_missing(*parts, seed=data.split),
        seconds=compared.seconds,
        steps=compared.steps,
        learning_rate=compared.learning_rate,
    )


def _judge_own(
    similarity: Sequence[FloatArray], scenes: Sequence[IntArray], seed: int
) -> Classification:
    """Classify with the negatives that the similarity itself takes for partners most."""
    trials = [
        draw_trials(each, scene, np.random.default_rng((seed, part)))
        for part, (each, scene) in enumerate(zip(similarity, scenes, strict=True))
    ]
    return _judge(similarity, trials, seed)


def _judge(similarity: Sequence[FloatArray], trials: Sequence[Trials], seed: int) -> Classification:
    """Classify; similarities and trials of the validation pairs, then of the test pairs."""
    return classify(
        similarity[1],
        trials[0],
        trials[1],
        validation_similarity=similarity[0],
        seed=seed,
    )


def method_result(
    method: str, scores: Sequence[SplitScore], full: Sequence[SplitScore] | None
) -> MethodResult:
    """Summarise the splits of one method.

    Parameters
    ----------
    method : str
        Its name.
    scores : sequence of SplitScore
        One for each split.
    full : sequence of SplitScore or None
        The full method on the same splits in the same order.
    """
    figures = {
        name: np.array([score.figures()[name] for score in scores]) for name in scores[0].figures()
    }
    against = None
    if full is not None and scores is not full:
        against = {
            name: _difference(figures[name], np.array([score.figures()[name] for score in full]))
            for name in COMPARED_FIGURES
        }
    curves: FloatArray = np.array([score.curve for score in scores])
    return MethodResult(
        method=method,
        topk={k: float(figures[f"top{k}"].mean()) for k in scores[0].topk},
        figures={name: _spread(values) for name, values in figures.items()},
        confusion=_pooled([score.reference.confusion for score in scores]),
        own_confusion=_pooled([score.own.confusion for score in scores]),
        curve=tuple(curves.mean(axis=0).tolist()),
        against_full=against,
        steps=float(np.mean([score.steps for score in scores])),
        learning_rates=tuple(score.learning_rate for score in scores),
        seconds=float(np.mean([score.seconds for score in scores])),
    )


def markdown_table(rows: Sequence[MethodResult]) -> str:
    """Return rows as a Markdown table."""
    header, cells = table_cells(rows)
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_cells(rows: Sequence[MethodResult]) -> tuple[list[str], list[list[str]]]:
    """Return header and cells: mean ± standard deviation, difference with its interval."""
    header = ["method", *_COLUMNS.values(), "top-1 − full method", "AUC − full method", "seconds"]
    cells = []
    for row in rows:
        own = [_spread_text(row.figures.get(name)) for name in _COLUMNS]
        against = [_difference_text(row.against_full, name) for name in ("top1", "auc")]
        cells.append([row.method, *own, *against, f"{row.seconds:.1f}"])
    return header, cells


_COLUMNS: Mapping[str, str] = {
    "top1": "top-1",
    "top5": "top-5",
    "top10": "top-10",
    "top1_gated": "top-1 in gate",
    "recall": "recall",
    "specificity": "specificity",
    "auc": "AUC",
    "own_recall": "recall, own hard",
    "own_specificity": "specificity, own hard",
    "own_auc": "AUC, own hard",
    "mutual_top1": "top-1, mutual",
    "mutual_top5": "top-5, mutual",
    "mutual_recall": "recall, mutual",
    "mutual_specificity": "specificity, mutual",
    "mutual_auc": "AUC, mutual",
    "mutual_own_recall": "recall, mutual, own hard",
    "mutual_own_specificity": "specificity, mutual, own hard",
    "missing_precision": f"pairs right, {MISSING_SHARE:.0%} missing",
    "missing_recall": "pairs found, the same",
    "missing_none": "none right, the same",
}


def _spread(values: FloatArray) -> Spread:
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(values.mean()), sd=sd)


def _difference(values: FloatArray, full: FloatArray) -> Difference:
    differences = values - full
    if len(differences) < 2:
        return Difference(mean=float(differences.mean()), interval=None)
    drawn = np.random.default_rng(0).choice(differences, (_RESAMPLES, len(differences)))
    low, high = np.percentile(drawn.mean(axis=1), (2.5, 97.5))
    return Difference(mean=float(differences.mean()), interval=(float(low), float(high)))


def _pooled(parts: Sequence[Confusion]) -> Confusion:
    return Confusion(**{n: sum(getattr(p, n) for p in parts) for n in Confusion.model_fields})


def _spread_text(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    return f"{spread.mean:.3f}" + ("" if spread.sd is None else f" ± {spread.sd:.3f}")


def _difference_text(differences: Mapping[str, Difference] | None, name: str) -> str:
    if differences is None:
        return "–"
    difference = differences[name]
    text = f"{difference.mean:+.3f}"
    if difference.interval is None:
        return text
    low, high = difference.interval
    return f"{text} [{low:+.3f}, {high:+.3f}]"
