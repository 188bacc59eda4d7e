"""Simulated fields of somata with embeddings, kept on disk: what matching is measured on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.detection.dog import detect_somata
from napari_neurobridge.io.crops import extract_crops
from napari_neurobridge.io.files import atomic_write
from napari_neurobridge.io.volumes import open_volume
from napari_neurobridge.models.model_folder import ModelCalibration
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.simulation.scene_files import simulate_scene

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.encoder.embed import Encoder
    from napari_neurobridge.simulation.levels import Difficulty
    from napari_neurobridge.simulation.scene_files import SceneFiles
    from napari_neurobridge.types import Float32Array, Report, Vec3

Places = Literal["known", "detected"]
PLACES: tuple[Places, ...] = ("known", "detected")
SIDES = ("two_photon", "fmost")

FIELD_UM: Vec3 = (150.0, 300.0, 300.0)
PLANE_FIELD_UM: Vec3 = (40.0, 700.0, 700.0)
_FOCAL_UM = 12.0
_SAME_SOMA_UM = 10.0
_AXES = "zyx"

FloatArray = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class SceneField:
    """Somata of both sides of a simulated scene, and what they look like.

    Attributes
    ----------
    points : PointPairs
        Two-photon somata as queries, fMOST somata as gallery, each where its own volume
        shows it, give or take the error of a detection.
    orientation : ndarray, shape (3, 3), or None
        Rough linear part of the map from queries to gallery, as a user would state it.
    embeddings : tuple of ndarray of float32, shape (N, D) and (M, D), or None
        Of the queries and the gallery.
    calibration : ModelCalibration
        Of the model that made the embeddings.
    """

    points: PointPairs
    orientation: FloatArray | None = None
    embeddings: tuple[Float32Array, Float32Array] | None = None
    calibration: ModelCalibration = field(default_factory=ModelCalibration)

    def without(self, queries: RowArray) -> SceneField:
        """Return the field with the partners of some queries deleted from the gallery."""
        points = self.points.without(queries)
        if self.embeddings is None:
            return SceneField(points, self.orientation)
        gone = self.points.partner[queries]
        keep = np.ones(len(self.points.gallery_um), dtype=np.bool_)
        keep[gone[gone >= 0]] = False
        first, second = self.embeddings
        return replace(self, points=points, embeddings=(first, second[keep]))


def paper_level(missing: float = 0.3) -> Difficulty:
    """Return the level `paper` with a share of the cells missing on either side."""
    return level("paper").changed(
        two_photon_label={"visible_fraction": 1 - missing},
        fmost_label={"labelled_fraction": 1 - missing},
    )


def point_field(seed: int, *, size_um: Vec3 = FIELD_UM, level_name: str = "paper") -> SceneField:
    """Simulate a scene without images, all of whose queries have a partner.

    Its deformation is the simulator's (window, waves, tears), not the prior of
    `spaces.deformation`. Positions are off by the level's error of centring.
    """
    difficulty = level(level_name)
    scene = Scene(difficulty, size_um, seed, neuron_factory(difficulty.morphology, ()))
    truth = scene.truth()
    both = truth.in_two_photon & truth.in_fmost
    queries, gallery = np.flatnonzero(both), np.flatnonzero(truth.in_fmost)
    points = PointPairs(
        truth.two_photon_um[queries], truth.fmost_um[gallery], np.searchsorted(gallery, queries)
    )
    return SceneField(
        _with_error(points, difficulty.crops.centring_um, seed), scene.orientation.linear()
    )


def plane_field(seed: int) -> SceneField:
    """Simulate one plane on either side, 30 % of whose cells are missing on either.

    The somata of one focal plane, in the plane of each microscope: without depth, as tables of
    a single plane hold them, and without an orientation.
    """
    difficulty = paper_level()
    scene = Scene(difficulty, PLANE_FIELD_UM, seed, neuron_factory(difficulty.morphology, ()))
    truth = scene.truth()
    depth = truth.two_photon_um[:, 0]
    focal = np.abs(depth - np.median(depth[truth.in_two_photon])) <= _FOCAL_UM / 2
    queries, gallery = (
        np.flatnonzero(focal & seen) for seen in (truth.in_two_photon, truth.in_fmost)
    )
    row = np.full(len(truth.in_fmost), -1, dtype=np.intp)
    row[gallery] = np.arange(len(gallery))
    points = PointPairs(
        _flattened(truth.two_photon_um[queries]), _flattened(truth.fmost_um[gallery]), row[queries]
    )
    return SceneField(_with_error(points, difficulty.crops.centring_um, seed, axes=slice(1, None)))


def _flattened(points_um: FloatArray) -> FloatArray:
    """Return places within the plane nearest to points (N, 3), as (0, y, x)."""
    offset = points_um - points_um.mean(axis=0)
    axes = np.linalg.svd(offset, full_matrices=False)[2]
    # Keep the handedness.
    axes[1] *= np.sign(np.linalg.det(axes[[2, 0, 1]]))
    return np.column_stack([np.zeros(len(offset)), offset @ axes[0], offset @ axes[1]])


def image_fields(
    encoder: Encoder,
    seeds: Sequence[int],
    cache: Path,
    *,
    difficulty: Difficulty | None = None,
    size_um: Vec3 = FIELD_UM,
    places: Places = "known",
    report: Report | None = None,
) -> list[SceneField]:
    """Return simulated scenes with embeddings, simulating those that are not cached yet.

    Parameters
    ----------
    encoder : Encoder
    seeds : sequence of int
        One scene each.
    cache : Path
        Folder of positions and embeddings.
    difficulty : Difficulty, optional
        `paper_level` unless given.
    size_um : Vec3
        Of the two-photon volume.
    places : {"known", "detected"}
        Somata at their true places but for an error of centring, or as the detector
        finds them; then some are missed and some are none.
    report : callable, optional
        Called as ``report(done, total, message)``.
    """
    difficulty = difficulty or paper_level()
    fields = []
    for number, seed in enumerate(seeds):
        if report is not None:
            report(number, len(seeds), "simulating fields of somata")
        size = "x".join(f"{side:g}" for side in size_um)
        stem = f"{difficulty.digest()}-{size}-{encoder.hash}-{seed:06d}"
        paths = {kind: cache / f"{stem}-{kind}.npz" for kind in PLACES}
        if not paths[places].exists():
            _simulate(encoder, seed, difficulty, size_um, paths)
        fields.append(replace(_load(paths[places]), calibration=encoder.calibration))
    return fields


def _simulate(
    encoder: Encoder,
    seed: int,
    difficulty: Difficulty,
    size_um: Vec3,
    paths: dict[Places, Path],
) -> None:
    with TemporaryDirectory(prefix="neurobridge-benchmark-") as folder:
        scene = simulate_scene(Path(folder), seed=seed, size_um=size_um, level=difficulty)
        table = pd.read_csv(scene.truth)
        for kind, path in paths.items():
            if kind == "known":
                points = known_places(table, difficulty.crops.centring_um, seed)
            else:
                points = _detected(scene, table)
            _save(path, _looked_at(encoder, scene, points))


def known_places(table: pd.DataFrame, error_um: float, seed: int) -> PointPairs:
    """Return the cells that a scene's truth says are seen, off by an error of placing."""
    seen = [table[f"in_{side}"].to_numpy(dtype=np.bool_) for side in SIDES]
    queries, gallery = (np.flatnonzero(side) for side in seen)
    row = np.where(seen[1], np.cumsum(seen[1]) - 1, -1)
    points = PointPairs(
        _positions(table, "two_photon")[queries],
        _positions(table, "fmost")[gallery],
        row[queries].astype(np.intp),
    )
    return _with_error(points, error_um, seed)


