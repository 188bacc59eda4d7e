"""A U-Net that says, pixel by pixel, what belongs to somata, or to boundaries between cells.

After Ronneberger et al. (MICCAI 2015), with batch normalisation, padded convolutions and dropout
in the deeper half. It is two-dimensional; planes above and below may come as further channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.detection.watershed import WatershedParams
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import SEGMENTER
from napari_neurobridge.models.weights import load_network

if TYPE_CHECKING:
    from pathlib import Path


class SegmenterConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of a `SegmenterNet`, what it was made for, and what its probabilities are cut with."""

    schema_version: Literal[1] = 1
    kind: Literal["segmenter"] = "segmenter"
    name: str = Field("somata-2d", max_length=200)
    target: Literal["somata", "boundaries"] = Field(
        "somata", description="What a probability is of: the inside of somata, or boundaries."
    )
    width: int = Field(16, gt=0, le=256, description="Channels at full resolution.")
    halvings: int = Field(3, gt=0, le=6, description="Times that the resolution is halved.")
    planes: int = Field(
        7, gt=0, le=31, description="Planes that are seen at once, the judged one in the middle."
    )
    pixel_um: float = Field(2.0, gt=0, description="Pixels that it was trained on.")
    plane_um: float = Field(2.0, gt=0, description="Distance of the planes that are seen at once.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of the channels that are dropped.")
    watershed: WatershedParams = Field(
        WatershedParams(), description="Fixed on the data that the network was trained for."
    )
    learned_from: str = Field(
        "", max_length=200, description="Dataset of a project whose painted labels it has learned."
    )

    @model_validator(mode="after")
    def _middle(self) -> SegmenterConfig:
        if self.planes % 2 == 0:
            raise ValueError("the number of planes must be odd")
        return self

    @property
    def multiple(self) -> int:
        """Sides of images are multiples of so many pixels."""
        return int(2**self.halvings)

    @property
    def margin_px(self) -> int:
        """No pixel farther than this from one has a say in it; a multiple of `multiple`."""
        deepest = self.multiple
        # Two 3 × 3 convolutions at each resolution, on the way down and up but once at the bottom.
        convolved = 2 * (2 * (deepest - 1) + deepest)
        # Pooling looks to the end of its cell, bilinear growing to the next one.
        resampled = 4 * (deepest - 1)
        return -(-(convolved + resampled) // deepest) * deepest


class SegmenterNet(nn.Module):
    """Log odds of each pixel of an image.

    Parameters
    ----------
    config : SegmenterConfig
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.halvings + 1)]
        # Where the maps are coarse, a channel stands for what is seen and not for an edge.
        dropped = [
            config.dropout if 2 * level >= config.halvings else 0.0 for level in range(len(widths))
        ]
        self.down = nn.ModuleList(
            _double(before, after, rate)
            for before, after, rate in zip([config.planes, *widths], widths, dropped, strict=False)
        )
        self.up = nn.ModuleList(
            _double(fine + coarse, fine, rate)
            for fine, coarse, rate in zip(widths, widths[1:], dropped, strict=False)
        )
        self.tell = nn.Conv2d(config.width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Judge.

        Parameters
        ----------
        images : Tensor, shape (B, planes, H, W)
            As `detection.planes.standardised` returns them; H and W are multiples of the
            configuration's ``multiple``.

        Returns
        -------
        Tensor, shape (B, H, W)
            Log odds of the pixels of the middle plane.

        Raises
        ------
        InputError
            If the shape is another.
        """
        return self.tell(self.finest(images))[:, 0]  # type: ignore[no-any-return]

    def deepest(self, images: Tensor) -> Tensor:
        """Return the maps (B, C, H', W') of the last step down; see `forward`."""
        return self._descended(images)[-1]

    def finest(self, images: Tensor) -> Tensor:
        """Return the maps (B, width, H, W) that the last layer reads; see `forward`."""
        kept = self._descended(images)
        maps = kept[-1]
        for level in reversed(range(len(self.up))):
            finer = functional.interpolate(
                maps, scale_factor=2, mode="bilinear", align_corners=False
            )
            maps = self.up[level](torch.cat([kept[level], finer], dim=1))
        return maps

    def _descended(self, images: Tensor) -> list[Tensor]:
        """Return the maps of every step down, the finest first."""
        config = self.config
        if (
            images.ndim != 4
            or images.shape[1] != config.planes
            or images.shape[2] % config.multiple
            or images.shape[3] % config.multiple
        ):
            raise InputError(
                f"The segmenter wants images of {config.planes} planes whose sides are multiples "
                f"of {config.multiple} pixels, not {tuple(images.shape)}."
            )
        kept: list[Tensor] = []
        maps = images
        for level, step in enumerate(self.down):
            maps = step(maps if level == 0 else functional.max_pool2d(maps, 2))
            kept.append(maps)
        return kept


def _double(channels: int, out: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (channels, out):
        layers += [
            nn.Conv2d(before, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, *([nn.Dropout2d(dropout)] if dropout else []))


def load_segmenter(folder: Path) -> SegmenterNet:
    """Read a model folder.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    return load_network(folder, SEGMENTER, SegmenterConfig, SegmenterNet)
