"""The benchmark of calibration and error control, on small fields."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.benchmarks import matching_scenes
from napari_neurobridge.benchmarks.matching import benchmark_matching, fit_shipped
from napari_neurobridge.benchmarks.matching_scenes import (
    SceneField,
    image_fields,
    paper_level,
    plane_field,
    point_field,
)
from napari_neurobridge.benchmarks.points import PointPairs
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.model_folder import Likelihood, ModelCalibration, Probability
from napari_neurobridge.spaces.fit import fit_alignment
from napari_neurobridge.spaces.landmarks import Landmarks


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def a_field(seed: int) -> SceneField:
    """A field whose crops tell cells apart, a third of them without a partner."""
    rng = np.random.default_rng(seed)
    cells = rng.uniform(0, 1, (420, 3)) * [150, 220, 220]
    looks = rng.normal(0, 1, (420, 16))
    partner = np.where(np.arange(90) < 60, np.arange(90), -1)
    gallery = np.r_[0:60, 90:420]
    queries = cells[:90] + 4 * np.sin(cells[:90][:, [1, 2, 0]] / 60) + rng.normal(0, 2, (90, 3))
    first = unit(looks[:90] + rng.normal(0, 1.5, (90, 16)))
    points = PointPairs(queries, cells[gallery], partner)
    known = ModelCalibration(
        likelihood=Likelihood(weight=20.4, offset=-0.15),
        probability=Probability(slope=1.1, offset=0.5),
    )
    return SceneField(points, np.eye(3), (first, unit(looks[gallery])), known)


@pytest.fixture(scope="module")
def fields() -> list[SceneField]:
    return [a_field(seed) for seed in range(2)]


def test_deleted_partners_take_their_looks_along(fields):
    left = fields[0].without(np.arange(20))
    assert (left.points.partner[:20] == -1).all()
    second = left.embeddings[1]
    assert len(second) == len(left.points.gallery_um) == len(fields[0].points.gallery_um) - 20
    for query in (25, 50):
        np.testing.assert_array_equal(
            second[left.points.partner[query]],
            fields[0].embeddings[1][fields[0].points.partner[query]],
        )


def test_every_condition_has_its_row(fields):
    result = benchmark_matching(
        fields, source="toy", n_landmarks=(8,), missing=(0.0, 0.3), images=(False, True)
    )
    assert [(row.images, round(row.missing, 1)) for row in result.results] == [
        (False, 0.4),
        (True, 0.4),
        (False, 0.6),
        (True, 0.6),
    ]
    for row in result.results:
        assert row.n_runs == 2
        assert row.top1 > 0.8
        assert row.recall > 0.6
        assert row.reliability.n == 2 * 82
        assert row.reliability.log_score > row.reliability.base_log_score
        assert 0.8 < row.conformal.coverage < 1
        assert row.conformal.at_least_one >= row.conformal.coverage
    # Looks that tell cells apart help.
    assert result.results[1].reliability.log_score > result.results[0].reliability.log_score
    assert result.table().count("toy") == 4


def test_decoys_are_counted_when_asked(fields):
    row = benchmark_matching(fields[:1], source="toy", n_landmarks=(8,), decoys=True).results[0]
    assert row.decoy is not None
    assert row.decoy < 0.2


def test_what_is_shipped_can_be_measured(fields):
    fit = fit_shipped(fields, n_landmarks=8)
    assert fit.appearance_weight > 0
    assert fit.slope > 0


def test_fields_without_images_are_matched_by_place_only(fields):
    bare = [SceneField(field.points, field.orientation) for field in fields]
    with pytest.raises(InputError, match="no images"):
        benchmark_matching(bare, source="toy", n_landmarks=(6,), images=(True,))
    with pytest.raises(InputError, match="at least one field"):
        benchmark_matching([], source="toy")


def test_a_simulated_field_has_partners_where_the_orientation_says():
    field = point_field(3, size_um=(60.0, 150.0, 150.0))
    points = field.points
    assert (points.partner >= 0).all()
    assert len(points.gallery_um) > len(points.queries_um)
    partners = points.gallery_um[points.partner]
    turned = points.queries_um @ field.orientation.T
    residual = (partners - partners.mean(axis=0)) - (turned - turned.mean(axis=0))
    # What the orientation leaves is much less than the field is wide.
    assert (
        np.linalg.norm(residual, axis=1).mean()
        < 0.5 * np.linalg.norm(partners - partners.mean(axis=0), axis=1).mean()
    )


class CountingEncoder:
    """Block means as a unit vector."""

    name, hash = "counting", "0123456789ab"
    calibration = ModelCalibration()

    def __init__(self) -> None:
        self.n_embedded = 0

    def embed(self, crops: np.ndarray) -> np.ndarray:
        self.n_embedded += len(crops)
        blocks = crops.reshape(len(crops), 10, 15, 10, 15).mean(axis=(2, 4)).reshape(-1, 100)
        return unit(blocks + 1e-6)


def test_scenes_are_simulated_once(tmp_path):
    encoder = CountingEncoder()
    size = (40.0, 60.0, 60.0)
    first = image_fields(encoder, [1], tmp_path, size_um=size)[0]
    assert encoder.n_embedded > 0
    n_embedded = encoder.n_embedded
    again = image_fields(encoder, [1], tmp_path, size_um=size)[0]
    found = image_fields(encoder, [1], tmp_path, size_um=size, places="detected")[0]
    assert encoder.n_embedded == n_embedded
    np.testing.assert_array_equal(first.points.queries_um, again.points.queries_um)
    for field in (again, found):
        assert len(field.embeddings[0]) == len(field.points.queries_um) == len(field.points.partner)
        assert len(field.embeddings[1]) == len(field.points.gallery_um)


def test_the_level_misses_what_it_should():
    level = paper_level(0.3)
    assert level.two_photon_label.visible_fraction == pytest.approx(0.7)
    assert level.fmost_label.labelled_fraction == pytest.approx(0.7)


def test_detections_are_named_after_cells_one_to_one():
    cells = np.array([[0.0, 0, 0], [0, 0, 30], [0, 0, 60]])
    found = np.array([[0.0, 0, 1], [0, 0, 3], [0, 0, 58], [0, 0, 200]])
    named = matching_scenes._cells(found, cells, np.array([7, 8, 9]))
    assert named.tolist() == [7, -1, 9, -1]


def test_a_plane_lacks_cells_on_either_side_and_depth_on_both():
    points = plane_field(1).points
    assert np.ptp(points.queries_um[:, 0]) == np.ptp(points.gallery_um[:, 0]) == 0
    matchable = points.partner >= 0
    lacking = 1 - matchable.mean(), 1 - matchable.sum() / len(points.gallery_um)
    assert min(lacking) > 0.15
    assert max(lacking) < 0.55
    chosen = np.flatnonzero(matchable)
    landmarks = Landmarks(points.queries_um[chosen], points.gallery_um[points.partner[chosen]])
    assert np.median(fit_alignment(landmarks, mirrored=False).residuals()) < 6
