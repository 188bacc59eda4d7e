"""Global channel: spatial attention, then a vision transformer (paper 1, section 2.2)."""

from __future__ import annotations

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.encoder.attention import SpatialAttention
from napari_neurobridge.encoder.backbone import (
    TimmOption,
    build_vit,
    conv_stages,
    pyramid_side,
)


class GlobalConfig(BaseModel, frozen=True, extra="forbid"):
    """Architecture of the global channel.

    With a stem, the transformer reads the stem's feature map, which a network trained
    from scratch needs far fewer pairs for; without one it reads the crop itself, as a
    pretrained transformer does.
    """

    stem_widths: tuple[int, ...] = Field(
        (48, 96), description="Channels of the convolution stem's stages; empty for none."
    )
    stem_strides: tuple[int, ...] = Field((4, 2), description="Stride of each stage.")
    stem_blocks: tuple[int, ...] = Field((1, 1), description="Residual blocks of each stage.")
    vit: str = Field("vit_tiny_patch16_224", description="timm name of the transformer.")
    vit_options: dict[str, TimmOption] = Field(
        {
            "patch_size": 2,
            "embed_dim": 192,
            "depth": 3,
            "num_heads": 3,
            "class_token": False,
            "global_pool": "",
        },
        description="timm.create_model options that override the named architecture.",
    )
    pretrained: bool = Field(False, description="Start from timm's weights for that name.")
    readout: int = Field(32, gt=0, description="Numbers kept per patch token.")


class GlobalChannel(nn.Module):
    """Context of the whole crop: fibres and neighbouring somata.

    Parameters
    ----------
    config : GlobalConfig
        Architecture.
    crop_pixels : int
        Side of the crops.
    dim : int
        Length of the feature vector.
    """

    def __init__(self, config: GlobalConfig, crop_pixels: int, dim: int) -> None:
        super().__init__()
        self.stem = conv_stages(config.stem_widths, config.stem_strides, config.stem_blocks)
        side = pyramid_side(crop_pixels, config.stem_strides)
        patch = int(config.vit_options.get("patch_size", 16))
        self.padding = -side % patch
        self.attention = SpatialAttention()
        self.vit = build_vit(
            config.vit,
            {
                **config.vit_options,
                "img_size": side + self.padding,
                "in_chans": config.stem_widths[-1] if config.stem_widths else 1,
            },
            pretrained=config.pretrained,
        )
        width = self.vit.num_features
        n_tokens = ((side + self.padding) // patch) ** 2
        self.readout = nn.Linear(width, config.readout)
        flat = n_tokens * config.readout + width
        self.head = nn.Sequential(nn.LayerNorm(flat), nn.Linear(flat, dim))

    def tokens(self, crops: Tensor) -> Tensor:
        """Map crops (B, 1, H, W) to patch tokens (B, T, D)."""
        features = self.attention(self.stem(crops))
        features = functional.pad(features, (0, self.padding, 0, self.padding))
        tokens: Tensor = self.vit.forward_features(features)
        return tokens[:, self.vit.num_prefix_tokens :]

    def forward(self, tokens: Tensor) -> Tensor:
        """Read patch tokens (B, T, D) out as vectors (B, dim).

        Every token contributes by its own place besides the average, because the
        layout of the surroundings is what identifies a cell.
        """
        places = self.readout(tokens).flatten(1)
        vectors: Tensor = self.head(torch.cat((places, tokens.mean(dim=1)), dim=1))
        return vectors
