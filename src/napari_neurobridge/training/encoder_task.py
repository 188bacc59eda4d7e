"""Training a dual-channel encoder on pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor

from napari_neurobridge.encoder.dual_channel import (
    DualChannelEncoder,
    EncoderConfig,
    paper_config,
)
from napari_neurobridge.encoder.embed import autocast_pays, best_device
from napari_neurobridge.simulation.levels import DOMAINS
from napari_neurobridge.simulation.posed_pairs import CropPoses
from napari_neurobridge.training.augmentation import AugmentConfig, augment_pairs
from napari_neurobridge.training.loop import LoopConfig, StepReport, train
from napari_neurobridge.training.losses import (
    CircleObjective,
    CrossModalCircle,
    Memory,
    info_nce,
)
from napari_neurobridge.training.sampling import BalancedSceneSampler
from napari_neurobridge.training.simulated_data import PairSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_neurobridge.training.simulated_data import ByteCrops


class EncoderTaskConfig(BaseModel, frozen=True, extra="forbid"):
    """Everything that decides the weights of a model, apart from the software."""

    encoder: EncoderConfig = EncoderConfig()
    loop: LoopConfig = LoopConfig()
    augment: AugmentConfig = AugmentConfig()
    sources: tuple[PairSource, ...] = Field(
        (PairSource(pairs=24_000),), min_length=1, description="What the training pairs are."
    )
    held_out_level: str = Field("paper", description="Difficulty of the held-out scenes.")
    validation_seeds: tuple[int, ...] = Field(
        tuple(range(10, 20)), description="Scenes to watch training by; never trained on."
    )
    test_seeds: tuple[int, ...] = Field(
        tuple(range(100, 110)), description="Scenes of the final figures; seen by nothing else."
    )
    contrastive_steps: int = Field(0, ge=0, description="Steps of InfoNCE before circle loss.")
    contrastive_neurons: int = Field(64, gt=1, description="Neurons per batch of InfoNCE.")
    temperature: float = Field(0.07, gt=0, description="Temperature of InfoNCE.")
    neurons: int = Field(50, gt=1, description="Neurons per batch of circle loss.")
    scenes_per_batch: int = Field(3, gt=0, description="Scenes per batch.")
    cross_modal: bool = Field(
        False, description="Compare anchors of circle loss with the other side only."
    )
    memory: int = Field(
        0,
        ge=0,
        le=65_536,
        description="Pairs of past batches whose vectors are further negatives; of circle loss "
        "only where that is across sides.",
    )
    gamma: float = Field(256.0, gt=0, description="Scale of circle loss.")
    margin: float = Field(0.25, gt=0, description="Relaxation of circle loss.")


def paper_task() -> EncoderTaskConfig:
    """Return the paper's settings: circle loss from the start, Adam at 1e-4 (supplement 1.1)."""
    return EncoderTaskConfig(
        encoder=paper_config(),
        loop=LoopConfig(
            optimizer="adam",
            learning_rate=1e-4,
            schedule="constant",
            warmup_steps=0,
            weight_decay=0.0,
        ),
    )


BUNDLED_SOURCES = (
    PairSource(level="paper", pairs=28_800),
    PairSource(level="paper", pairs=1_280, first_seed=3000, reconstructions=True),
    PairSource(level="hard", pairs=1_920, first_seed=2000),
    PairSource(level="easy", pairs=640, first_seed=2000),
    *(PairSource(level=domain, pairs=640, first_seed=2000) for domain in DOMAINS),
)
"""What the bundled model learns from: mostly `paper`, and a little of everything else."""


def compact_task(
    *, steps: int, sources: Sequence[PairSource] = BUNDLED_SOURCES, seed: int = 0
) -> EncoderTaskConfig:
    """Return the settings of the bundled model.

    From scratch, circle loss with mined pairs alone learns slowly, so the first three
    fifths of the steps ask for the partner among the batch (InfoNCE); the rest is the
    paper's objective with the paper's batches.
    """
    return EncoderTaskConfig(
        encoder=EncoderConfig(name="compact"),
        loop=LoopConfig(steps=steps, seed=seed),
        sources=tuple(sources),
        contrastive_steps=steps * 3 // 5,
    )


RELEASE_POSES = (None, CropPoses(), CropPoses())
"""Of three crops of a cell one lies as the level has it, as where a project is well oriented."""

RELEASE_SOURCES = tuple(
    source.model_copy(update={"poses": RELEASE_POSES})
    for source in (
        *BUNDLED_SOURCES,
        PairSource(level="sparse", pairs=9_600, first_seed=4000),
    )
)
"""What the next release learns from: as before, sparse scenes too, all of them in several poses."""


