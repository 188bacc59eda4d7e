"""A detector and descriptor of points for images of neurons, in one convolutional network.

After SuperPoint (DeTone et al., CVPR workshops 2018): one trunk, a head that says where points
are, and a head that describes them. It is trained here, on simulated neurons seen by both
microscopes, instead of by homographies of photographs; what makes a good point is learned as
in SiLK (Gleize et al., ICCV 2023): one whose description finds its partner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn
from torch.nn import functional

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import FEATURE_NET
from napari_neurobridge.models.weights import load_network

if TYPE_CHECKING:
    from pathlib import Path

CELL = 4
"""Pixels of an image for one node of the maps; a pixel is 1 µm."""
_STEM = 16
# Nodes that a refined place is the mean of.
_REFINED_PX = 10.0


class FeatureNetConfig(BaseModel, frozen=True, extra="forbid"):
    """Size of a `FeatureNet`."""

    schema_version: Literal[1] = 1
    kind: Literal["feature-net"] = "feature-net"
    name: str = Field("features-2d", max_length=200)
    width: int = Field(48, gt=0, le=1024, description="Channels at a quarter of the resolution.")
    trunk: int = Field(80, gt=0, le=1024, description="Channels at an eighth of the resolution.")
    blocks: int = Field(
        4, gt=0, le=32, description="Residual blocks at an eighth of the resolution."
    )
    dim: int = Field(64, gt=0, le=1024, description="Length of the descriptors.")


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """What a network says of B images, at nodes ``CELL`` pixels apart.

    Node (i, j) is at pixel (4i + 1.5, 4j + 1.5), the middle of its 4 × 4 pixels.

    Attributes
    ----------
    descriptors : Tensor, shape (B, dim, h, w)
        Of length 1.
    soma_logits : Tensor, shape (B, h, w)
        Whether the node is the nearest to the middle of a soma.
    soma_offset : Tensor, shape (B, 2, h, w)
        From the node to that middle, pixels (y, x).
    partner_logits : Tensor, shape (B, h, w)
        Whether the description would find its partner in another image.
    """

    descriptors: Tensor
    soma_logits: Tensor
    soma_offset: Tensor
    partner_logits: Tensor


class _ResidualBlock(nn.Module):
    """Two convolutions with a way around them; the first may be dilated."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(maps + self.layers(maps))


class FeatureNet(nn.Module):
    """Describe an image of neurons at 1 µm per pixel.

    Parameters
    ----------
    config : FeatureNetConfig
    """

    def __init__(self, config: FeatureNetConfig) -> None:
        super().__init__()
        self.config = config
        width, trunk = config.width, config.trunk
        self.quarter = nn.Sequential(
            _conv(1, _STEM, size=5, stride=2), _conv(_STEM, width, stride=2), _conv(width, width)
        )
        self.eighth = nn.Sequential(
            _conv(width, trunk, stride=2),
            *(_ResidualBlock(trunk, dilation=1 + number % 2) for number in range(config.blocks)),
        )
        self.join = nn.Sequential(
            _conv(width + trunk, config.dim, size=1), _conv(config.dim, trunk)
        )
        self.describe = nn.Conv2d(trunk, config.dim, 1)
        self.detect = nn.Conv2d(trunk, 4, 1)
        # Rare at first: the loss need not learn that before anything else.
        nn.init.constant_(self.detect.bias[:1], -3.0)  # type: ignore[index]
        # Temperature of the training's similarities, learned with the rest.
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        self.fine_scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, images: Tensor) -> FeatureMaps:
        """Describe.

        Parameters
        ----------
        images : Tensor, shape (B, H, W)
            Standardised intensities, from 0 to 1; H and W are multiples of 8.

        Returns
        -------
        FeatureMaps
            With h = H / 4 and w = W / 4.

        Raises
        ------
        InputError
            If the shape is another.
        """
        if images.ndim != 3 or images.shape[1] % 8 or images.shape[2] % 8:
            raise InputError(
                f"The feature network wants images whose sides are multiples of 8 pixels, not "
                f"{tuple(images.shape)}."
            )
        # Standardised values are skewed; most lie near a third.
        quarter = self.quarter(2 * images[:, None] - 0.6)
        context = functional.interpolate(
            self.eighth(quarter), scale_factor=2, mode="bilinear", align_corners=False
        )
        known = self.join(torch.cat([quarter, context], dim=1))
        heads = self.detect(known)
        return FeatureMaps(
            functional.normalize(self.describe(known), dim=1),
            heads[:, 0],
            heads[:, 1:3],
            heads[:, 3],
        )


def _conv(channels: int, out: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


def sample_maps(maps: Tensor, pixels: Tensor) -> Tensor:
    """Return the values of maps (B, C, h, w) at pixels (B, N, 2) of the images, (B, N, C).

    Bilinear between nodes; beyond the outermost nodes their values go on.
    """
    height, width = maps.shape[2:]
    size = pixels.new_tensor([height, width]) * CELL
    grid = (2 * (pixels + 0.5) / size - 1).flip(-1)
    found = functional.grid_sample(
        maps, grid[:, :, None], align_corners=False, padding_mode="border"
    )
    return found[..., 0].transpose(1, 2)


def node_pixels(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return the pixel at which each node of a map (h, w) is, shape (h × w, 2)."""
    rows, columns = (
        torch.arange(n, device=device) * CELL + (CELL - 1) / 2 for n in (height, width)
    )
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).reshape(-1, 2)


def expected_place(similarity: Tensor, coarse: Tensor, nodes: Tensor) -> Tensor:
    """Return the mean place of the nodes near a coarse one, weighted by similarity, (N, 2).

    Parameters
    ----------
    similarity : Tensor, shape (N, M)
        Of each point with each node, in units of its temperature.
    coarse : Tensor, shape (N, 2)
        Pixels.
    nodes : Tensor, shape (M, 2)
        Pixels.
    """
    far = torch.cdist(coarse, nodes) > _REFINED_PX
    return similarity.masked_fill(far, -1e4).softmax(dim=1) @ nodes


def load_feature_net(folder: Path) -> FeatureNet:
    """Read a model folder.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    return load_network(folder, FEATURE_NET, FeatureNetConfig, FeatureNet)
