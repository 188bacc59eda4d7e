"""Building blocks shared by both channels: convolution stages and a timm model by name."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import timm
import torch
from safetensors import SafetensorError
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_neurobridge.encoder.attention import ChannelAttention, SpatialAttention
from napari_neurobridge.encoder.hub import published_backbone
from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_neurobridge.encoder.limits import TimmOption

Backbone: TypeAlias = Any
"""A model of timm, whose families share `forward_features` but no class that says so."""


class ConvNormAct(nn.Sequential):
    """A convolution, batch normalisation and ReLU.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels in and out.
    stride : int, default: 1
        Divides the size, rounded up. The kernel grows with it (3, 3, 7 for stride 1, 2,
        4), so that neighbouring windows overlap.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        kernel = max(3, 2 * stride - 1)
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class ResidualBlock(nn.Module):
    """Two convolutions with a skip; with ``attention``, channel then spatial attention.

    Parameters
    ----------
    channels : int
        Channels in and out.
    attention : bool, default: False
        Put a CBAM pair between the second convolution and the addition.
    """

    def __init__(self, channels: int, *, attention: bool = False) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvNormAct(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.attention = (
            nn.Sequential(ChannelAttention(channels), SpatialAttention())
            if attention
            else nn.Identity()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        refined: Tensor = self.attention(self.convs(features))
        return torch.relu_(features + refined)


def conv_stages(
    widths: Sequence[int],
    strides: Sequence[int],
    blocks: Sequence[int],
    *,
    attention: bool = False,
    in_channels: int = 1,
) -> nn.Sequential:
    """Build a pyramid: each stage shrinks the map, then refines it.

    Parameters
    ----------
    widths : sequence of int
        Channels of each stage.
    strides : sequence of int
        By how much each stage divides the size; see :func:`pyramid_side`.
    blocks : sequence of int
        Number of residual blocks of each stage.
    attention : bool, default: False
        Give the residual blocks channel and spatial attention.
    in_channels : int, default: 1
        Channels that the first stage reads.

    Returns
    -------
    nn.Sequential
        Maps (B, in_channels, H, W) to (B, widths[-1], h, w); without widths, to itself.
    """
    stages: list[nn.Module] = []
    for width, stride, n_blocks in zip(widths, strides, blocks, strict=True):
        stages.append(ConvNormAct(in_channels, width, stride=stride))
        in_channels = width
        stages.extend(ResidualBlock(width, attention=attention) for _ in range(n_blocks))
    return nn.Sequential(*stages)


def pyramid_side(side: int, strides: Sequence[int]) -> int:
    """Return the side of the last map of :func:`conv_stages` for an input of ``side`` pixels."""
    for stride in strides:
        side = -(-side // stride)
    return side


def vector_head(width: int, dim: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Build what makes a vector (B, dim) of a channel's flat readout (B, width).

    Dropout has no weights, and its layer a name of its own, so that weights fit whatever the rate.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict({"0": nn.LayerNorm(width)})
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    layers["1"] = nn.Linear(width, dim)
    return nn.Sequential(layers)


def build_backbone(
    name: str, options: Mapping[str, TimmOption], *, weights: Path | None = None
) -> Backbone:
    """Create a headless timm model by name, of any family.

    Parameters
    ----------
    name : str
        A timm model name, such as ``"vit_tiny_patch16_224"`` or ``"resnet18"``, with or
        without the tag of its weights.
    options : dict
        Keyword arguments of :func:`timm.create_model` that override the named
        architecture (``depth``, ``embed_dim``, ``img_size``, ``patch_size``, ...).
    weights : Path, optional
        File to start from, as :func:`napari_neurobridge.encoder.hub.find_weights` gives it.

    Returns
    -------
    nn.Module
        What its ``forward_features`` gives, :func:`feature_layout` says.

    Raises
    ------
    InputError
        If timm does not know the name or the options, or the file holds no such weights.
    """
    published_backbone(name)
    overrides: dict[str, Any] = dict(options)
    if weights is not None:
        overrides["pretrained_cfg_overlay"] = {"file": str(weights), "custom_load": False}
    try:
        model = timm.create_model(name, pretrained=weights is not None, num_classes=0, **overrides)
    except (OSError, SafetensorError, UnpicklingError) as error:
        raise InputError(
            f"the weights {weights} are damaged; delete the file and fetch it again"
        ) from error
    except (TypeError, ValueError, RuntimeError, AssertionError, KeyError) as error:
        what = f"with the weights {weights}" if weights else f"with the options {dict(options)}"
        reason = next(iter(str(error).splitlines()), "")
        raise InputError(
            f"timm cannot build {name!r} {what} ({reason}); give those that belong to it"
        ) from error
    # The fused kernel's backward pass is several times slower on a CPU than plain matrix
    # products, and at a few hundred tokens it saves no memory that matters.
    for module in model.modules():
        if isinstance(module, Attention):
            module.fused_attn = False  # type: ignore[misc]
    return model


@dataclass(frozen=True, slots=True)
class FeatureLayout:
    """How a backbone lays its features out.

    Attributes
    ----------
    grid : tuple of int
        Rows and columns of the map.
    width : int
        Features of each place.
    n_prefix : int
        Tokens before those of the map, such as a class token.
    order : {"tokens", "channels first", "channels last"}
        Whether features are (B, n_prefix + T, D), (B, D, h, w) or (B, h, w, D).
    """

    grid: tuple[int, int]
    width: int
    n_prefix: int
    order: Literal["tokens", "channels first", "channels last"]

    def tokens(self, features: Tensor) -> Tensor:
        """Return features as tokens (B, T, D) of the map, row by row."""
        if self.order == "channels first":
            return features.flatten(2).transpose(1, 2)
        if self.order == "channels last":
            return features.flatten(1, 2)
        return features[:, self.n_prefix :]


def feature_layout(backbone: Backbone, channels: int, side: int) -> FeatureLayout:
    """Find out how a backbone lays out the features of images (B, channels, side, side).

    Raises
    ------
    InputError
        If they are no map of the image, or the images are too small for the backbone.
    """
    n_prefix = int(getattr(backbone, "num_prefix_tokens", 0))
    if isinstance(backbone, VisionTransformer) and backbone.patch_embed.grid_size is not None:
        rows, columns = backbone.patch_embed.grid_size
        return FeatureLayout((rows, columns), backbone.num_features, n_prefix, "tokens")
    name = type(backbone).__name__
    features = _try(backbone, torch.zeros(1, channels, side, side))
    if not isinstance(features, Tensor):
        raise InputError(f"a {name} of timm gives several maps; choose a backbone that gives one")
    if features.ndim == 3:
        rows = math.isqrt(features.shape[1] - n_prefix)
        if rows**2 == features.shape[1] - n_prefix:
            return FeatureLayout((rows, rows), features.shape[2], n_prefix, "tokens")
    if features.ndim == 4:
        # Maps of square images are square, which tells the two orders apart, unless a map
        # has as many channels as rows.
        _, first, middle, last = features.shape
        last_by_name = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
        if middle == last and (first != middle or not last_by_name):
            return FeatureLayout((middle, last), first, 0, "channels first")
        if first == middle:
            return FeatureLayout((first, middle), last, 0, "channels last")
    raise InputError(
        f"the features of a {name} of timm, of shape {tuple(features.shape)}, are no map of the "
        "image; choose another backbone"
    )


def _try(backbone: Backbone, images: Tensor) -> object:
    """Return what a backbone makes of images, and leave it as it is."""
    training = backbone.training
    try:
        with torch.no_grad():
            return cast("object", backbone.eval().forward_features(images))
    except (RuntimeError, AssertionError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"a {type(backbone).__name__} of timm cannot see images of {images.shape[-1]} x "
            f"{images.shape[-1]} pixels; choose another backbone or size of image"
        ) from error
    finally:
        backbone.train(training)
