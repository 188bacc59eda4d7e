"""From two images to verified matches, with trained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_neurobridge.registration.feature_points import (
    PIXEL_UM,
    FeatureExtractor,
    refine_places,
)
from napari_neurobridge.registration.image_matcher import UNIT_UM, ImageMatcherNet, beside
from napari_neurobridge.registration.image_matches import ImageMatches
from napari_neurobridge.registration.inlier_ratio import estimate_inliers
from napari_neurobridge.registration.lightglue import match_adaptively

if TYPE_CHECKING:
    from napari_neurobridge.registration.feature_points import DescribedImage
    from napari_neurobridge.registration.gccm import Gccm
    from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage
    from napari_neurobridge.types import Report

_FEWEST = 4


@dataclass(frozen=True)
class MatcherSettings:
    """How much is looked at.

    Attributes
    ----------
    keypoints : int
        Of either image, at most (paper: 1,024 in tests).
    least_probability : float
        Of a match that is given to the verification.
    depth_confidence, width_confidence : float or None
        See `match_adaptively`.
    adaptive_threshold : bool
        Whether the threshold of C(i, j) follows the estimated inlier ratio; else it is the
        module's fixed one.
    seed : int
        Of the subsets.
    """

    keypoints: int = 1024
    least_probability: float = 0.1
    depth_confidence: float | None = 0.95
    width_confidence: float | None = 0.99
    adaptive_threshold: bool = True
    seed: int = 0


class LearnedMatcher:
    """Keypoints, fused features, LightGlue and GCCM; a `PlaneMatcher`.

    Parameters
    ----------
    net : ImageMatcherNet
    gccm : Gccm
        Of two dimensions.
    settings : MatcherSettings
    """

    def __init__(
        self, net: ImageMatcherNet, gccm: Gccm, settings: MatcherSettings = MatcherSettings()
    ) -> None:
        self.net, self.gccm, self.settings = net.eval(), gccm.eval(), settings
        self.extractor = FeatureExtractor(net.features)

    @torch.inference_mode()
    def match(
        self, source: PlanarImage, target: PlanarImage, *, report: Report | None = None
    ) -> ImageMatches:
        """Match two images of any pixel sizes; see `PlaneMatcher.match`."""
        described = []
        for number, image in enumerate((source, target)):
            if report is not None:
                report(number, 3, "looking for keypoints")
            described.append(self.extractor.describe(image))
        if report is not None:
            report(2, 3, "matching keypoints")
        return self.match_described((described[0], described[1]))

    @torch.inference_mode()
    def match_described(self, images: tuple[DescribedImage, DescribedImage]) -> ImageMatches:
        """Match two images that the feature network has described."""
        settings = self.settings
        points = [image.keypoints(settings.keypoints) for image in images]
        counts = (len(points[0]), len(points[1]))
        if min(counts) < _FEWEST:
            return _nothing(counts)
        found = match_adaptively(
            self.net.lightglue,
            (self._fused(points[0]), self._fused(points[1])),
            (_in_units(points[0]), _in_units(points[1])),
            depth_confidence=settings.depth_confidence,
            width_confidence=settings.width_confidence,
        )
        likely = found.probability > settings.least_probability
        pairs = found.pairs[likely].numpy()
        if len(pairs) < _FEWEST:
            return _nothing(counts)
        here, there = (
            side.positions_um[column] for side, column in zip(points, pairs.T, strict=True)
        )
        refined = refine_places(self.net.features, *images, (here / PIXEL_UM, there / PIXEL_UM))
        return self._verified(here, refined * PIXEL_UM, found.probability[likely], counts)

    def _fused(self, points: Keypoints) -> torch.Tensor:
        known = beside([torch.from_numpy(points.descriptors)], torch.from_numpy(points.scores))
        fused: torch.Tensor = self.net.fusion(known)
        return fused

    def _verified(
        self,
        here: np.ndarray,
        there: np.ndarray,
        probability: torch.Tensor,
        counts: tuple[int, int],
    ) -> ImageMatches:
        """Score the geometry of matches (K, 2) and cut where the module says."""
        sides = [torch.from_numpy(side - side.mean(axis=0)).float() for side in (here, there)]
        generator = torch.Generator().manual_seed(self.settings.seed)
        confidence = self.gccm.confidence(*sides, generator).double().numpy()
        estimate = estimate_inliers(confidence, self.gccm.config.responses)
        adaptive = self.settings.adaptive_threshold
        return ImageMatches(
            source_um=here,
            target_um=there,
            probability=probability.double().numpy(),
            confidence=confidence.clip(0, 1),
            threshold=estimate.tau if adaptive else self.gccm.config.tau,
            inlier_ratio=estimate.inlier_ratio,
            n_source=counts[0],
            n_target=counts[1],
        )


def _in_units(points: Keypoints) -> torch.Tensor:
    return torch.from_numpy(points.positions_um / UNIT_UM).float()


def _nothing(counts: tuple[int, int]) -> ImageMatches:
    """Return that nothing matches."""
    empty = np.zeros((0, 2))
    return ImageMatches(empty, empty, np.zeros(0), np.zeros(0), 1.0, 0.0, counts[0], counts[1])
