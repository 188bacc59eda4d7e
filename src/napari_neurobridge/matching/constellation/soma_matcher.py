"""Matching two images by the pattern of their somata, whatever the angle between them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from napari_neurobridge.matching.constellation.any_turn import TurnParams
from napari_neurobridge.matching.constellation.local_poses import PoseParams
from napari_neurobridge.matching.constellation.looks import CLEAR_MARGIN
from napari_neurobridge.matching.constellation.matcher import (
    ConstellationMatch,
    ConstellationParams,
    match_constellation,
)
from napari_neurobridge.registration.growth import evidence_of, growths, neighbourhoods
from napari_neurobridge.registration.growth_search import search_growths
from napari_neurobridge.registration.image_matches import ImageMatches, lifted
from napari_neurobridge.registration.pair_looks import looks_of
from napari_neurobridge.registration.soma_pairs import CropSource, SomaPairJudge
from napari_neurobridge.registration.verify import verified_matches
from napari_neurobridge.spaces.mutual_nearest import mutual_nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.registration.feature_points import DescribedImage, FeatureExtractor
    from napari_neurobridge.registration.gccm import Gccm
    from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage
    from napari_neurobridge.registration.pair_looks import PairJudge
    from napari_neurobridge.registration.soma_pairs import SomaPairNet
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

Float64Array = npt.NDArray[np.float64]

# Images have square pixels of known size, so that only the tissue may have grown or shrunk.
_TURNS = TurnParams(poses=PoseParams(scale=(0.7, 1.4)), unlike_axes=False)
_SEEN_TURNS = replace(_TURNS, evidence_margin=CLEAR_MARGIN)
# A turn with one scale finds tissue that is stretched by up to 1.2 more along one axis than along
# the other; beyond that, one side is stretched before it is looked for.
_STRETCH, _ALONG = 1.28, (0, 45, 90, 135)


class SomaMatcher:
    """Finds somata by the feature network and matches their pattern; a `PatternMatcher`.

    The pattern is looked for at all angles, at scales of 0.7 to 1.4, and mirrored. Maps that it
    suggests are judged by what the somata look like, too, if there is a network for that. The best
    map that contradicts tells what chance gives in these very images. Where no map is clear, the
    best of each try are grown over both planes, and what grows is judged in the same way.

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
        tries = [(least, np.eye(2)) for least in self.least_probability]
        if judge is not None:
            tries += [(self.least_probability[0], stretch) for stretch in _stretches()]
        chance = 1.0
        proposals: list[tuple[Float64Array, Float64Array]] = []
        for least, stretch in tries:
            somata = images[0].somata(least), images[1].somata(least)
            found = self._match_somata(somata, judge, stretch, report)
            chance = max(chance, found.decoy_evidence)
            if found.known and _is_clear(found.evidence, chance):
                return self._judged(somata, found.pairs, found.confidence, found.evidence / chance)
            chance = max(chance, found.evidence)
            proposals += [_places(somata, pairs) for pairs in found.proposals]
        grown = None if judge is None else self._grown(source, target, judge, proposals)
        nothing = self._judged(somata, found.pairs[:0], found.confidence[:0], 1.0)
        return nothing if grown is None else grown

    def _grown(
        self,
        source: PlanarImage,
        target: PlanarImage,
        judge: PairJudge,
        proposals: Sequence[tuple[Float64Array, Float64Array]],
    ) -> ImageMatches | None:
        """Match by what grows from proposals of which none is clear; None if no growth is."""
        somata = self._all_somata(source, target)
        here, there = (side.positions_um for side in somata)
        rows = [_rows(somata, places) for places in proposals]
        density, looks = _density(there, target), looks_of(judge, here, there)
        found = search_growths(here, there, rows, density, looks)
        if found.best is None or not found.known:
            return None
        pairs, margin = found.best.pairs, found.best.evidence / found.other_evidence
        return self._judged(somata, pairs, _scores(somata, pairs), margin)

    def _match_somata(
        self,
        somata: tuple[Keypoints, Keypoints],
        judge: SomaPairJudge | None,
        stretch: npt.NDArray[np.float64],
        report: Report | None,
    ) -> ConstellationMatch:
        """Match the somata of two images at any angle, those of the source stretched before."""
        here, there = (side.positions_um for side in somata)
        return match_constellation(
            lifted(here @ stretch),
            lifted(there),
            orientation=None,
            params=ConstellationParams(turns=_TURNS if judge is None else _SEEN_TURNS),
            looks=looks_of(judge, here, there),
            report=report,
        )

    def match_outward(
        self, source: PlanarImage, target: PlanarImage, matches: ImageMatches
    ) -> ImageMatches | None:
        """Grow each neighbourhood of matches anew; see `PatternMatcher.match_outward`."""
        somata = self._all_somata(source, target)
        here, there = (side.positions_um for side in somata)
        pairs = _rows(somata, (matches.source_um, matches.target_um))
        density = _density(there, target)
        looks = looks_of(self._judge(source, target), here, there)
        before = evidence_of(here, there, pairs, density, looks)
        grown = growths(here, there, neighbourhoods(here, pairs), density, looks)
        if not grown or (before is not None and grown[0].evidence <= before.evidence):
            return None
        return self._judged(somata, grown[0].pairs, _scores(somata, grown[0].pairs), None)

    def match_near(
        self, source: PlanarImage, target: PlanarImage, transform: Transform, reach_um: float
    ) -> ImageMatches:
        """Match somata that are nearest to each other once a map is applied.

        See `PatternMatcher.match_near`.
        """
        somata = self._all_somata(source, target)
        mapped = transform.map_points(lifted(somata[0].positions_um))[:, 1:]
        pairs = mutual_nearest(mapped, somata[1].positions_um, reach_um)
        return self._alike(somata, pairs, self._judge(source, target))

    def _all_somata(self, source: PlanarImage, target: PlanarImage) -> tuple[Keypoints, Keypoints]:
        """Return the somata of both images down to the least probability."""
        images, least = self._describe(source, target, None), min(self.least_probability)
        return images[0].somata(least), images[1].somata(least)

    def _alike(
        self,
        somata: tuple[Keypoints, Keypoints],
        pairs: npt.NDArray[np.intp],
        judge: SomaPairJudge | None,
    ) -> ImageMatches:
        """Return those of the pairs that look alike, verified."""
        if judge is not None:
            pairs = pairs[judge(*_places(somata, pairs)) > 0]
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
        here, there = _places(somata, pairs)
        counts = len(somata[0]), len(somata[1])
        return verified_matches(here, there, probability, counts, gccm=self.gccm, margin=margin)


