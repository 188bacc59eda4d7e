import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from napari_neurobridge.simulation.levels import MisfitParams, TissueParams
from napari_neurobridge.simulation.tissue import (
    Deformation,
    draw_deformation,
    make_tissue,
    place_somata,
    residual_linear,
)
from napari_neurobridge.spaces.affine import Affine
from napari_neurobridge.spaces.graph import SpaceGraph

LOW, HIGH = (0.0, 0.0, 0.0), (60.0, 150.0, 150.0)


def deformation(seed: int, params: MisfitParams | None = None) -> Deformation:
    params = params or MisfitParams()
    rng = np.random.default_rng(seed)
    affine = Affine.from_linear(
        residual_linear(params, rng), (3.0, -8.0, 40.0), source="a", target="b"
    )
    return draw_deformation(affine, params, rng)


def test_somata_keep_their_distance_and_stay_in_the_box():
    positions = place_somata(
        LOW, HIGH, count=60, min_distance_um=15.0, rng=np.random.default_rng(0)
    )
    assert len(positions) == 60
    assert pdist(positions).min() >= 15.0
    assert (positions >= LOW).all() and (positions <= HIGH).all()


def test_a_box_too_full_holds_fewer_somata_but_none_too_near():
    positions = place_somata(
        LOW, HIGH, count=3000, min_distance_um=15.0, rng=np.random.default_rng(0)
    )
    assert 50 < len(positions) < 3000
    assert pdist(positions).min() >= 15.0


def test_tissue_has_the_density_asked_for_and_is_deterministic():
    params = TissueParams(density_per_mm3=30_000.0)
    tissue = make_tissue(LOW, HIGH, params, np.random.default_rng(1))
    again = make_tissue(LOW, HIGH, params, np.random.default_rng(1))
    assert len(tissue.center_um) == round(30_000 * 60 * 150 * 150 * 1e-9)
    assert tissue.morphology.position_um.equal(again.morphology.position_um)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_inverse_undoes_the_deformation(seed):
    forward = deformation(seed)
    points = np.random.default_rng(seed).uniform(-300, 300, (50, 3))
    back = forward.inverse().map_points(forward.map_points(points))
    assert np.abs(back - points).max() < 1e-6
    assert forward.inverse().inverse() is forward


def test_deformation_is_a_transform_between_named_spaces():
    forward = deformation(0)
    graph = SpaceGraph([forward])
    points = np.array([[10.0, 20.0, 30.0]])
    there = graph.map_points(points, "a", "b")
    assert np.allclose(there, forward.map_points(points))
    assert np.allclose(graph.map_points(there, "b", "a"), points, atol=1e-6)


def test_displacement_has_the_size_asked_for_and_is_smooth():
    params = MisfitParams(nonrigid_um=4.0)
    points = np.random.default_rng(0).uniform(-2000, 2000, (400, 3))
    sizes = [np.square(deformation(s, params).displacement(points)).mean() for s in range(30)]
    assert np.sqrt(np.mean(sizes)) == pytest.approx(4.0, rel=0.15)
    field = deformation(1, params)
    step = field.displacement(points + np.array([0.0, 1.0, 0.0])) - field.displacement(points)
    assert np.linalg.norm(step, axis=1).max() < 0.7


@given(seed=st.integers(0, 10_000))
def test_residual_stays_within_its_bounds(seed):
    params = MisfitParams(angle_deg=12.0, tilt_deg=0.0, scale=(0.9, 1.1))
    linear = residual_linear(params, np.random.default_rng(seed))
    scale = np.linalg.norm(linear, axis=0)
    assert (scale >= 0.9 - 1e-9).all() and (scale <= 1.1 + 1e-9).all()
    rotation = linear / scale
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert abs(np.rad2deg(np.arctan2(rotation[2, 1], rotation[1, 1]))) <= 12.0 + 1e-9
