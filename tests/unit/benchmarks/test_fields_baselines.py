"""Baselines are exact where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from napari_neurobridge.benchmarks import fields_baselines
from napari_neurobridge.benchmarks.fields_baselines import (
    AFFINE,
    BASELINES,
    DRIFT,
    GROWTH,
    THIN_PLATE,
    BaselineProblem,
    fit_affine,
    fit_thin_plate,
    nearest,
    place_queries,
)

LINEAR = Rotation.from_rotvec([0.3, 1.0, -0.5]).as_matrix() * [0.9, 1.1, 1.2]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def problem_of(queries, gallery, n_landmarks: int) -> BaselineProblem:
    """The first queries are landmarks; row by row, queries and gallery are partners."""
    return BaselineProblem(queries, gallery, queries[:n_landmarks], gallery[:n_landmarks])


def test_an_affine_is_found_exactly(rng):
    points = rng.uniform(0, 300, (50, 3))
    mapped = points @ LINEAR.T + [10, -20, 30]
    np.testing.assert_allclose(fit_affine(points[:8], mapped[:8])(points), mapped, atol=1e-4)


@pytest.mark.parametrize("count", [3, 4, 10])
def test_a_similarity_is_found_from_landmarks_in_a_plane(rng, count):
    points = rng.uniform(0, 300, (50, 3))
    landmarks = points[:count] * [0, 1, 1]
    linear = 1.1 * Rotation.from_rotvec([0.3, 1.0, -0.5]).as_matrix()
    found = fit_affine(landmarks, landmarks @ linear.T)
    # Off the plane as well: neither a mirror nor another scale.
    np.testing.assert_allclose(found(points), points @ linear.T, atol=1e-4)


def test_thin_plates_bend_through_exact_landmarks_and_keep_an_affine(rng):
    points = rng.uniform(0, 300, (80, 3))
    affine = points @ LINEAR.T
    np.testing.assert_allclose(fit_thin_plate(points[:12], affine[:12])(points), affine, atol=1e-3)
    bent = affine + 20 * np.sin(points[:, [1, 2, 0]] / 80)
    off = np.linalg.norm(fit_thin_plate(points[:60], bent[:60])(points) - bent, axis=1)
    plain = np.linalg.norm(fit_affine(points[:60], bent[:60])(points) - bent, axis=1)
    assert off[:60].max() < 1.0
    assert off[60:].mean() < 0.6 * plain[60:].mean()


def test_thin_plates_of_a_plane_and_of_few_landmarks_stay_sane(rng):
    flat = rng.uniform(0, 300, (40, 3)) * [0, 1, 1]
    bent = flat + np.column_stack([np.zeros(40), *10 * np.sin(flat[:, 1:].T / 100)])
    found = fit_thin_plate(flat[:30], bent[:30])
    assert np.linalg.norm(found(flat) - bent, axis=1)[:30].max() < 1.0
    np.testing.assert_allclose(
        fit_thin_plate(flat[:4], bent[:4])(flat), fit_affine(flat[:4], bent[:4])(flat)
    )


@pytest.mark.parametrize("name", BASELINES)
def test_each_baseline_matches_a_gently_bent_field(rng, name):
    if name == DRIFT:
        pytest.importorskip("pycpd")
    queries = rng.uniform(0, 250, (150, 3))
    others = rng.uniform(-50, 300, (400, 3))
    everything = np.vstack([queries, others])
    gallery = (everything + 2.0 * np.sin(everything[:, [1, 2, 0]] / 60)) @ LINEAR.T
    named, distance = nearest(place_queries(name, problem_of(queries, gallery, 12)), gallery)
    right = named == np.arange(150)
    assert right.mean() > 0.9
    assert np.median(distance[right]) < np.median(distance[~right]) if (~right).any() else True


@pytest.mark.parametrize("name", [DRIFT, GROWTH])
def test_those_that_look_at_all_somata_go_beyond_the_landmarks(rng, name):
    if name == DRIFT:
        pytest.importorskip("pycpd")
    queries = rng.uniform(0, 300, (300, 3))
    gallery = queries + 22.0 * np.sin(queries[:, [1, 2, 0]] / 60)
    problem = problem_of(queries, gallery, 10)
    right = {
        asked: (nearest(place_queries(asked, problem), gallery)[0] == np.arange(300)).mean()
        for asked in (AFFINE, name)
    }
    assert right[name] > right[AFFINE] + 0.1


def test_a_gross_error_among_landmarks_is_left_out(rng):
    queries = rng.uniform(0, 300, (60, 3))
    gallery = queries @ LINEAR.T + rng.normal(0, 1.0, (60, 3))
    problem = problem_of(queries, gallery, 12)
    target = problem.target_um.copy()
    target[3] += 150.0
    wrong = BaselineProblem(queries, gallery, problem.source_um, target)
    for name in (AFFINE, THIN_PLATE):
        off = np.linalg.norm(place_queries(name, wrong) - gallery, axis=1)
        assert np.median(off) < 5.0


def test_the_fast_expectation_step_is_that_of_pycpd(rng):
    pycpd = pytest.importorskip("pycpd")
    points = rng.normal(size=(40, 3)), rng.normal(size=(15, 3))
    slow, fast = (
        pycpd.DeformableRegistration(X=points[0], Y=points[1], w=0.6, sigma2=0.3) for _ in range(2)
    )
    slow.expectation()
    fields_baselines._expect(fast)
    for name in ("P", "Pt1", "P1", "Np"):
        np.testing.assert_allclose(getattr(fast, name), getattr(slow, name), rtol=1e-9)
