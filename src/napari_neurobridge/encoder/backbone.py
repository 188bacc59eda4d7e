"""Building blocks shared by both channels: convolution stages and a timm ViT by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import timm
import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from napari_neurobridge.encoder.attention import ChannelAttention, SpatialAttention
from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TimmOption: TypeAlias = int | float | bool | str


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
) -> nn.Sequential:
    """Build a pyramid: each stage shrinks the map, then refines it.

    Parameters
    ----------
    widths : sequence of int
        Channels of each stage; the first stage reads one channel.
    strides : sequence of int
        By how much each stage divides the size; see :func:`pyramid_side`.
    blocks : sequence of int
        Number of residual blocks of each stage.
    attention : bool, default: False
        Give the residual blocks channel and spatial attention.

    Returns
    -------
    nn.Sequential
        Maps (B, 1, H, W) to (B, widths[-1], h, w); without widths, to itself.
    """
    stages: list[nn.Module] = []
    in_channels = 1
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


def build_vit(
    name: str, options: Mapping[str, TimmOption], *, pretrained: bool = False
) -> VisionTransformer:
    """Create a headless timm vision transformer by name.

    Parameters
    ----------
    name : str
        A timm model name, such as ``"vit_tiny_patch16_224"``.
    options : dict
        Keyword arguments of :func:`timm.create_model` that override the named
        architecture (``depth``, ``embed_dim``, ``img_size``, ``patch_size``, ...).
    pretrained : bool, default: False
        Download timm's weights for that name.

    Returns
    -------
    VisionTransformer
        A model whose ``forward_features`` gives tokens (B, prefix + T, D).

    Raises
    ------
    InputError
        If timm does not know the name, or it names no vision transformer.
    """
    if not timm.is_model(name):
        raise InputError(
            f"timm knows no model named {name!r}; `timm.list_models('vit*')` lists those it has"
        )
    overrides: dict[str, Any] = dict(options)
    model = timm.create_model(name, pretrained=pretrained, num_classes=0, **overrides)
    if not isinstance(model, VisionTransformer):
        raise InputError(f"{name!r} is no vision transformer; choose a timm model named vit_*")
    # The fused kernel's backward pass is several times slower on a CPU than plain matrix
    # products, and at a few hundred tokens it saves no memory that matters.
    for module in model.modules():
        if isinstance(module, Attention):
            module.fused_attn = False  # type: ignore[misc]
    return model
