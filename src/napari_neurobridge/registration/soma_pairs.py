"""Whether two images show the same soma, judged by what lies around it in both.

Two crops, laid on each other by a map that is to be tested, are the two channels of one image for
a small convolutional network: the "2-channel" comparison of Zagoruyko and Komodakis (CVPR 2015,
section 3.1), which sees more than two descriptions made apart from each other can hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field
from scipy.ndimage import map_coordinates
from torch import Tensor, nn

from napari_neurobridge.models.model_folder import SOMA_PAIR_NET
from napari_neurobridge.models.weights import load_network

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.types import Float32Array, FloatArray

Float64Array = npt.NDArray[np.float64]

FINEST_UM = 1.0
"""Finer images are made coarser before they are standardised, as they were for training."""
LEAST_STRETCH = 0.4
"""A map that shrinks one direction by more than this brings no tissue together."""
_BATCH = 256


class SomaPairConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of a `SomaPairNet`, and what it sees of a soma."""

    schema_version: Literal[1] = 1
    kind: Literal["soma-pair-net"] = "soma-pair-net"
    name: str = Field("soma-pairs-2d", max_length=200)
    width: int = Field(32, gt=0, le=256, description="Channels of the first layer.")
    crop_px: int = Field(48, ge=16, le=256, description="Side of a crop.")
    pixel_um: float = Field(2.0, gt=0, le=10, description="Side of its pixels, µm.")
    dropout: float = Field(0.2, ge=0, lt=1)


class SomaPairNet(nn.Module):
    """Say how likely two crops show one soma.

    Parameters
    ----------
    config : SomaPairConfig
    """

    def __init__(self, config: SomaPairConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.layers = nn.Sequential(
            *_conv(2, width, size=5, stride=2),
            *_conv(width, width),
            *_conv(width, 2 * width),
            *_conv(2 * width, 2 * width, stride=2),
            *_conv(2 * width, 3 * width),
            *_conv(3 * width, 3 * width, stride=2),
            *_conv(3 * width, 4 * width),
            # Where in the crop something agrees matters: the soma is in the middle.
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(36 * width, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
        )

    def forward(self, crops: Tensor) -> Tensor:
        """Return the log odds (B,) that the two channels of crops (B, 2, C, C) show one soma.

        With as many pairs of one soma as of two in training, log odds are a log likelihood ratio.
        """
        odds: Tensor = self.layers(crops)[:, 0]
        return odds


def _conv(channels: int, out: int, *, size: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    ]


def load_soma_pair_net(folder: Path) -> SomaPairNet:
    """Read a network from its folder, in evaluation mode.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model.
    """
    net = load_network(folder, SOMA_PAIR_NET, SomaPairConfig, SomaPairNet)
    # On processors, convolutions of small crops are a quarter faster so.
    return net.to(memory_format=torch.channels_last)


@dataclass(frozen=True, eq=False)
class CropSource:
    """An image as crops are cut from it.

    Attributes
    ----------
    values : ndarray of float32, shape (H, W)
        Standardised; see `PlanarImage.standardised`.
    pixel_um : float
    """

    values: Float32Array
    pixel_um: float

    @classmethod
    def of(cls, image: PlanarImage) -> CropSource:
        """Standardise an image."""
        coarse = image.resampled(max(image.pixel_um, FINEST_UM))
        return cls(coarse.standardised(), coarse.pixel_um)

    def crops(
        self,
        centres_um: Float64Array,
        side_px: int,
        pixel_um: float,
        linear: FloatArray | None = None,
    ) -> Float32Array:
        """Cut crops (N, side, side) about places (N, 2); 0 beyond the image.

        Parameters
        ----------
        centres_um : ndarray, shape (N, 2)
        side_px : int
        pixel_um : float
        linear : ndarray, shape (2, 2), optional
            Maps offsets in a crop to offsets in the image; the identity unless given.
        """
        axis = (np.arange(side_px) - (side_px - 1) / 2) * pixel_um
        offsets = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        if linear is not None:
            offsets = offsets @ linear.T
        at = (centres_um[:, None] + offsets).reshape(-1, 2).T / self.pixel_um
        found = map_coordinates(self.values, at, order=1, mode="constant", cval=0.0)
        return np.asarray(found, dtype=np.float32).reshape(len(centres_um), side_px, side_px)


@dataclass(frozen=True, eq=False)
class SomaPairJudge:
    """Judges pairs of somata of two images.

    Attributes
    ----------
    net : SomaPairNet
    source, target : CropSource
    """

    net: SomaPairNet
    source: CropSource
    target: CropSource

    def __call__(self, source_um: Float64Array, target_um: Float64Array) -> Float64Array:
        """Return how much likelier the two of each pair are one soma than two by what they show.

        The pairs must belong to one map: the source is turned and stretched by the affine map
        that fits them all.

        Parameters
        ----------
        source_um, target_um : ndarray, shape (K, 2)

        Returns
        -------
        ndarray of float64, shape (K,)
            Log likelihood ratios; 0, which says nothing, where the pairs fit no map.
        """
        linear = fitted_linear(source_um, target_um)
        if linear is None:
            return np.zeros(len(source_um))
        shape = self.net.config.crop_px, self.net.config.pixel_um
        here = self.source.crops(source_um, *shape, np.linalg.inv(linear))
        return log_ratios(self.net, here, self.target.crops(target_um, *shape))


def log_ratios(net: SomaPairNet, source: Float32Array, target: Float32Array) -> Float64Array:
    """Return what a network says of crops (K, C, C) that are laid on each other, (K,)."""
    seen = np.stack([source, target], axis=1)
    with torch.inference_mode():
        parts = [
            net(batch.contiguous(memory_format=torch.channels_last)).double().numpy()
            for batch in torch.split(torch.from_numpy(seen), _BATCH)
        ]
    return np.concatenate(parts)


def fitted_linear(source_um: Float64Array, target_um: Float64Array) -> Float64Array | None:
    """Return the linear part (2, 2) of the affine map that fits pairs; None if there is none."""
    if len(source_um) < 3:
        return None
    here, there = source_um - source_um.mean(axis=0), target_um - target_um.mean(axis=0)
    linear = np.asarray(np.linalg.lstsq(here, there)[0].T, dtype=np.float64)
    if np.linalg.svd(linear, compute_uv=False)[-1] < LEAST_STRETCH:
        return None
    return linear
