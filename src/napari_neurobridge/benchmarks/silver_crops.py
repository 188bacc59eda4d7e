"""Crops of a real tissue at known pairs, before and after fine-tuning on some of them."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from napari_neurobridge.benchmarks.contract import BenchmarkResult, Level
from napari_neurobridge.benchmarks.few_shot import embedded_similarity
from napari_neurobridge.benchmarks.silver_pairs import SilverVolumes, read_silver_pairs
from napari_neurobridge.benchmarks.two_photon_optics import through_two_photon
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.crops import CropSpec, extract_crops
from napari_neurobridge.io.pairs import PairSet
from napari_neurobridge.io.text_table import text_table
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.simulation.deformation.deformation import residual_linear
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import level as named_level
from napari_neurobridge.training.evaluation import evaluate_similarity
from napari_neurobridge.training.fine_tune import FineTuneConfig, fine_tune
from napari_neurobridge.training.protocol import classify, draw_trials, reference_similarity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_neurobridge.io.volumes import Volume
    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.training.protocol import IntArray
    from napari_neurobridge.types import Float32Array, FloatArray, Report

TRAIN_PAIRS, VALIDATION_PAIRS = 100, 30

_SHARES = (0.35, 0.15, 0.5)
"""Of the length of the tissue: the blocks of training, validation and test pairs."""


class SilverCropsParameters(SilverVolumes):
    """What fine-tuning does, and through which optics the first volume goes."""

    strategy: Strategy = Field(
        Strategy.DUAL_CHANNEL, description="What fine-tuning changes; see 'train'."
    )
    steps: int | None = Field(None, ge=1, description="Most steps of fine-tuning.")
    level: Level = "paper"
    seed: int = Field(0, description="Draws noise and training pairs.")

    def fine_tuning(self) -> FineTuneConfig:
        """Return all settings of it."""
        config = FineTuneConfig(strategy=self.strategy, seed=self.seed)
        return config if self.steps is None else config.model_copy(update={"steps": self.steps})


class SilverScore(BaseModel, frozen=True):
    """How well the test pairs of one fold are told apart."""

    topk_53: dict[str, float] = Field(description='Top "1", "5", "10" of galleries of 53.')
    topk: dict[str, float] = Field(description="The same among all of the test block.")
    recall: float = Field(description="As in paper 1; the threshold is from the validation block.")
    specificity: float
    auc: float


class SilverFold(BaseModel, frozen=True):
    """One way to lay the three blocks along the tissue."""

    n_train: int
    n_validation: int
    n_test: int
    before: SilverScore
    after: SilverScore
    correlation: SilverScore = Field(description="Of blurred correlation, which is no model.")
    best_step: int = Field(description="Updates after which the weights were best.")
    seconds: float = Field(description="Time to fine-tune.")


class SilverCropsBenchmark(BenchmarkResult):
    """Two rounds of one real tissue, the optics of the first simulated."""

    model: str = Field(description="Name and hash of the encoder.")
    level: str = Field(description="Level of the simulated optics, misfit and centring.")
    optics: str = Field(description="What was done to the images.")
    strategy: str
    axis: str = Field(description="Axis along which the blocks lie apart.")
    gap_um: float = Field(description="Least distance between two blocks: a crop's width.")
    folds: tuple[SilverFold, ...]
    top1_before: float = Field(description="Among 53, mean over the folds.")
    top1_after: float

    def summary(self) -> str:
        """Return a table, and what was done to the images."""
        rows = [
            (
                number + 1,
                f"{name}, {fold.n_test} pairs",
                score.topk_53["1"],
                score.topk["1"],
                score.recall,
                score.specificity,
                score.auc,
            )
            for number, fold in enumerate(self.folds)
            for name, score in (
                ("correlation", fold.correlation),
                ("before", fold.before),
                (f"after, {fold.best_step} steps", fold.after),
            )
        ]
        header = ("fold", "what", "top-1 of 53", "top-1 of all", "recall", "specificity", "AUC")
        return f"{text_table(header, rows)}\n{self.optics}"


def benchmark_silver_crops(
    encoder: Encoder, parameters: SilverCropsParameters, *, report: Report | None = None
) -> SilverCropsBenchmark:
    """Find partners among 53 in a real tissue, before and after fine-tuning on 100 pairs.

    The pairs are split into blocks along the longest axis of the tissue, with a crop's
    width between two blocks, so that no pixel of a test crop was trained on. There are two
    folds: training at either end.

    Parameters
    ----------
    encoder : Encoder
        Where fine-tuning starts.
    parameters : SilverCropsParameters
        The first volume goes through the simulated two-photon optics; the level is also that
        of the misfit of the two sides and of the centring. For the table see
        `silver_pairs.read_silver_pairs`.
    report : callable, optional
        Called as ``report(done, total, message)``; may raise to cancel.

    Raises
    ------
    InputError
        If a file cannot be read, or a block holds fewer than two pairs.
    """
    tell = report or (lambda done, total, message: None)
    config, level = parameters.fine_tuning(), parameters.level
    here_um, there_um = read_silver_pairs(parameters.pairs)
    volumes = (
        open_volume(parameters.two_photon, name="two_photon"),
        open_volume(parameters.fmost, name="fmost"),
    )
    everything = _crops(volumes, here_um, there_um, named_level(level), config.seed, tell)
    axis = int(np.argmax(np.ptp(here_um, axis=0)))
    gap_um = CropSpec().size_um
    folds = []
    for number, direction in enumerate((1, -1)):
        places = [direction * positions[:, axis] for positions in (here_um, there_um)]
        train, validation, test = _blocks(places, gap_um)
        rng = np.random.default_rng((config.seed, number))
        parts = (
            everything.take(np.sort(rng.permutation(train)[:TRAIN_PAIRS])),
            everything.take(np.sort(rng.permutation(validation)[:VALIDATION_PAIRS])),
            everything.take(test),
        )
        folds.append(_fold(encoder, parts, config, tell, f"fold {number + 1} of 2"))
    return SilverCropsBenchmark(
        model=f"{encoder.name}@{encoder.hash}",
        level=level,
        optics="real images; first side: two-photon optics simulated; both: centring and "
        f"misfit simulated; level {level}",
        strategy=config.strategy.value,
        axis="zyx"[axis],
        gap_um=gap_um,
        folds=tuple(folds),
        top1_before=float(np.mean([fold.before.topk_53["1"] for fold in folds])),
        top1_after=float(np.mean([fold.after.topk_53["1"] for fold in folds])),
    )


def run(parameters: SilverCropsParameters, *, report: Report | None = None) -> SilverCropsBenchmark:
    """Answer the command line."""
    return benchmark_silver_crops(parameters.encoder(), parameters, report=report)


def _crops(
    volumes: tuple[Volume, Volume],
    here_um: FloatArray,
    there_um: FloatArray,
    difficulty: Difficulty,
    seed: int,
    tell: Report,
) -> PairSet:
    """Crop both sides as a user would: by the naked eye's orientation and centres."""
    tell(0, 0, "simulating two-photon optics")
    seen = through_two_photon(volumes[0], here_um, difficulty.two_photon, seed=seed)
    misfit = residual_linear(difficulty.misfit, Key.of(seed).child("misfit"))
    rng = Key.of(seed).child("centring").rng()
    most_um = difficulty.crops.centring_um
    errors_um = rng.uniform(-most_um, most_um, (2, *here_um.shape))
    two_photon = extract_crops(seen, here_um + errors_um[0], report=tell)
    fmost = extract_crops(volumes[1], there_um + errors_um[1], linear=misfit, report=tell)
    # All of one scene: they are compared with each other.
    return PairSet(two_photon, fmost, np.zeros(len(here_um), dtype=np.int64), there_um)


