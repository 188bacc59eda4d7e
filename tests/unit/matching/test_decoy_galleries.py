"""Galleries moved within the plane, sheet, slab or volume that their somata lie in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from napari_neurobridge.matching.decoy_galleries import SomataLayout, decoy_galleries

TILT = Rotation.from_euler("xyz", [25, -15, 40], degrees=True).as_matrix()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def flat(rng: np.random.Generator, jitter: float = 0.0) -> np.ndarray:
    points = rng.uniform(0, 1, (500, 3)) * [0, 500, 600]
    points[:, 0] += rng.normal(0, jitter, len(points)) if jitter else 0.0
    return points


def bowl(points: np.ndarray) -> np.ndarray:
    """How high a bowl is, µm."""
    return ((points[:, 1] - 250) ** 2 + (points[:, 2] - 300) ** 2) / 1500


@pytest.mark.parametrize("jitter", [0.0, 3.0])
def test_a_tilted_plane_is_moved_within_itself(rng, jitter):
    points = flat(rng, jitter) @ TILT.T
    layout = SomataLayout.of(points)
    assert layout.kind == "plane"
    assert layout.spacing_um == pytest.approx(np.sqrt(500 * 600 / 500), rel=0.15)
    normal = TILT[:, 0]
    for decoy in decoy_galleries(layout, 70.0, 20.0, seed=0):
        assert "within the plane" in decoy.name
        height = (decoy.moved_um - points.mean(axis=0)) @ normal
        assert np.abs(height).max() < 4 * jitter + 5.0 * (jitter > 0) + 1e-6


def test_shifts_are_as_long_as_they_say_and_go_different_ways(rng):
    points = flat(rng)
    layout = SomataLayout.of(points)
    shifts = [d for d in decoy_galleries(layout, 75.0, 20.0, seed=0) if "shifted" in d.name]
    steps = np.array([(d.moved_um - points)[0] for d in shifts])
    assert np.linalg.norm(steps, axis=1) == pytest.approx([75.0, 40.0, 60.0])
    assert [d.name.split()[1] for d in shifts] == ["75", "40", "60"]
    cosine = steps @ steps.T / np.outer(*[np.linalg.norm(steps, axis=1)] * 2)
    assert cosine[np.triu_indices(3, 1)].max() < 0.9


def test_a_shift_shorter_than_the_reach_of_a_query_is_replaced(rng):
    layout = SomataLayout.of(flat(rng))
    names = [decoy.name for decoy in decoy_galleries(layout, 90.0, 50.0, seed=0)]
    assert sum("shifted 90" in name for name in names) == 2
    assert sum("shifted 60" in name for name in names) == 1


def test_mirrors_and_the_turn_keep_a_plane_where_it_was(rng):
    points = flat(rng)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    decoys = {d.name: d for d in decoy_galleries(SomataLayout.of(points), 70.0, 20.0, seed=0)}
    expected = {
        "mirrored in y within the plane": [1, -1, 1],
        "mirrored in x within the plane": [1, 1, -1],
        "turned by 180° within the plane": [1, -1, -1],
    }
    for name, factor in expected.items():
        np.testing.assert_allclose(
            decoys[name].moved_um, middle + (points - middle) * factor, atol=1e-6
        )


def test_a_curved_sheet_is_moved_along_its_surface(rng):
    points = flat(rng)
    points[:, 0] = bowl(points) + rng.normal(0, 1.0, len(points))
    layout = SomataLayout.of(points)
    assert layout.kind == "sheet"
    for decoy in decoy_galleries(layout, 70.0, 20.0, seed=0):
        inside = cKDTree(points[:, 1:]).query(decoy.moved_um[:, 1:])[0] < 20
        off = (decoy.moved_um[:, 0] - bowl(decoy.moved_um))[inside]
        rigid = (points[:, 0] - bowl(decoy.moved_um))[inside]
        assert np.median(np.abs(off)) < 3.0
        if "shifted" in decoy.name:
            assert np.median(np.abs(rigid)) > 6.0


@pytest.mark.parametrize(("depth", "kind"), [(80.0, "slab"), (500.0, "volume")])
def test_only_a_deep_volume_is_shifted_in_depth(rng, depth, kind):
    points = rng.uniform(0, 1, (3000, 3)) * [depth, 500, 500]
    layout = SomataLayout.of(points)
    assert layout.kind == kind
    assert layout.spacing_um == pytest.approx(np.cbrt(depth * 500 * 500 / 3000), rel=0.2)
    shifts = [d for d in decoy_galleries(layout, 70.0, 20.0, seed=0) if "shifted" in d.name]
    deep = [abs((d.moved_um - points)[0, 0]) for d in shifts]
    assert max(deep) < 5.0 if kind == "slab" else max(deep) > 10.0


def test_planes_of_a_stack_stay_on_top_of_each_other(rng):
    points = rng.uniform(0, 1, (1200, 3)) * [0, 500, 500]
    points[:, 0] = 20.0 * rng.integers(0, 4, len(points))
    layout = SomataLayout.of(points)
    for decoy in decoy_galleries(layout, 70.0, 20.0, seed=0):
        np.testing.assert_allclose(decoy.moved_um[:, 0], points[:, 0], atol=2.0)


def test_somata_in_one_place_have_a_layout():
    layout = SomataLayout.of(np.array([[0.0, 0, 0], [0, 0, 0], [0, 50, 10]]))
    assert np.isfinite(layout.spacing_um)
    assert all(np.isfinite(d.moved_um).all() for d in decoy_galleries(layout, 9.0, 5.0, seed=0))
