"""The benchmark of the search for the angle, on textures turned by a known angle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from fixtures.projects import FourViewEncoder
from napari_neurobridge.benchmarks.pose import PoseParameters, benchmark_pose
from napari_neurobridge.benchmarks.pose_scenes import (
    PoseScene,
    TurnedEmbeddings,
    field_angle,
    surroundings,
)
from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.pairs import simulate_pairs
from napari_neurobridge.spaces import Orientation

N_CELLS = 24
MISFIT_DEG = 6.0


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def texture_scene(seed: int, level: str = "paper", cells: int = N_CELLS) -> PoseScene:
    """Cells in textures of their own; the fMOST crops show them turned by the misfit."""
    rng = np.random.default_rng(seed)
    wide = ndimage.gaussian_filter(rng.normal(size=(cells, 218, 218)), (0, 6, 6))
    wide = wide.astype(np.float32)
    inside = np.ones(wide.shape, dtype=bool)
    straight = PoseScene(wide, inside, np.zeros((cells, 150, 150), np.float32), 0.0)
    return PoseScene(wide, inside, straight.turned(MISFIT_DEG), MISFIT_DEG)


def test_the_benchmark_counts_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PoseScene, "simulate", texture_scene)
    result = benchmark_pose(
        FourViewEncoder(), PoseParameters(seeds=(1, 2), angles=(0.0, 30.0, 120.0))
    )
    assert [row.turned_deg for row in result.results] == [0.0, 30.0, 120.0]
    for row in result.results:
        assert (row.within, row.unknown, row.wrong) == (2, 0, 0)
        assert row.largest_error_deg < 2
        assert row.top1_after == 1.0
    assert result.results[2].top1_before < 0.5
    assert (result.unrelated, result.unrelated_proposals) == (1, 0)
    assert result.summary().count("\n") == 4


def test_what_is_not_known_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PoseScene, "simulate", lambda seed, *_: texture_scene(seed, cells=12))
    (row,) = benchmark_pose(FourViewEncoder(), PoseParameters(seeds=(1,), angles=(50.0,))).results
    assert (row.within, row.unknown, row.wrong) == (0, 1, 0)
    assert row.top1_after == row.top1_before
    assert row.largest_error_deg is None


def test_a_wrong_proposal_is_counted_as_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(seed: int, *_: object) -> PoseScene:
        scene = texture_scene(seed)
        return PoseScene(scene.two_photon, scene.inside, scene.fmost, MISFIT_DEG + 10)

    monkeypatch.setattr(PoseScene, "simulate", mistaken)
    (row,) = benchmark_pose(FourViewEncoder(), PoseParameters(seeds=(1,), angles=(0.0,))).results
    assert (row.within, row.unknown, row.wrong) == (0, 0, 1)
    assert row.largest_error_deg == pytest.approx(10, abs=2)


def test_a_benchmark_needs_scenes_and_angles() -> None:
    for empty in ({"seeds": ()}, {"angles": ()}):
        with pytest.raises(InputError, match="at least one"):
            benchmark_pose(FourViewEncoder(), PoseParameters(**empty))


def test_a_crop_that_is_not_turned_is_the_usual_one() -> None:
    scene = PoseScene.simulate(3, "easy", 4)
    usual = simulate_pairs(4, seed=3, level="easy", cells_per_scene=4)
    np.testing.assert_allclose(scene.fmost, usual.fmost, atol=1e-6)
    np.testing.assert_allclose(scene.turned(0.0), usual.two_photon, atol=2e-3)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_those_of_numpy_and_of_the_embeddings(quarters: int) -> None:
    scene = texture_scene(4)
    straight, turned = scene.turned(0.0), scene.turned(90.0 * quarters)
    np.testing.assert_allclose(turned, np.rot90(straight, quarters, axes=(1, 2)), atol=1e-3)
    embeddings = TurnedEmbeddings(scene, FourViewEncoder())
    direct = FourViewEncoder().embed(turned)
    np.testing.assert_allclose(embeddings.at(90.0 * quarters), direct, atol=1e-3)
    np.testing.assert_allclose(embeddings.at(90.0 * quarters - 360), direct, atol=1e-3)


@given(st.floats(-179, 179), st.floats(0.7, 1.3))
def test_the_angle_of_a_field_is_that_of_its_orientation(angle: float, size: float) -> None:
    around = surroundings(np.random.default_rng(0).normal(size=(20, 3)) * 50)
    linear = Orientation(angle_deg=angle, expansion=size).linear()
    found = field_angle(around + 30, around @ linear.T - 7)
    assert abs((found - angle + 180) % 360 - 180) < 1e-6


def test_the_angle_of_a_field_is_its_surroundings_not_its_tilt() -> None:
    """A tilt moves deep cells against shallow ones, but turns no crop."""
    rng = np.random.default_rng(0)
    cells = np.outer(rng.uniform(-50, 50, 30), (1.0, 1.0, 0.0)) + rng.normal(size=(30, 3))
    sheared = np.eye(3)
    sheared[2, 0] = 0.3  # x grows with depth
    around = surroundings(cells)
    assert field_angle(around, around @ sheared.T) == pytest.approx(0.0, abs=1e-9)
