"""Embedded batches for fine-tuning: computed whole, or from cached features of a frozen trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from napari_neurobridge.encoder.embed import autocast_pays
from napari_neurobridge.encoder.strategies import PARTIAL_BLOCKS, Strategy, backbone_blocks
from napari_neurobridge.training.augmentation import AugmentConfig, augment_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder
    from napari_neurobridge.io.pairs import PairSet

_CROPS_AT_ONCE = 64


class EmbeddedBatches(Protocol):
    """Gives unit vectors of chosen pairs that gradients flow back from."""

    def embed(
        self, chosen: npt.NDArray[np.int64], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Embed changed views of pairs ``chosen`` (B,); both sides, (B, D) each."""


class LiveBatches:
    """Augments crops anew at each step and runs the whole network.

    Parameters
    ----------
    model : DualChannelEncoder
        Network that is trained.
    pairs : PairSet
        Training pairs.
    augment : AugmentConfig
        What is changed of the crops.
    """

    def __init__(self, model: DualChannelEncoder, pairs: PairSet, augment: AugmentConfig) -> None:
        self._model = model
        self._two_photon = torch.from_numpy(pairs.two_photon)[:, None]
        self._fmost = torch.from_numpy(pairs.fmost)[:, None]
        self._augment = augment
        self._device = next(model.parameters()).device

    def embed(
        self, chosen: npt.NDArray[np.int64], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Embed changed views of pairs ``chosen`` (B,); both sides, (B, D) each."""
        rows = torch.from_numpy(chosen)
        sides = augment_pairs(self._two_photon[rows], self._fmost[rows], self._augment, generator)
        crops = torch.cat(sides).to(self._device)
        # Augmentation turned both sides of a pair alike, so one view will do.
        with _autocast(self._device):
            two_photon, fmost = self._model.embed_view(crops).chunk(2)
        return two_photon, fmost


class CachedBatches:
    """Runs only what is trained, on features that the frozen trunk gave once.

    `fill` makes them, for several changed copies of every pair: quarter turns, mirroring
    and all else that augmentation does are in the copies, and a step draws one of them
    for each pair.

    Parameters
    ----------
    model : DualChannelEncoder
        Network that is trained.
    strategy : Strategy
        Tells where the frozen part ends; see :func:`can_cache`.
    pairs : PairSet
        Training pairs.
    augment : AugmentConfig
        What is changed of the crops.
    copies : int
        Copies of every pair.
    seed : int
        Of the copies.
    """

    def __init__(
        self,
        model: DualChannelEncoder,
        strategy: Strategy,
        pairs: PairSet,
        augment: AugmentConfig,
        *,
        copies: int,
        seed: int,
    ) -> None:
        self._model = model
        self._blocks = strategy is Strategy.PARTIAL
        self._pairs, self._augment = pairs, augment
        self._copies, self._seed = copies, seed
        self._device = next(model.parameters()).device
        self._local: list[Tensor] = []
        self._context: list[Tensor] = []

    def fill(self) -> Iterator[tuple[int, int]]:
        """Run the trunk; yields (done, total) batches of pairs."""
        per_batch = _CROPS_AT_ONCE // 2
        starts = range(0, len(self._pairs), per_batch)
        total = self._copies * len(starts)
        for copy in range(self._copies):
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + copy)
            local, context = [], []
            for index, start in enumerate(starts):
                rows = slice(start, start + per_batch)
                sides = augment_pairs(
                    torch.from_numpy(self._pairs.two_photon[rows])[:, None],
                    torch.from_numpy(self._pairs.fmost[rows])[:, None],
                    self._augment,
                    generator,
                )
                parts = self._trunk(torch.cat(sides))
                local.append(torch.stack(parts[0].chunk(2), dim=1))
                context.append(torch.stack(parts[1].chunk(2), dim=1))
                yield copy * len(starts) + index + 1, total
            self._local.append(torch.cat(local))
            self._context.append(torch.cat(context))

    def embed(
        self, chosen: npt.NDArray[np.int64], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Embed cached views of pairs ``chosen`` (B,); both sides, (B, D) each."""
        copies = torch.randint(self._copies, (len(chosen),), generator=generator).tolist()
        drawn = list(zip(copies, chosen.tolist(), strict=True))
        # (B, 2, ...) with the sides in the second place becomes (2B, ...) side by side.
        local = torch.stack([self._local[copy][row] for copy, row in drawn], dim=1).flatten(0, 1)
        context = torch.stack([self._context[copy][row] for copy, row in drawn], dim=1).flatten(
            0, 1
        )
        with _autocast(self._device):
            two_photon, fmost = self._rest(
                local.float().to(self._device), context.float().to(self._device)
            ).chunk(2)
        return two_photon, fmost

    def _trunk(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the frozen part gives: inputs of the heads, or of the late blocks."""
        inputs: dict[str, Tensor] = {}

        def keep(name: str) -> object:
            def hook(module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
                inputs[name] = arguments[0]

            return hook

        model = self._model
        ends = {"local": model.local_channel.head, "context": self._late()[0]}
        hooks = [end.register_forward_pre_hook(keep(name)) for name, end in ends.items()]  # type: ignore[arg-type]
        was_training = model.training
        try:
            with torch.no_grad(), _autocast(self._device):
                model.eval().embed_view(crops.to(self._device))
        finally:
            model.train(was_training)
            for hook in hooks:
                hook.remove()
        # Half precision halves the memory; its error is far below that of the pixels.
        return inputs["local"].half().cpu(), inputs["context"].half().cpu()

    def _late(self) -> list[torch.nn.Module]:
        if self._blocks:
            return backbone_blocks(self._model)[-PARTIAL_BLOCKS:]
        return [self._model.global_channel.head]

    def _rest(self, local: Tensor, context: Tensor) -> Tensor:
        """Run the trained part."""
        channel = self._model.global_channel
        for module in self._late():
            context = module(context)
        if self._blocks:
            context = channel(channel.layout.tokens(channel.vit.norm(context)))
        return self._model.fuse(self._model.local_channel.head(local), context)


def can_cache(model: DualChannelEncoder, strategy: Strategy) -> bool:
    """Say whether the frozen trunk of a strategy can be run once and for all."""
    if strategy is Strategy.PARTIAL:
        # Of a plain transformer we know what follows its blocks.
        return isinstance(model.global_channel.vit, VisionTransformer)
    return strategy is Strategy.LINEAR


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=autocast_pays(device))
