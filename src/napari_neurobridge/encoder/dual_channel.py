"""The dual-channel encoder of paper 1: two channels, a gate, one unit vector per crop."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.encoder.gate import Gate
from napari_neurobridge.encoder.global_channel import GlobalChannel, GlobalConfig
from napari_neurobridge.encoder.local_channel import LocalChannel, LocalConfig


class EncoderConfig(BaseModel, frozen=True, extra="forbid"):
    """The whole architecture; ``config.toml`` of a model folder holds exactly this."""

    schema_version: Literal[1] = 1
    name: str = Field("compact", description="Name of the model.")
    crop_pixels: int = Field(150, gt=0, description="Side of the crops, pixels.")
    dim: int = Field(768, gt=0, description="Length of the unit vector.")
    channels: Literal["both", "local", "global"] = Field(
        "both", description="Use one channel alone (the paper's ablations)."
    )
    local_channel: LocalConfig = LocalConfig()
    global_channel: GlobalConfig = GlobalConfig()


def paper_config() -> EncoderConfig:
    """Return the paper's size: a ViT-Base for the global channel.

    The paper's Unicom weights are not in timm; CLIP's image tower of the same shape is
    the substitute, and ``pretrained`` is off until its weights are at hand.
    """
    return EncoderConfig(
        name="paper",
        local_channel=LocalConfig(widths=(64, 128, 256), blocks=(1, 2, 2)),
        global_channel=GlobalConfig(
            stem_widths=(),
            stem_strides=(),
            stem_blocks=(),
            vit="vit_base_patch16_clip_224",
            vit_options={"patch_size": 16},
        ),
    )


class DualChannelEncoder(nn.Module):
    """One unit vector per crop, by the same weights for either microscope.

    Parameters
    ----------
    config : EncoderConfig
        Architecture.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.local_channel = LocalChannel(config.local_channel, config.dim)
        self.global_channel = GlobalChannel(config.global_channel, config.crop_pixels, config.dim)
        self.gate = Gate(config.dim)

    def forward(self, crops: Tensor) -> Tensor:
        """Embed crops (B, 1, P, P) in [0, 1] as float32 unit vectors (B, dim)."""
        crops = standardize(crops)
        maps = self.local_channel.maps(crops)
        tokens = self.global_channel.tokens(crops)
        return functional.normalize(self._fuse(maps, tokens).float(), dim=-1)

    def gate_weights(self, crops: Tensor) -> Tensor:
        """Return the weights (B, 2) that the gate gives the local and global channel."""
        crops = standardize(crops)
        local, context = self._vectors(
            self.local_channel.maps(crops), self.global_channel.tokens(crops)
        )
        return self.gate.weights(local, context)

    def trunk_features(self, crops: Tensor) -> Tensor:
        """Max-pool both channels' last maps (B, C_local + C_global), for domain distances."""
        crops = standardize(crops)
        maps = self.local_channel.maps(crops).amax(dim=(2, 3))
        tokens = self.global_channel.tokens(crops).amax(dim=1)
        return torch.cat((maps.float(), tokens.float()), dim=-1)

    def _vectors(self, maps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Read both channels out as unit vectors, so that the gate alone sets their share."""
        local = functional.normalize(self.local_channel(maps).float(), dim=-1)
        context = functional.normalize(self.global_channel(tokens).float(), dim=-1)
        return local, context

    def _fuse(self, maps: Tensor, tokens: Tensor) -> Tensor:
        local, context = self._vectors(maps, tokens)
        if self.config.channels == "local":
            return local
        if self.config.channels == "global":
            return context
        fused: Tensor = self.gate(local, context)
        return fused


def standardize(crops: Tensor) -> Tensor:
    """Give the square root of each crop (B, 1, P, P) mean 0 and deviation 1.

    Brightness is no identity, and the root makes shot noise alike in bright and dim
    places, so that faint neighbours count beside a bright one.
    """
    crops = crops.clamp_min(0.0).sqrt()
    mean = crops.mean(dim=(2, 3), keepdim=True)
    deviation = crops.std(dim=(2, 3), keepdim=True)
    return (crops - mean) / deviation.clamp_min(1e-3)
