"""Matching two images: features, LightGlue, and the geometry of what it proposes.

Paper on semantic matching, section II: local and semantic features are fused (eq. 1), LightGlue
proposes matches, and the geometric consistency module says which of them can be (eq. 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from napari_neurobridge.registration.feature_net import FeatureNet, FeatureNetConfig
from napari_neurobridge.registration.lightglue import LightGlue, LightGlueConfig, LightGlueOutput

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIT_UM = 12.0
"""Positions enter LightGlue in this unit: about the distance of neighbouring keypoints."""


class ImageMatcherConfig(BaseModel, frozen=True, extra="forbid"):
    """Architecture of an `ImageMatcherNet`."""

    schema_version: Literal[1] = 1
    kind: Literal["image-matcher"] = "image-matcher"
    name: str = Field("registration-2d", max_length=200)
    features: FeatureNetConfig = FeatureNetConfig()
    semantic_dim: int = Field(0, ge=0, le=4096, description="Length of semantic features; 0: none.")
    hidden: int = Field(128, gt=0, le=1024, description="Width of the fusion.")
    dim: int = Field(96, gt=0, le=1024, description="Width of LightGlue.")
    heads: int = Field(4, gt=0, le=64)
    layers: int = Field(5, gt=0, le=32)


class ImageMatcherNet(nn.Module):
    """Fusion of local and semantic features, and LightGlue on them.

    Parameters
    ----------
    config : ImageMatcherConfig
    """

    def __init__(self, config: ImageMatcherConfig) -> None:
        super().__init__()
        self.config = config
        self.features = FeatureNet(config.features)
        self.fusion = nn.Sequential(
            nn.Linear(config.features.dim + config.semantic_dim + 1, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.dim),
        )
        self.lightglue = LightGlue(
            LightGlueConfig(
                descriptor_dim=config.dim,
                position_dim=2,
                dim=config.dim,
                heads=config.heads,
                layers=config.layers,
            )
        )

    def forward(
        self,
        known: tuple[Tensor, Tensor],
        positions_um: tuple[Tensor, Tensor],
        *,
        every_layer: bool = True,
    ) -> LightGlueOutput:
        """Match B pairs of images by what is known of their keypoints.

        Parameters
        ----------
        known : pair of Tensor, (B, N, dim + semantic_dim + 1) and (B, M, …)
            Local descriptor, semantic feature and score, side by side; see `beside`.
        positions_um : pair of Tensor, (B, N, 2) and (B, M, 2)
        every_layer : bool
            See `LightGlue.forward`.
        """
        output: LightGlueOutput = self.lightglue(
            (self.fusion(known[0]), self.fusion(known[1])),
            (positions_um[0] / UNIT_UM, positions_um[1] / UNIT_UM),
            every_layer=every_layer,
        )
        return output


def beside(parts: Sequence[Tensor], scores: Tensor) -> Tensor:
    """Return descriptors (…, N, C) and scores (…, N) side by side, for the fusion."""
    return torch.cat([*parts, scores[..., None]], dim=-1)
