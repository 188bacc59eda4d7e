"""Global channel: spatial attention, then a timm backbone (paper 1, section 2.2)."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.encoder.attention import SpatialAttention
from napari_neurobridge.encoder.backbone import (
    Backbone,
    build_backbone,
    conv_stages,
    feature_layout,
    pyramid_side,
    vector_head,
)
from napari_neurobridge.encoder.hub import find_weights, published_backbone
from napari_neurobridge.encoder.limits import (
    StageBlocks,
    StageStrides,
    StageWidths,
    TimmOption,
    check_stages,
    check_timm_options,
)


class GlobalConfig(BaseModel, frozen=True, extra="forbid"):
    """Architecture of the global channel.

    With a stem, the backbone reads the stem's feature map, which a network trained
    from scratch needs far fewer pairs for; without one it reads the crop itself, as a
    pretrained backbone does.
    """

    stem_widths: StageWidths = Field(
        (48, 96), description="Channels of the convolution stem's stages; empty for none."
    )
    stem_strides: StageStrides = Field((4, 2), description="Stride of each stage.")
    stem_blocks: StageBlocks = Field((1, 1), description="Residual blocks of each stage.")
    vit: str = Field(
        "vit_tiny_patch16_224",
        pattern=r"^\w+(\.\w+)?$",
        max_length=200,
        description="timm name of the backbone, a transformer or not.",
    )
    vit_options: Annotated[dict[str, TimmOption], AfterValidator(check_timm_options)] = Field(
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
    weights_sha256: str = Field("", description="Digest of those weights' file.")
    image_size: int = Field(
        0,
        ge=0,
        le=2048,
        description="Side that crops are resized to, pixels; 0 leaves them as they are.",
    )
    interpolation: Literal["bicubic", "bilinear"] = Field(
        "bicubic", description="How crops are resized."
    )
    mean: tuple[float, ...] = Field(
        (),
        max_length=16,
        description="Mean of each channel of the images that the backbone was trained on.",
    )
    std: tuple[float, ...] = Field((), max_length=16, description="Their standard deviations.")
    readout: int = Field(32, gt=0, le=1024, description="Numbers kept per patch token.")

    @model_validator(mode="after")
    def _images_are_whole(self) -> Self:
        check_stages(self.stem_widths, self.stem_strides, self.stem_blocks)
        if len(self.mean) != len(self.std):
            raise ValueError("images need as many means as standard deviations")
        if self.stem_widths and (self.mean or self.image_size):
            raise ValueError("a backbone behind a stem sees no images; leave size and mean out")
        return self

    @property
    def in_channels(self) -> int:
        """Channels of what the backbone sees."""
        return self.stem_widths[-1] if self.stem_widths else max(1, len(self.mean))


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
    dropout : float, default: 0
        Share of the readout that is left out in training.
    in_channels : int, default: 1
        Channels of the input: the image, and which of its pixels are valid.
    """

    def __init__(
        self,
        config: GlobalConfig,
        crop_pixels: int,
        dim: int,
        *,
        dropout: float = 0.0,
        in_channels: int = 1,
    ) -> None:
        super().__init__()
        self.config = config
        self.stem = conv_stages(
            config.stem_widths, config.stem_strides, config.stem_blocks, in_channels=in_channels
        )
        side = pyramid_side(crop_pixels, config.stem_strides)
        self.padding = 0 if config.image_size else _padding(config, side)
        side = config.image_size or side + self.padding
        self.attention = SpatialAttention()
        self.images = ImageLike(config) if config.image_size or config.mean else None
        self.vit: Backbone
        self.vit, self.weights_sha256 = _backbone(config, side)
        self.layout = feature_layout(self.vit, config.in_channels, side)
        self.readout = nn.Linear(self.layout.width, config.readout)
        flat = math.prod(self.layout.grid) * config.readout + self.layout.width
        self.head = vector_head(flat, dim, dropout=dropout)
        if config.mean:
            # A trained backbone is first shown what it knows: even attention, see `tokens`.
            nn.init.zeros_(self.attention.conv.weight)
            nn.init.zeros_(self.attention.conv.bias)  # type: ignore[arg-type]

    def tokens(self, crops: Tensor) -> Tensor:
        """Map crops (B, in_channels, H, W) to patch tokens (B, T, D), the rows of `layout.grid`."""
        features = self.attention(self.stem(crops))
        if self.images is not None:
            features = self.images(features)
        features = functional.pad(features, (0, self.padding, 0, self.padding))
        return self.layout.tokens(self.vit.forward_features(features))

    def forward(self, tokens: Tensor) -> Tensor:
        """Read patch tokens (B, T, D) out as vectors (B, dim).

        Every token contributes by its own place besides the average, because the
        layout of the surroundings is what identifies a cell.
        """
        places = self.readout(tokens).flatten(1)
        vectors: Tensor = self.head(torch.cat((places, tokens.mean(dim=1)), dim=1))
        return vectors


class ImageLike(nn.Module):
    """Make crops look like the images that a backbone was trained on.

    Parameters
    ----------
    config : GlobalConfig
        Size, means and deviations of those images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: GlobalConfig) -> None:
        super().__init__()
        self.size = config.image_size
        self.interpolation = config.interpolation
        # Part of the configuration, hence not of the weights.
        shape = (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(config.mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(shape), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """Map standardised, evenly attended crops (B, 1, H, W) to images (B, C, size, size)."""
        if self.size and self.size != crops.shape[-1]:
            crops = functional.interpolate(
                crops,
                size=(self.size, self.size),
                mode=self.interpolation,
                antialias=self.size < crops.shape[-1],
            )
        if not self.mean.numel():
            return crops
        # Even attention halves a crop. Doubled and as bright and rich in contrast as the
        # backbone's own images were on average, it is a grey image to be normalised like those.
        grey = 2 * crops * self.std.mean() + self.mean.mean()
        return (grey - self.mean) / self.std


def _padding(config: GlobalConfig, side: int) -> int:
    """Return what a map of ``side`` lacks to hold whole patches, where they have to fit."""
    if not published_backbone(config.vit).fixed_size:
        return 0
    return -side % int(config.vit_options.get("patch_size", 16))


def _backbone(config: GlobalConfig, side: int) -> tuple[Backbone, str]:
    """Build the backbone; return the digest of the weights it starts from, too."""
    options: dict[str, TimmOption] = {**config.vit_options, "in_chans": config.in_channels}
    if published_backbone(config.vit).fixed_size:
        options["img_size"] = side
    if not config.pretrained:
        return build_backbone(config.vit, options), config.weights_sha256
    weights, digest = find_weights(config.vit, sha256=config.weights_sha256)
    return build_backbone(config.vit, options, weights=weights), digest
