"""Matching two images by the pattern of their somata, whatever the angle between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.matching.constellation.any_turn import TurnParams
from napari_neurobridge.matching.constellation.local_poses import PoseParams
from napari_neurobridge.matching.constellation.looks import CLEAR_MARGIN
from napari_neurobridge.matching.constellation.matcher import (
    ConstellationParams,
    match_constellation,
)
from napari_neurobridge.registration.growth import evidence_of, grow, neighbourhoods
from napari_neurobridge.registration.image_matches import ImageMatches, lifted
from napari_neurobridge.registration.soma_pairs import CropSource, SomaPairJudge
from napari_neurobridge.registration.verify import verify
from napari_neurobridge.spaces.mutual_nearest import mutual_nearest

if TYPE_CHECKING:
    from napari_neurobridge.registration.feature_points import DescribedImage, FeatureExtractor
    from napari_neurobridge.registration.gccm import Gccm
    from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage
    from napari_neurobridge.registration.soma_pairs import SomaPairNet
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

# Images have square pixels of known size, so that only the tissue may have grown or shrunk.
_TURNS = TurnParams(poses=PoseParams(scale=(0.7, 1.4)), unlike_axes=False)
_SEEN_TURNS = replace(_TURNS, evidence_margin=CLEAR_MARGIN)
# Fewer matches hold no subsets to be verified by.
_FEWEST = 8


class SomaMatcher:
    """Finds somata by the feature network and matches their pattern; a `PatternMatcher`.

    The pattern is looked for at all angles, at scales of 0.7 to 1.4, and mirrored. Maps that it
    suggests are judged by what the somata look like, too, if there is a network for that. The best
    map that contradicts tells what chance gives in these very images.

    Parameters
    ----------
    extractor : FeatureExtractor
    gccm : Gccm
        Of two dimensions.
    pairs : SomaPairNet, optional
        Judges pairs of somata by what they look like.
    least_probability : tuple of float
        Of a soma that takes part; the next one is tried where the one before says nothing.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        gccm: Gccm,
        pairs: SomaPairNet | None = None,
        *,
        least_probability: tuple[float, ...] = (0.3, 0.4, 0.2),
    ) -> None:
        self.extractor, self.gccm, self.pairs = extractor, gccm, pairs
        self.least_probability = least_probability
        self._described: dict[int, tuple[PlanarImage, DescribedImage]] = {}
        self._judged_before: tuple[PlanarImage, PlanarImage, SomaPairJudge] | None = None

    def match(
        self, source: PlanarImage, target: PlanarImage, *, report: Report | None = None
    ) -> ImageMatches:
        """Match two images at any angle; see `PatternMatcher.match`."""
        images = self._describe(source, target, report)
        judge = self._judge(source, target)
        for least in self.least_probability:
            found = self._match_somata(
                (images[0].somata(least), images[1].somata(least)), judge, report
            )
            if len(found):
                break
        return found

    def _match_somata(
        self,
        somata: tuple[Keypoints, Keypoints],
        judge: SomaPairJudge | None,
        report: Report | None,
    ) -> ImageMatches:
        """Match the somata of two images at any angle."""
        here, there = (side.positions_um for side in somata)
        looks = None if judge is None else lambda rows: judge(here[rows[:, 0]], there[rows[:, 1]])
        found = match_constellation(
            lifted(here),
            lifted(there),
            orientation=None,
            params=ConstellationParams(turns=_TURNS if judge is None else _SEEN_TURNS),
            looks=looks,
            report=report,
        )
        margin = found.evidence / max(found.decoy_evidence, 1.0)
        return self._judged(somata, found.pairs, found.confidence, margin)

    def match_outward(
        self, source: PlanarImage, target: PlanarImage, matches: ImageMatches
    ) -> ImageMatches | None:
        """Grow each neighbourhood of matches anew; see `PatternMatcher.match_outward`."""
        images = self._describe(source, target, None)
        least = min(self.least_probability)
        somata = images[0].somata(least), images[1].somata(least)
        here, there = (side.positions_um for side in somata)
        pairs = np.column_stack(
            [
                np.asarray(cKDTree(side).query(places)[1], dtype=np.intp)
                for side, places in ((here, matches.source_um), (there, matches.target_um))
            ]
        )
        height, width = target.size_um
        density = len(there) / (height * width)
        judge = self._judge(source, target)
        looks = None if judge is None else lambda rows: judge(here[rows[:, 0]], there[rows[:, 1]])
        before = evidence_of(here, there, pairs, density, looks)
        grown = grow(here, there, neighbourhoods(here, pairs), density, looks)
        if grown is None or (before is not None and grown.evidence <= before.evidence):
            return None
        return self._judged(somata, grown.pairs, _scores(somata, grown.pairs), None)

    def match_near(
        self, source: PlanarImage, target: PlanarImage, transform: Transform, reach_um: float
    ) -> ImageMatches:
        """Match somata that are nearest to each other once a map is applied.

        See `PatternMatcher.match_near`.
        """
        images = self._describe(source, target, None)
        least = min(self.least_probability)
        somata = images[0].somata(least), images[1].somata(least)
        mapped = transform.map_points(lifted(somata[0].positions_um))[:, 1:]
        pairs = mutual_nearest(mapped, somata[1].positions_um, reach_um)
        return self._alike(somata, pairs, self._judge(source, target))

    def _alike(
        self,
        somata: tuple[Keypoints, Keypoints],
        pairs: npt.NDArray[np.intp],
        judge: SomaPairJudge | None,
    ) -> ImageMatches:
        """Return those of the pairs that look alike, verified."""
        if judge is not None:
            here, there = (
                side.positions_um[rows] for side, rows in zip(somata, pairs.T, strict=True)
            )
            pairs = pairs[judge(here, there) > 0]
        return self._judged(somata, pairs, _scores(somata, pairs), None)

    def _judge(self, source: PlanarImage, target: PlanarImage) -> SomaPairJudge | None:
        """Return what judges pairs of two images; from memory where the last ones were the same."""
        if self.pairs is None:
            return None
        held = self._judged_before
        if held is None or held[0] is not source or held[1] is not target:
            judge = SomaPairJudge(self.pairs, CropSource.of(source), CropSource.of(target))
            held = self._judged_before = (source, target, judge)
        return held[2]

    def _describe(
        self, source: PlanarImage, target: PlanarImage, report: Report | None
    ) -> tuple[DescribedImage, DescribedImage]:
        """Return what the network says of both images; from memory where it was asked before."""
        known = {}
        for done, image in enumerate((source, target)):
            if report is not None:
                report(done, 2, "looking for somata")
            held = self._described.get(id(image))
            described = (
                held[1] if held is not None and held[0] is image else self.extractor.describe(image)
            )
            known[id(image)] = (image, described)
        self._described = known
        return known[id(source)][1], known[id(target)][1]

    def _judged(
        self,
        somata: tuple[Keypoints, Keypoints],
        pairs: npt.NDArray[np.intp],
        probability: npt.NDArray[np.float64],
        margin: float | None,
    ) -> ImageMatches:
        """Return pairs with their geometric consistency."""
        here, there = (side.positions_um[pairs[:, column]] for column, side in enumerate(somata))
        confidence, threshold, ratio = np.zeros(len(here)), 0.0, 0.0
        if len(here) >= _FEWEST:
            judged = verify(here, there, gccm=self.gccm)
            confidence, threshold, ratio = (
                judged.confidence,
                judged.threshold,
                judged.inlier_ratio,
            )
        return ImageMatches(
            here,
            there,
            probability=probability.clip(0, 1),
            confidence=confidence,
            threshold=threshold,
            inlier_ratio=ratio,
            n_source=len(somata[0]),
            n_target=len(somata[1]),
            margin=margin,
        )


def _scores(
    somata: tuple[Keypoints, Keypoints], pairs: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Return how sure the less sure soma of each pair is."""
    scores = np.minimum(somata[0].scores[pairs[:, 0]], somata[1].scores[pairs[:, 1]])
    return np.asarray(scores, dtype=np.float64)