def _fold(
    encoder: Encoder,
    parts: tuple[PairSet, PairSet, PairSet],
    config: FineTuneConfig,
    tell: Report,
    about: str,
) -> SilverFold:
    train, validation, test = parts
    judge = _Judge(validation, test)
    before = judge.score(embedded_similarity(encoder, pairs) for pairs in (validation, test))
    model, best_step = copy.deepcopy(encoder.model), 0
    began = time.monotonic()
    for state in fine_tune(model, train, validation, config):
        tell(state.step, state.steps, f"fine-tuning, {about}")
        best_step = state.best_step
    seconds = time.monotonic() - began
    tuned = Encoder(model, "")
    return SilverFold(
        n_train=len(train),
        n_validation=len(validation),
        n_test=len(test),
        before=before,
        after=judge.score(embedded_similarity(tuned, pairs) for pairs in (validation, test)),
        correlation=judge.score(judge.references),
        best_step=best_step,
        seconds=seconds,
    )


class _Judge:
    """Asks every model the same about the pairs of one fold."""

    def __init__(self, validation: PairSet, test: PairSet) -> None:
        self._scene = test.scene
        self.references = [reference_similarity(pairs) for pairs in (validation, test)]
        self._trials = [
            draw_trials(similarity, pairs.scene, np.random.default_rng(part))
            for part, (similarity, pairs) in enumerate(
                zip(self.references, (validation, test), strict=True)
            )
        ]

    def score(self, similarities: Iterable[Float32Array]) -> SilverScore:
        """Score what a model says of validation and test pairs."""
        validation, test = similarities
        known, asked = self._trials
        judged = classify(test, known, asked, validation_similarity=validation)
        retrieved = evaluate_similarity(test, self._scene)
        return SilverScore(
            topk_53=retrieved.topk_53,
            topk=retrieved.topk,
            recall=judged.recall,
            specificity=judged.specificity,
            auc=judged.auc,
        )


def _blocks(places: Sequence[FloatArray], gap_um: float) -> list[IntArray]:
    """Return the pairs of three blocks along an axis, apart in both volumes.

    Parameters
    ----------
    places : sequence of ndarray, shape (N,)
        Positions along the axis, µm, in the first and in the second volume.
    gap_um : float
        Left between two blocks.
    """
    inside = [np.ones(len(places[0]), dtype=bool) for _ in _SHARES]
    for along in places:
        low = float(along.min())
        usable = float(np.ptp(along)) - gap_um * (len(_SHARES) - 1)
        for mask, share in zip(inside, _SHARES, strict=True):
            high = low + share * usable
            mask &= (along >= low) & (along <= high)
            low = high + gap_um
    blocks = [np.flatnonzero(mask) for mask in inside]
    if min(len(block) for block in blocks) < 2:
        raise InputError(
            "The pairs are too few or lie too close together for three blocks that are "
            f"{gap_um:g} µm apart; take a larger volume or more pairs."
        )
    return blocks
