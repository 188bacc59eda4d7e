"""Methods that register a two-photon plane with an fMOST slab, and how right they are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.consensus import verified_consensus
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.image_registration import register_planes
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.plane_fit import fit_plane
from napari_neurobridge.registration.verification import Ransac
from napari_neurobridge.spaces.choose_fit import choose_fit
from napari_neurobridge.spaces.correspondences import Correspondences

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_neurobridge.matching.constellation.soma_matcher import SomaMatcher
    from napari_neurobridge.registration.image_matches import PlaneMatcher
    from napari_neurobridge.registration.keypoints import Extractor
    from napari_neurobridge.training.image_tasks import ImageTask

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

RIGHT_UM = (3.0, 5.0, 10.0)
KEYPOINTS = 1024
_RANSAC_UM = 8.0
# Every so many pixels are compared with the truth.
_TRUTH_STEP = 97
_FEWEST = 8
# Of a soma that takes part in the graph.
_LEAST_PROBABILITY = 0.3
_NEIGHBOURS = 8
_LEAST_SCORE = 0.1


@dataclass(frozen=True)
class MethodOutcome:
    """What a method found in one pair of images.

    Attributes
    ----------
    matches : int
    right : tuple of int
        Those within each of `RIGHT_UM` of the truth; what the truth does not hold is wrong.
    tre_um : ndarray or None
        Errors of the map where both images show tissue; None without a map.
    seconds : float
    """

    matches: int
    right: tuple[int, ...]
    tre_um: Float64Array | None
    seconds: float

    @classmethod
    def of(
        cls,
        task: ImageTask,
        source_um: Float64Array,
        target_um: Float64Array,
        map_points: Callable[[Float64Array], Float64Array] | None,
        seconds: float,
    ) -> MethodOutcome:
        """Compare matches and a map with the truth."""
        off = np.linalg.norm(task.map_points(source_um) - target_um, axis=1)
        right = tuple(int((off <= limit).sum()) for limit in RIGHT_UM)
        errors = None
        if map_points is not None:
            known = np.argwhere(np.isfinite(task.truth_px[..., 0]))
            places = known[::_TRUTH_STEP].astype(np.float64)
            mapped = np.asarray(map_points(lifted(places)))[:, 1:]
            errors = np.linalg.norm(mapped - task.map_points(places), axis=1)
            errors = errors[np.isfinite(errors)]
        return cls(len(off), right, errors, seconds)

    @classmethod
    def fitted(
        cls, task: ImageTask, source_um: Float64Array, target_um: Float64Array, began: float
    ) -> MethodOutcome:
        """Fit the simplest map that the matches justify, and compare with the truth."""
        map_points = None
        if len(source_um) >= _FEWEST:
            pairs = Correspondences(lifted(source_um), lifted(target_um))
            map_points = choose_fit(pairs).transform.map_points
        seconds = time.perf_counter() - began
        return cls.of(task, source_um, target_um, map_points, seconds)


def planes_of(task: ImageTask) -> tuple[PlanarImage, PlanarImage]:
    """Return source and target; pixels of a task are 1 µm wide."""
    return PlanarImage.of(task.source, 1.0), PlanarImage.of(task.target, 1.0)


def by_descriptors(extractor: Extractor, task: ImageTask) -> MethodOutcome:
    """Match descriptors that are each other's nearest, and keep what fits one similarity."""
    began = time.perf_counter()
    first, second = (extractor.extract(image, KEYPOINTS) for image in planes_of(task))
    rows = _mutual(first.descriptors @ second.descriptors.T)
    return _by_ransac(task, first.positions_um, second.positions_um, rows, began)


def by_neighbours(matcher: SomaMatcher, task: ImageTask) -> MethodOutcome:
    """Match somata by the graph of their neighbours.

    A simple graph matcher in the manner of CellGPR: each soma is described by the lengths of its
    edges to its nearest neighbours and of those between one and the next of them, which turning
    the image does not change; descriptions that are each other's nearest are matches if they
    fit one similarity.
    """
    began = time.perf_counter()
    sides = [
        matcher.extractor.describe(image).somata(_LEAST_PROBABILITY).positions_um
        for image in planes_of(task)
    ]
    if min(len(side) for side in sides) <= _NEIGHBOURS:
        return MethodOutcome.fitted(task, sides[0][:0], sides[1][:0], began)
    first, second = (edge_lengths(side) for side in sides)
    apart = np.linalg.norm(first[:, None] - second[None], axis=2)
    return _by_ransac(task, sides[0], sides[1], _mutual(-apart), began)


