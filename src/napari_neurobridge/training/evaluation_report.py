"""What an evaluation says: plain numbers, of which the command line prints the JSON."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, Field

from napari_neurobridge.matching.proportions import wilson_interval

Interval: TypeAlias = tuple[float, float]

PAPER_GALLERY = 53
GATE_UM = 40.0
FEWEST_TO_CLASSIFY = 4
"""Pairs: two to choose a threshold on, and two to report on."""


class Confusion(BaseModel, frozen=True):
    """Counts of pairs, as in table 1 of paper 1."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def recall(self) -> float:
        """Part of the positives that are called positive."""
        return self.true_positive / (self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        """Part of the negatives that are called negative."""
        return self.true_negative / (self.true_negative + self.false_positive)


class Classification(BaseModel, frozen=True):
    """How well a similarity tells positives from negatives."""

    recall: float = Field(description="Part of the test positives called positive.")
    specificity: float = Field(description="Part of the test negatives called negative.")
    auc: float = Field(description="Area under the ROC curve of the test trials.")
    threshold: float = Field(description="Similarity, chosen on the validation trials.")
    confusion: Confusion
    intervals: dict[str, Interval] = Field(
        description='95 % intervals of "recall", "specificity" and "auc".'
    )


class MutualReport(BaseModel, frozen=True):
    """Figures of the mutual similarity, in view of all cells of the scene."""

    topk_scene: dict[str, float] = Field(description="Partner among the first k of its scene.")
    judged: Classification | None = Field(description="With the same trials as the rest.")


class EvaluationReport(BaseModel, frozen=True):
    """How well embeddings find partners; an unknown number is ``None``."""

    n: int = Field(description="Number of pairs.")
    n_scenes: int = Field(description="Number of scenes they come from.")
    topk: dict[str, float] = Field(description="Partner among the first k of all N.")
    topk_intervals: dict[str, Interval] = Field(
        default={}, description="95 % intervals of `topk` (Wilson)."
    )
    topk_53: dict[str, float] = Field(description="The same over random galleries of 53.")
    topk_scene: dict[str, float] = Field(description="The same over the query's own scene.")
    median_rank: float = Field(description="Median rank of the partner in the own scene.")
    curve: tuple[float, ...] = Field(
        description="Partner among the first k = 1 to 53 of the own scene; of larger scenes, "
        "over random galleries of 53."
    )
    top1_gated: float | None = Field(
        description=f"Partner first among the cells of the own scene within {GATE_UM:g} µm of it."
    )
    gate_candidates: float | None = Field(description="How many cells that are, on average.")
    recall: float | None = Field(description="Part of the test positives called positive.")
    specificity: float | None = Field(description="Part of the test negatives called negative.")
    confusion: Confusion | None
    auc: float | None = Field(description="Area under the ROC curve of the test trials.")
    threshold: float | None = Field(description="Similarity, chosen on the validation part.")
    intervals: dict[str, Interval] | None = Field(
        description='95 % intervals of "recall", "specificity" and "auc".'
    )
    hard_by: Literal["reference", "model"] = Field(
        description="What chose the hard negatives of the figures above."
    )
    own_hard: Classification | None = Field(
        description="The same figures with the model's own hardest negatives, as in paper 1."
    )
    mutual: MutualReport = Field(description="The same by `matching.mutual`.")

    def interval(self, share: float) -> Interval:
        """Return the 95 % interval of a share of these pairs (Wilson)."""
        return wilson_interval(share, self.n)
