"""Local channel: the soma window at full resolution (paper 1, section 2.2)."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn

from napari_neurobridge.encoder.backbone import conv_stages, pyramid_side, vector_head
from napari_neurobridge.encoder.limits import (
    StageBlocks,
    StageStrides,
    StageWidths,
    check_stages,
)


class LocalConfig(BaseModel, frozen=True, extra="forbid"):
    """Architecture of the local channel."""

    window: int = Field(
        64, gt=0, le=1024, description="Side of the soma window, pixels of the crop."
    )
    widths: StageWidths = Field((32, 64, 96), min_length=1, description="Channels of each stage.")
    strides: StageStrides = Field((2, 2, 2), description="Stride of each stage.")
    blocks: StageBlocks = Field((0, 1, 1), description="Residual blocks of each stage.")
    readout: int = Field(32, gt=0, le=1024, description="Numbers kept per place of the last map.")

    @model_validator(mode="after")
    def _stages_are_whole(self) -> Self:
        check_stages(self.widths, self.strides, self.blocks)
        return self


class LocalChannel(nn.Module):
    """Convolutions with channel and spatial attention over the soma window.

    The last map is flattened rather than pooled: where a dendrite leaves the soma is
    what tells two somata of the same shape apart.

    Parameters
    ----------
    config : LocalConfig
        Architecture.
    dim : int
        Length of the feature vector.
    dropout : float, default: 0
        Share of the readout that is left out in training.
    in_channels : int, default: 1
        Channels of the input: the image, and which of its pixels are valid.
    """

    def __init__(
        self, config: LocalConfig, dim: int, *, dropout: float = 0.0, in_channels: int = 1
    ) -> None:
        super().__init__()
        self.window = config.window
        self.stages = conv_stages(
            config.widths, config.strides, config.blocks, attention=True, in_channels=in_channels
        )
        side = pyramid_side(config.window, config.strides)
        self.readout = nn.Conv2d(config.widths[-1], config.readout, 1)
        flat = side * side * config.readout
        self.head = vector_head(flat, dim, dropout=dropout)

    def maps(self, crops: Tensor) -> Tensor:
        """Map crops (B, in_channels, H, W) to the soma window's last map (B, C, h, w)."""
        top = (crops.shape[-2] - self.window) // 2
        left = (crops.shape[-1] - self.window) // 2
        window = crops[..., top : top + self.window, left : left + self.window]
        features: Tensor = self.stages(window)
        return features

    def forward(self, maps: Tensor) -> Tensor:
        """Read feature maps (B, C, h, w) out as vectors (B, dim)."""
        vectors: Tensor = self.head(self.readout(maps).flatten(1))
        return vectors
