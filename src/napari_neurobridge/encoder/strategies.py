"""Which weights of an encoder a few pairs may change (paper 1, section 3.2)."""

from __future__ import annotations

import copy
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_neurobridge.encoder.dual_channel import DualChannelEncoder

PARTIAL_BLOCKS = 4
"""Blocks of the backbone that partial fine-tuning changes, counted from the end."""


class Strategy(StrEnum):
    """What fine-tuning changes of an encoder, whatever channels that has."""

    FROZEN = "frozen"
    LINEAR = "linear"
    PARTIAL = "partial"
    LORA_4 = "lora-4"
    LORA_8 = "lora-8"
    LORA_16 = "lora-16"
    FULL = "full"
    DUAL_CHANNEL = "dual-channel"

    @property
    def lora_rank(self) -> int | None:
        """Rank of the matrices that LoRA adds; ``None`` for the other strategies."""
        return int(self.removeprefix("lora-")) if self.startswith("lora-") else None


class Ablation(StrEnum):
    """What is taken away from the paper's method (paper 1, table 2)."""

    NONE = "none"
    NO_MINER = "no-miner"
    TRIPLET = "triplet"
    LOCAL_ONLY = "local-only"
    GLOBAL_ONLY = "global-only"


def keep_channels(model: DualChannelEncoder, channels: Literal["both", "local", "global"]) -> None:
    """Let an encoder use one of its channels alone, or both; its weights stay."""
    model.config = model.config.model_copy(update={"channels": channels})


def adaptable_copy(
    model: DualChannelEncoder, strategy: Strategy, *, seed: int = 0
) -> DualChannelEncoder:
    """Copy an encoder, with only those weights trainable that a strategy changes.

    ``frozen`` changes nothing; ``linear`` the last layer of each channel and the gate;
    ``partial`` those and the last four blocks of the backbone with what follows them;
    ``lora-r`` adds matrices of rank r to all linear layers of the channels and changes
    only those; ``full`` and ``dual-channel`` change everything. Weights of a channel that
    the encoder does not use are never trainable.

    Parameters
    ----------
    model : DualChannelEncoder
        Left as it is.
    strategy : Strategy
        What may change.
    seed : int, default: 0
        Seed of the matrices that LoRA adds.

    Returns
    -------
    DualChannelEncoder
        Its ordinary weights come from :func:`plain_state`.

    Raises
    ------
    InputError
        If ``dual-channel`` is asked of an encoder that uses one channel, or peft is not
        installed.
    """
    if strategy is Strategy.DUAL_CHANNEL and model.config.channels != "both":
        raise InputError(
            f"dual-channel fine-tuning needs both channels, and model {model.config.name!r} uses "
            f"the {model.config.channels} one alone; choose the strategy 'full'"
        )
    working = copy.deepcopy(model)
    everything = strategy in (Strategy.FULL, Strategy.DUAL_CHANNEL)
    working.requires_grad_(everything)
    if strategy in (Strategy.LINEAR, Strategy.PARTIAL):
        for head in (working.local_channel.head, working.global_channel.head):
            head.requires_grad_(True)
        working.gate.requires_grad_(True)
    if strategy is Strategy.PARTIAL:
        for module in _late_modules(working):
            module.requires_grad_(True)
    if strategy.lora_rank is not None:
        _add_lora(working, strategy.lora_rank, seed)
    for name, parameter in working.named_parameters():
        if _is_unused(name, working.config.channels):
            parameter.requires_grad_(False)
    return working


def plain_state(working: DualChannelEncoder) -> dict[str, Tensor]:
    """Return the weights of an adaptable copy under the names that its original has.

    Matrices of LoRA are multiplied out and added to the weights they belong to.
    """
    deltas = {name: delta("default") for name, delta in _lora_deltas(working)}
    state: dict[str, Tensor] = {}
    for key, tensor in working.state_dict().items():
        if ".lora_" in key:
            continue
        owner, _, leaf = key.rpartition(".")
        name = owner.removesuffix(".base_layer")
        if name in deltas and leaf == "weight":
            tensor = tensor + deltas[name].to(tensor.dtype)
        state[f"{name}.{leaf}" if name else leaf] = tensor.detach().clone()
    return state


def backbone_blocks(model: DualChannelEncoder) -> list[nn.Module]:
    """Return the blocks of the global channel's backbone, first to last."""
    backbone: nn.Module = model.global_channel.vit
    blocks = getattr(backbone, "blocks", None)
    if blocks is None:
        # timm's convolutional families call their sequences of blocks stages or layers.
        stages = getattr(backbone, "stages", None)
        parts = [part for name, part in backbone.named_children() if name.startswith("layer")]
        # Of one family it is a method.
        if isinstance(stages, nn.Sequential | nn.ModuleList):
            parts = list(stages)
        blocks = [block for part in parts for block in _blocks_of(part)]
    return list(blocks)


def _blocks_of(stage: nn.Module) -> list[nn.Module]:
    blocks = getattr(stage, "blocks", stage)
    return list(blocks) if isinstance(blocks, nn.Sequential | nn.ModuleList) else [blocks]


def _late_modules(model: DualChannelEncoder) -> Iterator[nn.Module]:
    """Yield the last blocks of the backbone, its final norm and the readout after it."""
    yield from backbone_blocks(model)[-PARTIAL_BLOCKS:]
    norm = getattr(model.global_channel.vit, "norm", None)
    if isinstance(norm, nn.Module):
        yield norm
    yield model.global_channel.readout


def _is_unused(name: str, channels: str) -> bool:
    if channels == "both":
        return False
    unused = "global_channel." if channels == "local" else "local_channel."
    return name.startswith((unused, "gate."))


def _add_lora(model: DualChannelEncoder, rank: int, seed: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model  # brings transformers, seconds
    except ImportError as error:
        raise InputError(
            "LoRA needs peft; install it with `pip install napari-neurobridge[lora]`, "
            "or choose another strategy"
        ) from error
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(("global_channel.", "local_channel."))
    ]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)


def _lora_deltas(model: nn.Module) -> Iterator[tuple[str, Callable[[str], Tensor]]]:
    """Yield the name of each layer that LoRA adds to, and peft's way to multiply out."""
    for name, module in model.named_modules():
        if callable(delta := getattr(module, "get_delta_weight", None)):
            yield name, delta
