"""The dual-channel encoder of paper 1: two channels, a gate, one unit vector per crop."""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.encoder.backbone import pyramid_side
from napari_neurobridge.encoder.gate import Gate
from napari_neurobridge.encoder.global_channel import GlobalChannel, GlobalConfig
from napari_neurobridge.encoder.hub import published_backbone
from napari_neurobridge.encoder.local_channel import LocalChannel, LocalConfig

_LONE = 0.3  # of the nine pixels around and including a dark one, or fewer at the edge
_MOST_WEIGHTS = 500_000_000  # of one layer, 2 GB


class EncoderConfig(BaseModel, frozen=True, extra="forbid"):
    """The whole architecture; ``config.toml`` of a model folder holds exactly this."""

    schema_version: Literal[1] = 1
    name: str = Field("encoder", max_length=200, description="Name of the model.")
    crop_pixels: int = Field(150, gt=0, le=1024, description="Side of the crops, pixels.")
    dim: int = Field(768, gt=0, le=8192, description="Length of the unit vector.")
    views: Literal[1, 2, 4] = Field(
        4, description="Quarter turns of the crop that are seen; their vectors share the length."
    )
    mask: bool = Field(
        False,
        description="Show both channels, beside the crop, which of its pixels lie in the image.",
    )
    channels: Literal["both", "local", "global"] = Field(
        "both", description="Use one channel alone (the paper's ablations)."
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each channel's readout that is left out in training, and in the "
        "passes that tell how unsure the model is.",
    )
    local_channel: LocalConfig = LocalConfig()
    global_channel: GlobalConfig = GlobalConfig()

    @property
    def in_channels(self) -> int:
        """Channels that the network reads: the image and, if it is shown, its validity mask."""
        return 2 if self.mask else 1

    @property
    def view_dim(self) -> int:
        """Length of the vector of one view."""
        return self.dim // self.views

    @model_validator(mode="after")
    def _window_is_in_the_crop(self) -> Self:
        if self.local_channel.window > self.crop_pixels:
            raise ValueError(
                f"a soma window of {self.local_channel.window} pixels does not fit into crops of "
                f"{self.crop_pixels}"
            )
        return self

    @model_validator(mode="after")
    def _layers_fit_into_memory(self) -> Self:
        window, seen = self.local_channel, self.global_channel
        side = pyramid_side(window.window, window.strides)
        map_side = seen.image_size or pyramid_side(self.crop_pixels, seen.stem_strides)
        patch = int(seen.vit_options.get("patch_size", 16))
        places = max(side**2 * window.readout, math.ceil(map_side / patch) ** 2 * seen.readout)
        if places * self.view_dim > _MOST_WEIGHTS:
            raise ValueError(
                f"a layer of {places} x {self.view_dim} weights is too large; at most "
                f"{_MOST_WEIGHTS} are allowed"
            )
        return self

    @model_validator(mode="after")
    def _mask_has_a_stem(self) -> Self:
        if self.mask and not self.global_channel.stem_widths:
            raise ValueError("a backbone without a stem sees images alone; it can have no mask")
        return self

    @model_validator(mode="after")
    def _views_share_the_length(self) -> Self:
        if self.dim % self.views:
            raise ValueError(f"a vector of {self.dim} cannot be shared by {self.views} views")
        return self


def paper_config() -> EncoderConfig:
    """Return the paper's size: a ViT-Base for the global channel.

    The paper's Unicom weights are not in timm; CLIP's image tower of the same shape is
    the substitute, and ``pretrained`` is off until its weights are at hand.
    """
    return EncoderConfig(
        name="paper",
        views=1,
        local_channel=LocalConfig(widths=(64, 128, 256), blocks=(1, 2, 2)),
        global_channel=GlobalConfig(
            stem_widths=(),
            stem_strides=(),
            stem_blocks=(),
            vit="vit_base_patch16_clip_224",
            vit_options={"patch_size": 16},
        ),
    )


def backbone_config(
    name: str, *, pretrained: bool = True, image_size: int | None = None
) -> EncoderConfig:
    """Return an encoder whose global channel is a published backbone of timm.

    It sees crops as the backbone saw its images: of the size, channels, mean and deviation
    that timm names. The local channel is that of the bundled model, untrained.

    Parameters
    ----------
    name : str
        A timm model with or without the tag of its weights, such as ``"resnet18"`` or
        ``"vit_small_patch16_dinov3.lvd1689m"``.
    pretrained : bool, default: True
        Start from its weights, which are looked for when the encoder is made; otherwise
        from random ones.
    image_size : int, optional
        Side that crops are resized to, pixels; the backbone's own unless given. A smaller
        one is faster.

    Raises
    ------
    InputError
        If timm does not know the name.
    """
    backbone = published_backbone(name)
    return EncoderConfig(
        name=backbone.name,
        views=1,
        global_channel=GlobalConfig(
            stem_widths=(),
            stem_strides=(),
            stem_blocks=(),
            vit=backbone.name,
            vit_options={},
            pretrained=pretrained,
            image_size=image_size or backbone.size,
            interpolation=backbone.interpolation,
            mean=backbone.mean,
            std=backbone.std,
        ),
    )


