"""Fine-tuning an encoder on a few pairs, so that it gains and never loses (paper 1, section 3)."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.strategies import (
    Ablation,
    Strategy,
    adaptable_copy,
    keep_channels,
    plain_state,
)
from napari_neurobridge.training.augmentation import AugmentConfig
from napari_neurobridge.training.loop import LoopConfig, train
from napari_neurobridge.training.losses import CircleObjective, TripletObjective
from napari_neurobridge.training.rejected import BatchRows, with_rejected
from napari_neurobridge.training.sampling import BalancedSceneSampler
from napari_neurobridge.training.splits import check_pairs, check_split
from napari_neurobridge.training.tuning_batches import CachedBatches, LiveBatches, can_cache
from napari_neurobridge.training.validation import gain_error, validation_score

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.io.pairs import PairSet
    from napari_neurobridge.training.rejected import RejectedPairs
    from napari_neurobridge.training.tuning_batches import EmbeddedBatches
    from napari_neurobridge.types import Float32Array


class FineTuneConfig(BaseModel, frozen=True, extra="forbid"):
    """What is changed of an encoder, and how."""

    strategy: Strategy = Field(Strategy.DUAL_CHANNEL, description="Which weights change.")
    ablation: Ablation = Field(Ablation.NONE, description="What of the method is left out.")
    steps: int = Field(200, gt=0, description="Most updates; it may stop earlier.")
    learning_rate: float = Field(1e-4, gt=0, description="Highest learning rate, of Adam.")
    neurons: int = Field(50, gt=1, description="Neurons per batch; fewer if there are fewer pairs.")
    scenes_per_batch: int = Field(
        1, gt=0, description="Scenes per batch: the neighbours of a cell are what it is taken for."
    )
    rejected: int = Field(25, ge=0, description="Rejected candidates per batch, at most.")
    gamma: float = Field(256.0, gt=0, description="Scale of circle loss.")
    margin: float = Field(0.25, gt=0, description="Relaxation of circle loss.")
    augment: AugmentConfig = AugmentConfig()
    copies: int = Field(8, gt=0, description="Changed copies of each pair, for a frozen trunk.")
    validate_every: int = Field(25, gt=0, description="Steps between validations.")
    patience: int = Field(6, gt=0, description="Validations without a gain before it stops.")
    mixes: tuple[float, ...] = Field(
        (0.5, 1.0),
        min_length=1,
        description="Shares of the new weights, the rest the old ones, that are validated.",
    )
    confidence: float = Field(
        1.5,
        ge=0,
        description="Standard errors by which new weights must be better than the old ones.",
    )
    seed: int = 0


_CHANNELS: dict[Ablation, Literal["local", "global"]] = {
    Ablation.LOCAL_ONLY: "local",
    Ablation.GLOBAL_ONLY: "global",
}


@dataclass(frozen=True, slots=True)
class FineTuneReport:
    """Where fine-tuning stands.

    Attributes
    ----------
    stage : {"features", "training", "done"}
        Running the frozen trunk, training, or finished.
    step, steps : int
        Done and to do of this stage; training may end before ``steps``.
    loss : float or None
        Of the last step.
    score : float or None
        Validation score of the weights after ``step`` steps, if they were validated: bits
        for each combination (see `validation.validation_score`).
    best_score : float
        The highest so far; the model holds those weights.
    best_step : int
        Where it was reached; 0 stands for the model as it was given.
    mix : float
        Share of the new weights in the best ones; 0 for the model as it was given.
    seconds : float
        Time since this run started or resumed.
    """

    stage: Literal["features", "training", "done"]
    step: int
    steps: int
    loss: float | None
    score: float | None
    best_score: float
    best_step: int
    mix: float
    seconds: float


def fine_tune(
    model: DualChannelEncoder,
    pairs: PairSet,
    validation: PairSet,
    config: FineTuneConfig,
    *,
    rejected: RejectedPairs | None = None,
    checkpoint: Path | None = None,
) -> Iterator[FineTuneReport]:
    """Fine-tune an encoder on a few pairs, in place; a generator that reports each step.

    Between reports the model holds the weights that were best on the validation pairs so
    far, at first its own: stop by no longer asking. The weights that are tried are also
    mixed with those it started from, which keeps what it knew (Wortsman et al., "Robust
    fine-tuning of zero-shot models", 2022). Statistics of batch normalisation stay, since
    50 neurons of one scene estimate them worse than what the model was made from.

    Parameters
    ----------
    model : DualChannelEncoder
        Changed in place; moved to the best device, in evaluation mode at the end.
    pairs, validation : PairSet
        Disjoint; crops of the model's size.
    config : FineTuneConfig
        Strategy and settings.
    rejected : RejectedPairs, optional
        Candidates that are other cells, beside ``pairs``.
    checkpoint : Path, optional
        File to resume from if it exists, and to write to. A run that is killed and resumed
        from the same model ends with the same weights.

    Yields
    ------
    FineTuneReport
        After each step, and each batch through a frozen trunk; the last one is "done".

    Raises
    ------
    InputError
        If pairs are unfit or in both parts, the strategy does not fit the model, or the
        checkpoint is damaged or of another run.
    """
    learned = with_rejected(pairs, rejected)
    for part in (learned, validation):
        check_pairs(part, crop_pixels=model.config.crop_pixels)
    check_split(learned, validation)
    if config.ablation in _CHANNELS:
        keep_channels(model, _CHANNELS[config.ablation])
    tuning = _Tuning(model, validation, config)
    trainable = {name: value.requires_grad for name, value in model.named_parameters()}
    # The loop must update the copy alone.
    model.requires_grad_(False)
    try:
        yield from _tune(tuning, pairs, validation, config, rejected, checkpoint)
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trainable[name])
        model.eval()


def _tune(
    tuning: _Tuning,
    pairs: PairSet,
    validation: PairSet,
    config: FineTuneConfig,
    rejected: RejectedPairs | None,
    checkpoint: Path | None,
) -> Iterator[FineTuneReport]:
    began = time.monotonic()
    identity = _identity(tuning.start, (pairs, validation), config, rejected)
    learned = with_rejected(pairs, rejected)
    score = tuning.validate(0)
    yield tuning.report("training", 0, config.steps, began, score=score)
    if config.strategy is not Strategy.FROZEN:
        batches: EmbeddedBatches
        if can_cache(tuning.working, config.strategy):
            batches = cached = CachedBatches(
                tuning.working,
                config.strategy,
                learned,
                config.augment,
                copies=config.copies,
                seed=config.seed,
            )
            for done, total in cached.fill():
                yield tuning.report("features", done, total, began)
        else:
            batches = LiveBatches(tuning.working, learned, config.augment)
        objective = _Objective(tuning, batches, pairs, config, rejected)
        loop = train(
            tuning, objective, _loop_config(config), checkpoint=checkpoint, identity=identity
        )
        for step in loop:
            if objective.score is not None:
                done = step.step - 1
                yield tuning.report("training", done, config.steps, began, score=objective.score)
                objective.score = None
                if int(tuning.stale) >= config.patience:
                    break
            yield tuning.report("training", step.step, config.steps, began, loss=step.loss)
        else:
            score = tuning.validate(config.steps)
            yield tuning.report("training", config.steps, config.steps, began, score=score)
    yield tuning.report("done", config.steps, config.steps, began)


class _Tuning(nn.Module):
    """The model, the copy of it that is trained, and which weights were best.

    All of it is a module's state, so that a checkpoint of the loop holds all of it.
    """

    best_score: Tensor
    best_step: Tensor
    best_mix: Tensor
    stale: Tensor

    def __init__(
        self, model: DualChannelEncoder, validation: PairSet, config: FineTuneConfig
    ) -> None:
        super().__init__()
        self._encoder = Encoder(model, "")
        self._validation = validation
        self._mixes, self._confidence = config.mixes, config.confidence
        self._similarity: Float32Array | None = None
        self.start = _copied(model)
        self.working = adaptable_copy(model, config.strategy, seed=config.seed)
        self.best = model
        self.register_buffer("best_score", torch.tensor(-torch.inf, dtype=torch.float64))
        self.register_buffer("best_step", torch.tensor(0))
        self.register_buffer("best_mix", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("stale", torch.tensor(0))

    def train(self, mode: bool = True) -> _Tuning:
        """Put the copy into training mode, but for statistics of batch normalisation."""
        self.working.train(mode)
        for module in self.working.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def validate(self, step: int) -> float:
        """Score the weights that training has reached, and keep them if they are the best.

        They replace those of the start only if that is hardly chance: of a few dozen pairs
        some weights on the way always look better.
        """
        best, score = _copied(self.best), -np.inf
        ended, gained = plain_state(self.working), False
        try:
            for mix in self._mixes if step else (0.0,):
                mixed = {key: _mixed(self.start[key], ended[key], mix) for key in best}
                self.best.load_state_dict(mixed)
                similarity = self._similarity_now()
                score = validation_score(similarity, self._validation.scene)
                if score > float(self.best_score) and self._is_no_chance(similarity, score):
                    best, gained = mixed, True
                    self.best_score.fill_(score)
                    self.best_step.fill_(step)
                    self.best_mix.fill_(mix)
        finally:
            self.best.load_state_dict(best)
        self.stale.fill_(0 if gained else int(self.stale) + 1)
        return score

    def _is_no_chance(self, similarity: Float32Array, score: float) -> bool:
        scene = self._validation.scene
        if self._similarity is None:
            self._similarity = similarity
            return True
        gain = score - validation_score(self._similarity, scene)
        error = gain_error(self._similarity, similarity, scene) if self._confidence else 0.0
        return gain > self._confidence * error

    def _similarity_now(self) -> Float32Array:
        two_photon = self._encoder.embed(self._validation.two_photon)
        fmost = self._encoder.embed(self._validation.fmost)
        similarity: Float32Array = two_photon @ fmost.T
        return similarity

    def report(
        self,
        stage: Literal["features", "training", "done"],
        step: int,
        steps: int,
        began: float,
        *,
        loss: float | None = None,
        score: float | None = None,
    ) -> FineTuneReport:
        """Say where this stands."""
        return FineTuneReport(
            stage=stage,
            step=step,
            steps=steps,
            loss=loss,
            score=score,
            best_score=float(self.best_score),
            best_step=int(self.best_step),
            mix=float(self.best_mix),
            seconds=time.monotonic() - began,
        )


class _Objective:
    """The loss of one step; validates first where that is due."""

    def __init__(
        self,
        tuning: _Tuning,
        batches: EmbeddedBatches,
        pairs: PairSet,
        config: FineTuneConfig,
        rejected: RejectedPairs | None,
    ) -> None:
        self.score: float | None = None
        self._tuning, self._batches = tuning, batches
        self._validate_every = config.validate_every
        self._loss = _loss(config)
        sampler = BalancedSceneSampler(
            pairs.scene,
            neurons=min(config.neurons, len(pairs)),
            scenes_per_batch=config.scenes_per_batch,
            seed=config.seed,
        )
        self._rows = BatchRows(sampler, rejected, most=config.rejected, seed=config.seed)

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        if step and step % self._validate_every == 0:
            # Before the step rather than after the one before: a run resumed from the
            # checkpoint between the two then validates too.
            self.score = self._tuning.validate(step)
        rows, neurons = self._rows.batch(step)
        two_photon, fmost = self._batches.embed(rows, generator)
        loss: Tensor = self._loss(two_photon, fmost, neurons)
        return loss


def _loss(config: FineTuneConfig) -> nn.Module:
    if config.ablation is Ablation.TRIPLET:
        return TripletObjective()
    mine = config.ablation is not Ablation.NO_MINER
    return CircleObjective(gamma=config.gamma, margin=config.margin, mine=mine)


def _loop_config(config: FineTuneConfig) -> LoopConfig:
    return LoopConfig(
        steps=config.steps,
        optimizer="adam",
        learning_rate=config.learning_rate,
        schedule="cosine",
        warmup_steps=min(10, config.steps // 10),
        weight_decay=0.0,
        seed=config.seed,
        checkpoint_every=config.validate_every,
        report_every=1,
    )


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _mixed(start: Tensor, end: Tensor, share: float) -> Tensor:
    # Counters of batch normalisation are whole numbers, and do not change.
    return torch.lerp(start, end, share) if start.is_floating_point() else start


def _identity(
    start: dict[str, Tensor],
    parts: tuple[PairSet, ...],
    config: FineTuneConfig,
    rejected: RejectedPairs | None,
) -> str:
    """Digest all that decides the result, so that a checkpoint of another run is refused."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    for tensor in start.values():
        digest.update(tensor.cpu().numpy().tobytes())
    if rejected is not None:
        parts += (rejected.pairs,)
        digest.update(rejected.neurons.tobytes())
    for part in parts:
        for array in (part.two_photon, part.fmost, part.scene):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