def _stretches() -> list[npt.NDArray[np.float64]]:
    """Return symmetric matrices (2, 2) that lengthen each of four directions."""
    length = np.diag([_STRETCH**0.5, _STRETCH**-0.5])
    turns = [Rotation.from_euler("z", angle, degrees=True).as_matrix()[:2, :2] for angle in _ALONG]
    return [np.asarray(turn @ length @ turn.T) for turn in turns]


def _is_clear(evidence: float, chance: float) -> bool:
    """Return whether evidence is beyond what chance gave in all that was tried."""
    return evidence > _SEEN_TURNS.min_evidence_ratio * chance


def _places(
    somata: tuple[Keypoints, Keypoints], pairs: npt.NDArray[np.intp]
) -> tuple[Float64Array, Float64Array]:
    """Return where the somata of pairs lie, on either side."""
    here, there = (side.positions_um[pairs[:, column]] for column, side in enumerate(somata))
    return here, there


def _rows(
    somata: tuple[Keypoints, Keypoints], places: tuple[Float64Array, Float64Array]
) -> npt.NDArray[np.intp]:
    """Return the pairs of somata that lie at places of either side."""
    found = [
        np.asarray(cKDTree(side.positions_um).query(at)[1], dtype=np.intp)
        for side, at in zip(somata, places, strict=True)
    ]
    return np.column_stack(found)


def _density(places: Float64Array, image: PlanarImage) -> float:
    """Return how many somata an image shows per µm²."""
    height, width = image.size_um
    return len(places) / (height * width)


def _scores(
    somata: tuple[Keypoints, Keypoints], pairs: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Return how sure the less sure soma of each pair is."""
    scores = np.minimum(somata[0].scores[pairs[:, 0]], somata[1].scores[pairs[:, 1]])
    return np.asarray(scores, dtype=np.float64)