def _detected(scene: SceneFiles, table: pd.DataFrame) -> PointPairs:
    first, second = (
        np.asarray(detect_somata(open_volume(path, name=side)).centers_um)
        for side, path in zip(SIDES, (scene.two_photon, scene.fmost), strict=True)
    )
    return detected_pairs(first, second, table)


def detected_pairs(
    two_photon_um: FloatArray, fmost_um: FloatArray, truth: pd.DataFrame
) -> PointPairs:
    """Pair what was detected in the two volumes of a scene by the cells that it shows.

    Parameters
    ----------
    two_photon_um, fmost_um : ndarray, shape (N, 3) and (M, 3)
        Detections, µm (z, y, x), each in its own volume.
    truth : DataFrame
        The scene's table of cells.
    """
    cell = []
    for side, found_um in zip(SIDES, (two_photon_um, fmost_um), strict=True):
        seen = np.flatnonzero(truth[f"in_{side}"].to_numpy(dtype=np.bool_))
        cell.append(_cells(found_um, _positions(truth, side)[seen], seen))
    order = np.argsort(cell[1], kind="stable")
    place = np.searchsorted(cell[1][order], cell[0])
    partner = order[np.minimum(place, len(order) - 1)]
    known = (cell[0] >= 0) & (cell[1][partner] == cell[0])
    return PointPairs(two_photon_um, fmost_um, np.where(known, partner, -1))


def _cells(found_um: FloatArray, true_um: FloatArray, cell: RowArray) -> RowArray:
    """Return which cell each detection is, or -1; no two are the same."""
    distance = cdist(found_um, true_um)
    far = _SAME_SOMA_UM * (min(distance.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(distance <= _SAME_SOMA_UM, distance, far))
    near = distance[rows, columns] <= _SAME_SOMA_UM
    named = np.full(len(found_um), -1, dtype=np.intp)
    named[rows[near]] = cell[columns[near]]
    return named


def _looked_at(encoder: Encoder, scene: SceneFiles, points: PointPairs) -> SceneField:
    linear = scene.orientation.linear()
    first = extract_crops(open_volume(scene.two_photon, name="two_photon"), points.queries_um)
    second = extract_crops(open_volume(scene.fmost, name="fmost"), points.gallery_um, linear=linear)
    return SceneField(points, linear, (encoder.embed(first), encoder.embed(second)))


def _with_error(
    points: PointPairs, error_um: float, seed: int, axes: slice = slice(None)
) -> PointPairs:
    rng = np.random.default_rng([seed, 1])
    queries, gallery = points.queries_um.copy(), points.gallery_um.copy()
    for side in (queries, gallery):
        side[:, axes] += rng.uniform(-error_um, error_um, side[:, axes].shape)
    return PointPairs(queries, gallery, points.partner)


def _positions(table: pd.DataFrame, side: str) -> FloatArray:
    return table[[f"{side}_{axis}_um" for axis in _AXES]].to_numpy(dtype=np.float64)


def _save(path: Path, field: SceneField) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, second = field.embeddings or (np.empty((0, 0)), np.empty((0, 0)))
    with atomic_write(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            queries_um=field.points.queries_um,
            gallery_um=field.points.gallery_um,
            partner=field.points.partner,
            orientation=np.eye(3) if field.orientation is None else field.orientation,
            first=np.asarray(first, dtype=np.float32),
            second=np.asarray(second, dtype=np.float32),
        )


def _load(path: Path) -> SceneField:
    with np.load(path, allow_pickle=False) as arrays:
        points = PointPairs(arrays["queries_um"], arrays["gallery_um"], arrays["partner"])
        return SceneField(points, arrays["orientation"], (arrays["first"], arrays["second"]))