class DualChannelEncoder(nn.Module):
    """One unit vector per crop, by the same weights for either microscope.

    The vector of a crop is made of those of its quarter turns, side by side, so that the
    similarity of two crops is the mean of their similarities over four ways to hold both.
    A network cannot be equally good at all of them, and its errors at each differ.

    Parameters
    ----------
    config : EncoderConfig
        Architecture.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.view_dim
        rate, seen = config.dropout, config.in_channels
        self.local_channel = LocalChannel(config.local_channel, dim, dropout=rate, in_channels=seen)
        self.global_channel = GlobalChannel(
            config.global_channel, config.crop_pixels, dim, dropout=rate, in_channels=seen
        )
        self.gate = Gate(dim)
        if config.global_channel.pretrained:
            # The model says of itself which weights it started from.
            digest = {"weights_sha256": self.global_channel.weights_sha256}
            context = config.global_channel.model_copy(update=digest)
            self.config = config.model_copy(update={"global_channel": context})

    def forward(self, crops: Tensor) -> Tensor:
        """Embed crops (B, 1, P, P) in [0, 1] as float32 unit vectors (B, dim)."""
        vectors = self.embed_view(torch.cat(self._turned(crops)))
        views = self.config.views
        return torch.cat(vectors.chunk(views), dim=1) / math.sqrt(views)

    def embed_view(self, crops: Tensor) -> Tensor:
        """Embed crops as they are held, as unit vectors (B, view_dim).

        Training that turns both crops of a pair alike needs no more than one view of them:
        its mean over turns is what `forward` compares.
        """
        crops = self.prepared(crops)
        maps = self.local_channel.maps(crops)
        tokens = self.global_channel.tokens(crops)
        return self.fuse(self.local_channel(maps), self.global_channel(tokens))

    def fuse(self, local: Tensor, context: Tensor) -> Tensor:
        """Join what both channels say of one view, each (B, view_dim), into unit vectors."""
        # As unit vectors, so that the gate alone sets their share.
        local = functional.normalize(local.float(), dim=-1)
        context = functional.normalize(context.float(), dim=-1)
        if self.config.channels == "local":
            return local
        if self.config.channels == "global":
            return context
        fused: Tensor = self.gate(local, context)
        return functional.normalize(fused.float(), dim=-1)

    def gate_weights(self, crops: Tensor) -> Tensor:
        """Return the mean weights (B, 2) that the gate gives the local and global channel."""
        crops = self.prepared(torch.cat(self._turned(crops)))
        local, context = self._vectors(
            self.local_channel.maps(crops), self.global_channel.tokens(crops)
        )
        weights = self.gate.weights(local, context)
        return torch.stack(weights.chunk(self.config.views)).mean(dim=0)

    def trunk_features(self, crops: Tensor) -> Tensor:
        """Max-pool both channels' last maps (B, C_local + C_global), for domain distances."""
        crops = self.prepared(crops)
        maps = self.local_channel.maps(crops).amax(dim=(2, 3))
        tokens = self.global_channel.tokens(crops).amax(dim=1)
        return torch.cat((maps.float(), tokens.float()), dim=-1)

    def prepared(self, crops: Tensor) -> Tensor:
        """Return what both channels read (B, C, P, P) of crops (B, 1, P, P) in [0, 1].

        Standardised crops and, where the configuration says so, their validity masks.
        """
        if not self.config.mask:
            return standardize(crops)
        return torch.cat((standardize(crops), valid_pixels(crops)), dim=1)

    def _turned(self, crops: Tensor) -> list[Tensor]:
        return [torch.rot90(crops, turns, dims=(2, 3)) for turns in range(self.config.views)]

    def _vectors(self, maps: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Read both channels out as unit vectors, so that the gate alone sets their share."""
        local = functional.normalize(self.local_channel(maps).float(), dim=-1)
        context = functional.normalize(self.global_channel(tokens).float(), dim=-1)
        return local, context


def with_mask(model: DualChannelEncoder) -> DualChannelEncoder:
    """Return a copy of an encoder that also reads a validity mask, with weights of 0 for it.

    Until it is trained, it makes the same vectors.
    """
    masked = DualChannelEncoder(model.config.model_copy(update={"mask": True}))
    state = model.state_dict()
    for name, tensor in masked.state_dict().items():
        known = state[name]
        if known.shape != tensor.shape:
            state[name] = torch.cat((known, torch.zeros_like(known)), dim=1)
    masked.load_state_dict(state)
    return masked.to(next(model.parameters()).device).train(model.training)


def with_dropout(model: DualChannelEncoder, rate: float) -> DualChannelEncoder:
    """Return a copy of an encoder whose heads have dropout, for passes that tell its uncertainty.

    It makes the same vectors, but where its dropout is switched on. Training it takes dropout too.
    """
    config = model.config.model_copy(update={"dropout": rate})
    dropping = DualChannelEncoder(EncoderConfig.model_validate(config.model_dump()))
    dropping.load_state_dict(model.state_dict())
    return dropping.to(next(model.parameters()).device).train(model.training)


def standardize(crops: Tensor) -> Tensor:
    """Give the square root of each crop (B, 1, P, P) mean 0 and deviation 1.

    Brightness is no identity, and the root makes shot noise alike in bright and dim
    places, so that faint neighbours count beside a bright one.
    """
    crops = crops.clamp_min(0.0).sqrt()
    mean = crops.mean(dim=(2, 3), keepdim=True)
    deviation = crops.std(dim=(2, 3), keepdim=True)
    return (crops - mean) / deviation.clamp_min(1e-3)


def valid_pixels(crops: Tensor) -> Tensor:
    """Return 1 where pixels of crops (B, 1, P, P) lie in the image, and 0 elsewhere.

    What lies outside is 0 (`io.crops`). A crop from elsewhere may be 0 inside as well; its lone
    dark pixels, with hardly another one around them, count as valid.
    """
    empty = (crops <= 0).to(crops.dtype)
    around = functional.avg_pool2d(empty, 3, stride=1, padding=1, count_include_pad=False)
    return 1 - empty * (around > _LONE).to(crops.dtype)
