"""Segmentation as algorithm 1 adapts it: a 2D U-Net, tiles of sections, seeded watershed.

NeuroADDA, sections 3 and 4: activations of the last down-projection layer, max-pooled, are the
features; the watershed is fixed on the source; the variation of information tells how far the
instances are from the truth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import BaseModel, Field

from napari_neurobridge.active.gradients import class_gradients
from napari_neurobridge.active.samplers.by_name import SamplerName
from napari_neurobridge.active.samplers.pool import Pool
from napari_neurobridge.active.uncertainty import PASSES, dropout_uncertainty
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet, load_segmenter
from napari_neurobridge.detection.watershed import instances, variation_of_information
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import read_fingerprint
from napari_neurobridge.models.model_folder import ModelFolder
from napari_neurobridge.training.loop import LoopConfig, run_through, train
from napari_neurobridge.training.segmenter_draws import (
    DrawParams,
    labels_at,
    seen_at,
    window_places,
)
from napari_neurobridge.training.segmenter_task import segmentation_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_neurobridge.active.adapt import Weights
    from napari_neurobridge.active.samplers.pool import RowArray
    from napari_neurobridge.active.tiles import Bools, Corner, TileLabels, Tiles
    from napari_neurobridge.models.fingerprint import FeatureSample
    from napari_neurobridge.types import Float32Array, FloatArray, Report

SIDE = "images"
"""What a segmenter's fingerprint calls the one kind of image that it sees."""


class SegmentationParams(BaseModel, frozen=True, extra="forbid"):
    """How tiles are learned, and how uncertainty is told."""

    draws: DrawParams = DrawParams(size_px=128, scale=(0.9, 1.1))
    batch: int = Field(4, gt=0, description="Windows in a step.")
    learning_rate: float = Field(1e-3, gt=0, description="Highest, in each round anew.")
    checkpoint_every: int = Field(250, gt=0, description="Steps between checkpoints.")
    passes: int = Field(PASSES, gt=0, description="Passes with dropout.")
    tiles_at_once: int = Field(4, gt=0, description="Tiles that are predicted together.")