def release_task(
    *, steps: int, sources: Sequence[PairSource] = RELEASE_SOURCES, seed: int = 0
) -> EncoderTaskConfig:
    """Return the settings of the bundled model's next release, which wants a GPU.

    Beside posed and sparse pairs: a validity mask, dropout in the heads, negatives across sides
    alone, a memory of past vectors, and the mean of the weights.
    """
    return EncoderTaskConfig(
        encoder=EncoderConfig(name="compact", mask=True, dropout=0.1),
        loop=LoopConfig(steps=steps, seed=seed, weight_average=0.999),
        # Poses turn the crops already, and without black corners.
        augment=AugmentConfig(rotation_deg=5.0),
        sources=tuple(sources),
        contrastive_steps=steps * 3 // 5,
        contrastive_neurons=192,
        neurons=96,
        scenes_per_batch=6,
        cross_modal=True,
        memory=2048,
    )


class EncoderObjective:
    """The loss of one training step; pure in the step and the generator.

    Parameters
    ----------
    model : DualChannelEncoder
        Network to train.
    two_photon, fmost : ndarray of uint8, shape (N, P, P) or (N, views, P, P)
        Training crops, 255 standing for 1; of several poses a step takes one of each pair.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    config : EncoderTaskConfig
        Batches, augmentation, losses.
    """

    def __init__(
        self,
        model: DualChannelEncoder,
        two_photon: ByteCrops,
        fmost: ByteCrops,
        scene: npt.NDArray[np.int64],
        config: EncoderTaskConfig,
    ) -> None:
        self._model = model
        self._two_photon = two_photon
        self._fmost = fmost
        self._config = config
        self._circle = CircleObjective(gamma=config.gamma, margin=config.margin)
        self._across = CrossModalCircle(gamma=config.gamma, margin=config.margin)
        self._device = next(model.parameters()).device
        self.memory = Memory(config.memory, model.config.view_dim).to(self._device)
        self._autocast = autocast_pays(self._device)
        seed = config.loop.seed
        shared = {"scenes_per_batch": config.scenes_per_batch, "seed": seed}
        self._balanced = BalancedSceneSampler(scene, neurons=config.neurons, **shared)
        wide = min(config.contrastive_neurons, len(scene))
        self._wide = BalancedSceneSampler(scene, neurons=wide, **shared)

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        """Return the loss of one step."""
        contrastive = step < self._config.contrastive_steps
        chosen = (self._wide if contrastive else self._balanced).batch(step)
        two_photon, fmost = self._crops(chosen, step)
        sides = augment_pairs(two_photon, fmost, self._config.augment, generator)
        crops = torch.cat(sides).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            # Augmentation turned both sides of a pair alike, so one view will do.
            embeddings = self._model.embed_view(crops)
        two_photon, fmost = embeddings.chunk(2)
        neurons = torch.from_numpy(chosen).to(self._device)
        loss = self._loss(two_photon, fmost, neurons, contrastive)
        self.memory.add(two_photon, fmost, neurons)
        return loss

    def _crops(self, chosen: npt.NDArray[np.int64], step: int) -> tuple[Tensor, Tensor]:
        """Return the crops of some pairs, each in one of its poses."""
        if self._fmost.ndim == 3:
            return _as_tensor(self._two_photon[chosen]), _as_tensor(self._fmost[chosen])
        rng = np.random.default_rng((self._config.loop.seed, step, 1))
        view = rng.integers(self._fmost.shape[1], size=len(chosen))
        return _as_tensor(self._two_photon[chosen, view]), _as_tensor(self._fmost[chosen, view])

    def _loss(
        self, two_photon: Tensor, fmost: Tensor, neurons: Tensor, contrastive: bool
    ) -> Tensor:
        loss: Tensor
        if contrastive:
            loss = info_nce(
                two_photon,
                fmost,
                temperature=self._config.temperature,
                neurons=neurons,
                memory=self.memory,
            )
        elif self._config.cross_modal:
            loss = self._across(two_photon, fmost, neurons, self.memory)
        else:
            loss = self._circle(two_photon, fmost)
        return loss


def new_encoder(config: EncoderTaskConfig) -> DualChannelEncoder:
    """Return an untrained network on the best device, its weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.loop.seed)
        model = DualChannelEncoder(config.encoder)
    return model.to(best_device()).to(memory_format=torch.channels_last)


def train_encoder(
    model: DualChannelEncoder,
    two_photon: ByteCrops,
    fmost: ByteCrops,
    scene: npt.NDArray[np.int64],
    config: EncoderTaskConfig,
    *,
    checkpoint: Path | None = None,
) -> Iterator[StepReport]:
    """Train an encoder on pairs, in place; a generator as :func:`loop.train` is.

    Parameters
    ----------
    model : DualChannelEncoder
        Weights to start from, unless there is a checkpoint.
    two_photon, fmost : ndarray of uint8, shape (N, P, P) or (N, views, P, P)
        Crops, 255 standing for 1; row i of both is one neuron.
    scene : ndarray of int, shape (N,)
        Scene of each pair.
    config : EncoderTaskConfig
        Architecture and training.
    checkpoint : Path, optional
        Resume from and write to this file.

    Yields
    ------
    StepReport
        Where training stands.
    """
    objective = EncoderObjective(model, two_photon, fmost, scene, config)
    yield from train(model, objective, config.loop, checkpoint=checkpoint, memory=objective.memory)


def _as_tensor(crops: ByteCrops) -> Tensor:
    return torch.from_numpy(crops).float().div_(255)[:, None]