def edge_lengths(points: Float64Array, count: int = _NEIGHBOURS) -> Float64Array:
    """Describe points (N, 2) by their neighbours' edges, (N, 2 count); more than ``count`` points.

    Neighbours are taken in the order of their distance, so that the description is the same
    for an image that is turned or mirrored.
    """
    near = np.asarray(cKDTree(points).query(points, k=count + 1)[1])[:, 1:]
    spokes = points[near] - points[:, None]
    lengths = np.linalg.norm(spokes, axis=2)
    between = np.linalg.norm(spokes - np.roll(spokes, -1, axis=1), axis=2)
    return np.asarray(np.concatenate([lengths, between], axis=1))


class Photographs:
    """XFeat and LighterGlue as they were trained, on photographs; a rival without any tuning.

    Parameters
    ----------
    features, matcher : Path
        ONNX files of XFeat's dense keypoints, and of LighterGlue.

    Raises
    ------
    InputError
        If ONNX Runtime is not installed, or a file cannot be read.
    """

    def __init__(self, features: Path, matcher: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            missing = "ONNX Runtime is not installed; it comes with the extra 'benchmark'."
            raise InputError(missing) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._features, self._matcher = (
                onnxruntime.InferenceSession(str(path), options) for path in (features, matcher)
            )
        except Exception as error:  # The runtime's errors have no common class.
            raise InputError(f"{features} or {matcher} is no ONNX network: {error}") from error

    def outcome(self, task: ImageTask) -> MethodOutcome:
        """Match, and keep what fits one similarity."""
        began = time.perf_counter()
        points, inputs = [], {}
        for side, image in enumerate(planes_of(task)):
            values = image.standardised()
            found = self._features.run(None, {"images": values[None, None]})
            size = np.array(values.shape[::-1], dtype=np.float32)
            inputs[f"kpts{side}"] = ((found[0] - size / 2) / (size.max() / 2))[None]
            inputs[f"desc{side}"] = found[1][None]
            points.append(np.asarray(found[0][:, ::-1], dtype=np.float64))
        rows, scores = self._matcher.run(None, inputs)[:2]
        kept = np.asarray(rows, dtype=np.intp)[np.asarray(scores) > _LEAST_SCORE]
        return _by_ransac(task, points[0], points[1], kept, began)


def _mutual(similarity: npt.NDArray[np.floating]) -> RowArray:
    """Return the rows and columns (K, 2) that are most similar to each other."""
    there = similarity.argmax(axis=1)
    rows = np.flatnonzero(similarity.argmax(axis=0)[there] == np.arange(len(there)))
    return np.column_stack([rows, there[rows]])


def _by_ransac(
    task: ImageTask, here: Float64Array, there: Float64Array, rows: RowArray, began: float
) -> MethodOutcome:
    """Keep what fits one similarity."""
    source, target = here[rows[:, 0]], there[rows[:, 1]]
    kept = np.zeros(len(rows), dtype=np.bool_)
    if len(rows) >= _FEWEST:
        kept = Ransac().score(source, target) > -_RANSAC_UM
    return MethodOutcome.fitted(task, source[kept], target[kept], began)


def by_matcher(matcher: PlaneMatcher, task: ImageTask, *, any_angle: bool) -> MethodOutcome:
    """Return what a matcher of planes that lie alike verifies, at the best of all angles if asked.

    The map is fitted to those matches that one similarity explains.
    """
    began = time.perf_counter()
    if any_angle:
        found = register_planes(*planes_of(task), matcher)
        matches, fitted = found.matches.take(found.matches.verified), found.fitted
    else:
        matches = matcher.match(*planes_of(task))
        matches = matches.take(matches.verified)
        fitted = fit_plane(matches, verified_consensus(matches), ("source", "target"))
    return MethodOutcome.of(
        task,
        matches.source_um,
        matches.target_um,
        None if fitted is None else fitted.transform.map_points,
        time.perf_counter() - began,
    )


def by_pattern(matcher: SomaMatcher, task: ImageTask) -> tuple[MethodOutcome, MethodOutcome]:
    """Return what a matcher of patterns finds, and what of that the consistency module verifies."""
    began = time.perf_counter()
    matches = matcher.match(*planes_of(task))
    took = time.perf_counter() - began
    every, verified = (
        MethodOutcome.fitted(
            task, matches.source_um[kept], matches.target_um[kept], time.perf_counter() - took
        )
        for kept in (np.ones(len(matches), dtype=np.bool_), matches.verified)
    )
    return every, verified