@dataclass(frozen=True, eq=False)
class SegmentationTask:
    """An `active.adapt.AdaptationTask` of tiles; its labels are `TileLabels`.

    Attributes
    ----------
    tiles : Tiles
    config : SegmenterConfig
        The network's, and the watershed that evaluation cuts with: those of the source; see
        `like`.
    sources : mapping of str to Path
        Model folders by name.
    params : SegmentationParams
    seed : int
        Of an untrained network.
    """

    tiles: Tiles
    config: SegmenterConfig
    sources: Mapping[str, Path] = field(default_factory=dict)
    params: SegmentationParams = field(default_factory=SegmentationParams)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.config.planes != 1:
            raise InputError(
                f"'{self.config.name}' sees {self.config.planes} planes at once; tiles of single "
                "sections take a segmenter that sees one."
            )

    def like(self, source: str) -> SegmentationTask:
        """Return the same task with the network and the watershed of a source."""
        return replace(self, config=self._load(source).config)

    @property
    def identity(self) -> str:
        """What tiles, network and settings are."""
        settings = [self.config.model_dump(mode="json"), self.params.model_dump(mode="json")]
        models = {name: ModelFolder.open(path).hash for name, path in sorted(self.sources.items())}
        return json.dumps([self.tiles.digest, settings, models, self.seed])

    def __len__(self) -> int:
        return len(self.tiles.pool)

    def fingerprint(self, source: str) -> Mapping[str, FeatureSample]:
        """Return what a source's network makes of its own tiles."""
        found = read_fingerprint(ModelFolder.open(self.sources[source]))
        if not found:
            raise InputError(f"The source '{source}' holds no fingerprint of its training data.")
        return found

    def pool_features(self, source: str) -> Mapping[str, FloatArray]:
        """Return what a source's network makes of the pool."""
        return {SIDE: deepest_features(self._load(source), self.tiles, self.tiles.pool)}

    def start(self, source: str | None) -> Weights:
        """Return the weights of a source, or of an untrained network."""
        if source is not None:
            net = self._load(source)
            # Name and watershed may differ, the weights' shapes may not.
            return self._state(self.network(net.state_dict()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self._state(SegmenterNet(self.config))

    def network(self, weights: Weights) -> SegmenterNet:
        """Return the network with some weights, in evaluation mode.

        Raises
        ------
        InputError
            If the weights are of a network of another size.
        """
        net = SegmenterNet(self.config)
        try:
            net.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise InputError("The source is a network of another size than the task's.") from error
        return net.eval()

    def pool(self, weights: Weights, items: RowArray, sampler: SamplerName, *, seed: int) -> Pool:
        """Return tiles of the pool as a model sees them."""
        if sampler is SamplerName.RANDOM:
            return Pool(np.zeros(len(items)))
        net = self.network(weights)
        corners = [self.tiles.pool[item] for item in items.tolist()]
        uncertainty = tile_uncertainty(net, self.tiles, corners, self.params, seed=seed)
        if sampler not in (SamplerName.BADGE, SamplerName.CLUE):
            return Pool(uncertainty)
        features, gradients = [], []
        for batch in _batches(corners, self.params.tiles_at_once):
            with torch.inference_mode():
                maps = net.finest(torch.from_numpy(self.tiles.seen(batch)))
                chance = two_classes(net.tell(maps)[:, 0]).numpy()
            features.append(maps.mean(dim=(2, 3)).numpy())
            gradients.append(class_gradients(chance, maps.numpy()))
        return Pool(uncertainty, np.concatenate(features), np.concatenate(gradients))

    def train(
        self,
        weights: Weights,
        labels: Mapping[int, TileLabels],
        steps: int,
        *,
        seed: int,
        checkpoint: Path | None = None,
        report: Report | None = None,
    ) -> Weights:
        """Return weights that have learned windows of labelled tiles for some steps."""
        items = sorted(labels)
        if not any(labels[item].known.any() for item in items):
            raise InputError("No pixel of the tiles is labelled.")
        net = self.network(weights)

        def batch_loss(step: int, _generator: torch.Generator) -> Tensor:
            rng = np.random.default_rng([seed, step])
            drawn: list[tuple[Float32Array, Bools, Bools]] = []
            while len(drawn) < self.params.batch:
                item = items[int(rng.integers(len(items)))]
                window = self._window(self.tiles.image(self.tiles.pool[item]), labels[item], rng)
                if window[2].any():
                    drawn.append(window)
            images, wanted, known = (
                torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)
            )
            return segmentation_loss(net(images), wanted.float(), known)

        loop = LoopConfig(
            steps=steps,
            learning_rate=self.params.learning_rate,
            warmup_steps=min(20, steps // 10),
            weight_decay=0.01,
            checkpoint_every=self.params.checkpoint_every,
            report_every=min(25, self.params.checkpoint_every),
            seed=seed,
        )
        run_through(
            train(net, batch_loss, loop, checkpoint=checkpoint, identity=json.dumps(items)), report
        )
        return self._state(net)

    def evaluate(self, weights: Weights) -> Mapping[str, float]:
        """Return ``vi`` = ``split`` + ``merge`` in bits, mean over the held-out tiles with cells.

        Background counts as a segment for somata; pixels of boundaries do not count.
        """
        net = self.network(weights)
        boundaries = self.config.target == "boundaries"
        bits = []
        for corner, found in told_tiles(net, self.tiles, self.tiles.test, self.params):
            truth = self.tiles.truth(corner, boundaries=boundaries)
            if truth.any():
                cut = instances(found, self.config.target, self.config.watershed)
                bits.append(variation_of_information(truth, cut, background=not boundaries))
        if not bits:
            raise InputError("The held-out sections hold no labelled cell to evaluate on.")
        split, merge = np.mean(bits, axis=0).tolist()
        return {"vi": split + merge, "split": split, "merge": merge}

    def _window(
        self, image: Float32Array, labels: TileLabels, rng: np.random.Generator
    ) -> tuple[Float32Array, Bools, Bools]:
        """Return a window of a tile, what is wanted of it, and where that is known."""
        multiple = self.config.multiple
        side = min(self.params.draws.size_px, *image.shape) // multiple * multiple
        draws = self.params.draws.model_copy(update={"size_px": side})
        half = (np.array(image.shape) - 1) / 2
        room = np.maximum(half - side / 2, 0)
        at = window_places(half + rng.uniform(-room, room), draws, rng)
        seen = seen_at(image[None], at, 0, count=1, step=1.0, rng=rng)
        return seen, labels_at(labels.wanted, at), labels_at(labels.known, at)

    def _load(self, source: str) -> SegmenterNet:
        return load_segmenter(self.sources[source])

    @staticmethod
    def _state(net: SegmenterNet) -> Weights:
        return {name: value.detach().clone() for name, value in net.state_dict().items()}


def two_classes(logits: Tensor) -> Tensor:
    """Return the probabilities (B, 2, H, W) of the rest and of what is told."""
    chance = logits.sigmoid()
    return torch.stack([1 - chance, chance], dim=1)


@torch.inference_mode()
def deepest_features(
    net: SegmenterNet, tiles: Tiles, corners: Sequence[Corner], at_once: int = 4
) -> Float32Array:
    """Return the max-pooled activations of the deepest layer (N, F) (NeuroADDA, section 4.1)."""
    rows = [
        net.deepest(torch.from_numpy(tiles.seen(batch))).amax(dim=(2, 3)).numpy()
        for batch in _batches(corners, at_once)
    ]
    return np.concatenate(rows)


@torch.inference_mode()
def told_tiles(
    net: SegmenterNet, tiles: Tiles, corners: Sequence[Corner], params: SegmentationParams
) -> Iterator[tuple[Corner, Float32Array]]:
    """Yield each tile and the probability (H, W) that a network gives it."""
    for batch in _batches(corners, params.tiles_at_once):
        told = net(torch.from_numpy(tiles.seen(batch))).sigmoid().numpy()
        yield from zip(batch, told, strict=True)


def tile_uncertainty(
    net: SegmenterNet,
    tiles: Tiles,
    corners: Sequence[Corner],
    params: SegmentationParams,
    *,
    seed: int,
) -> FloatArray:
    """Return the entropy of the mean prediction under dropout, mean over pixels, (N,)."""
    return dropout_uncertainty(
        net,
        lambda rows: two_classes(net(torch.from_numpy(tiles.seen(corners[rows])))),
        len(corners),
        passes=params.passes,
        batch_size=params.tiles_at_once,
        seed=seed,
    )


def _batches(corners: Sequence[Corner], count: int) -> Iterator[Sequence[Corner]]:
    for start in range(0, len(corners), count):
        yield corners[start : start + count]
