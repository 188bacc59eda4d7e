"""Matching two planes by what their keypoints look like, and verifying the geometry of the matches.

The paper on semantic matching, section II: local and semantic features are fused (equation 1),
LightGlue proposes matches, and the geometric consistency module says which of them can be
(equation 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from napari_neurobridge.models.model_folder import SEMANTIC_MATCHER
from napari_neurobridge.models.weights import load_network
from napari_neurobridge.registration.gccm import Gccm, GccmConfig
from napari_neurobridge.registration.image_matches import ImageMatches
from napari_neurobridge.registration.lightglue import (
    LightGlue,
    LightGlueConfig,
    match_adaptively,
)
from napari_neurobridge.registration.verify import verified_matches

if TYPE_CHECKING:
    from pathlib import Path

    from napari_neurobridge.registration.feature_points import FeatureExtractor
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.registration.lightglue import LightGlueOutput
    from napari_neurobridge.registration.semantic import SemanticFeatures
    from napari_neurobridge.types import Float32Array, Report

UNIT_UM = 16.0
"""Positions enter LightGlue in this unit: about the distance of neighbouring keypoints."""


class SemanticMatcherConfig(BaseModel, frozen=True, extra="forbid"):
    """Architecture of a `SemanticMatcherNet`."""

    schema_version: Literal[1] = 1
    kind: Literal["semantic-matcher"] = "semantic-matcher"
    name: str = Field("semantic-2d", max_length=200)
    local_dim: int = Field(64, gt=0, le=4096, description="Length of the local descriptors.")
    semantic_dim: int = Field(192, gt=0, le=4096, description="Length of the semantic features.")
    hidden: int = Field(192, gt=0, le=1024, description="Width of the fusion.")
    dim: int = Field(128, gt=0, le=1024, description="Width of LightGlue.")
    heads: int = Field(4, gt=0, le=64)
    layers: int = Field(4, gt=1, le=32)
    verifier: GccmConfig = GccmConfig()


@dataclass(frozen=True, eq=False)
class DescribedPoints:
    """N keypoints of a plane and both their descriptions.

    Attributes
    ----------
    positions_um : ndarray, shape (N, 2)
        (y, x).
    local : ndarray of float32, shape (N, C)
        Of the feature network, of length 1.
    semantic : ndarray of float32, shape (N, S)
        Of the transformer, of length 1.
    """

    positions_um: npt.NDArray[np.float64]
    local: Float32Array
    semantic: Float32Array

    def __len__(self) -> int:
        return len(self.positions_um)


class SemanticMatcherNet(nn.Module):
    """Fusion of both descriptions, LightGlue, and the consistency module that was trained with it.

    Parameters
    ----------
    config : SemanticMatcherConfig
    """

    def __init__(self, config: SemanticMatcherConfig) -> None:
        super().__init__()
        self.config = config
        self.fusion = nn.Sequential(
            nn.Linear(config.local_dim + config.semantic_dim, config.hidden),
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
        self.gccm = Gccm(config.verifier)

    def fused(self, points: DescribedPoints, *, semantic: bool = True) -> Tensor:
        """Return the fused descriptors of keypoints, (N, dim); equation 1.

        Without ``semantic``, those features are 0, as they were in a part of the training.
        """
        # Of length 1 they would have entries of a tenth; a linear layer wants about one.
        parts = [
            torch.from_numpy(points.local * np.float32(self.config.local_dim**0.5)),
            torch.from_numpy(points.semantic * np.float32(self.config.semantic_dim**0.5)),
        ]
        parts[1] = parts[1] * float(semantic)
        fused: Tensor = self.fusion(torch.cat(parts, dim=1))
        return fused

    def forward(
        self, source: DescribedPoints, target: DescribedPoints, *, semantic: bool = True
    ) -> LightGlueOutput:
        """Return what LightGlue says of one pair after every layer."""
        described = tuple(self.fused(side, semantic=semantic)[None] for side in (source, target))
        placed = tuple(_units(side)[None] for side in (source, target))
        output: LightGlueOutput = self.lightglue(described, placed)
        return output


def load_semantic_matcher(folder: Path) -> SemanticMatcherNet:
    """Read a model folder.

    Raises
    ------
    InputError
        If a file is missing, damaged or of another kind of model, or the two do not fit together.
    """
    return load_network(folder, SEMANTIC_MATCHER, SemanticMatcherConfig, SemanticMatcherNet)


class SemanticMatcher:
    """The published system on two planes that lie alike to about ±35°; a `PlaneMatcher`.

    Parameters
    ----------
    net : SemanticMatcherNet
        In evaluation mode.
    extractor : FeatureExtractor
        Whose keypoints and descriptors the network was trained on.
    features : SemanticFeatures
        The same of the semantic features.
    count : int
        Keypoints of either image, at most.
    least_probability : float
        Of a match.
    semantic : bool
        Whether semantic features are used.
    verified : bool
        Whether the consistency module judges the matches; all are equally right otherwise.
    adaptive : bool
        Whether LightGlue stops early and leaves points out, see
        :func:`napari_neurobridge.registration.lightglue.match_adaptively`.
    """

    def __init__(
        self,
        net: SemanticMatcherNet,
        extractor: FeatureExtractor,
        features: SemanticFeatures,
        *,
        count: int = 1024,
        least_probability: float = 0.1,
        semantic: bool = True,
        verified: bool = True,
        adaptive: bool = True,
    ) -> None:
        self.net, self.extractor, self.features = net.eval(), extractor, features
        self.count, self.least_probability = count, least_probability
        self.semantic, self.verified, self.adaptive = semantic, verified, adaptive
        self._described: tuple[PlanarImage, DescribedPoints] | None = None

    def describe(self, image: PlanarImage) -> DescribedPoints:
        """Find and describe the keypoints of an image."""
        found = self.extractor.extract(image, self.count)
        semantic = self.features.describe(image, found.positions_um)
        return DescribedPoints(found.positions_um, found.descriptors, semantic)

    def match(
        self, source: PlanarImage, target: PlanarImage, *, report: Report | None = None
    ) -> ImageMatches:
        """See `PlaneMatcher.match`."""
        if report is not None:
            report(0, 2, "finding and describing keypoints")
        here = self.describe(source)
        # A search of the angle turns the source alone.
        if self._described is None or self._described[0] is not target:
            self._described = target, self.describe(target)
        if report is not None:
            report(1, 2, "matching")
        return self.match_described(here, self._described[1])

    @torch.inference_mode()
    def match_described(self, source: DescribedPoints, target: DescribedPoints) -> ImageMatches:
        """Match two images whose keypoints are described."""
        fused = (
            self.net.fused(source, semantic=self.semantic),
            self.net.fused(target, semantic=self.semantic),
        )
        confident = {} if self.adaptive else {"depth_confidence": None, "width_confidence": None}
        found = match_adaptively(
            self.net.lightglue, fused, (_units(source), _units(target)), **confident
        )
        probability = found.probability.double().clamp(0, 1).numpy()
        kept = probability > self.least_probability
        rows, probability = found.pairs.numpy()[kept], probability[kept]
        here, there = source.positions_um[rows[:, 0]], target.positions_um[rows[:, 1]]
        counts = len(source), len(target)
        if self.verified:
            return verified_matches(here, there, probability, counts, gccm=self.net.gccm)
        every = np.ones(len(rows))
        return ImageMatches(here, there, probability, every, 0.5, 1.0, *counts)


def paper_variants(
    net: SemanticMatcherNet, extractor: FeatureExtractor, features: SemanticFeatures
) -> dict[str, SemanticMatcher]:
    """Return the four variants of the paper's table I by what they use, the whole one last."""
    parts = {
        "local features, LightGlue": (False, False),
        "local and semantic features, LightGlue": (True, False),
        "local features, LightGlue, GCCM": (False, True),
        "local and semantic features, LightGlue, GCCM": (True, True),
    }
    return {
        name: SemanticMatcher(net, extractor, features, semantic=semantic, verified=verified)
        for name, (semantic, verified) in parts.items()
    }


def _units(points: DescribedPoints) -> Tensor:
    """Return positions about their middle, (N, 2), as LightGlue wants them."""
    places = points.positions_um
    middle = places.mean(axis=0) if len(places) else 0.0
    return torch.from_numpy((places - middle) / UNIT_UM).float()
