import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from napari_neurobridge.registration.common_frame import (
    LEVELS,
    CommonFrame,
    common_frame,
    stacked,
)

DIMS = [2, 3]


def frame_of(source: np.ndarray, target: np.ndarray, seed: int = 0) -> CommonFrame:
    sides = (torch.from_numpy(side - side.mean(axis=0)).float() for side in (source, target))
    return common_frame(*sides, torch.Generator().manual_seed(seed))


def places(dims: int, count: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 400, (count, dims))


def turned(points: np.ndarray, angle_deg: float) -> np.ndarray:
    turn = Rotation.from_euler("z", angle_deg, degrees=True).as_matrix()
    dims = points.shape[1]
    return np.asarray(1.15 * points @ turn[:dims, :dims].T + 70)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("angle", [-150.0, 20.0, 90.0])
def test_a_similarity_is_found_among_three_mistakes_in_four(dims: int, angle: float) -> None:
    source = places(dims)
    target = turned(source, angle)
    target[50:] = np.random.default_rng(1).uniform(target.min(), target.max(), (150, dims))
    size = frame_of(source, target).shifts_um[:, 0].norm(dim=1)
    assert size[:50].max() < 1.0
    assert size[50:].median() > 50.0


@pytest.mark.parametrize("dims", DIMS)
def test_an_affine_map_leaves_nothing(dims: int) -> None:
    source = places(dims)
    strain = np.eye(dims) + np.random.default_rng(3).uniform(-0.08, 0.08, (dims, dims))
    frame = frame_of(source, turned(source @ strain, 30.0))
    assert frame.shifts_um.norm(dim=2).max() < 0.5
    assert frame.weight.min() > 0.95
    assert frame.agreement.min() > 0.95


@pytest.mark.parametrize("dims", DIMS)
def test_softer_maps_leave_less_of_a_smooth_deformation(dims: int) -> None:
    source = places(dims, 400)
    wave = 12 * np.sin(source[:, ::-1] / 45)
    shifts = frame_of(source, turned(source + wave, -40.0)).shifts_um
    left = shifts.norm(dim=2).median(dim=0).values
    assert left[0] > 7.0
    assert left[2] < 0.5 * left[0]


def test_a_match_has_no_say_in_its_own_departure() -> None:
    source = places(2)
    target = source.copy()
    target[7] += (0, 25)
    with_it = frame_of(source, target).shifts_um[7].norm(dim=1)
    # A map that follows single matches would leave less.
    assert torch.allclose(with_it, torch.full((LEVELS,), 25.0), atol=1.5)


@pytest.mark.parametrize("dims", DIMS)
@pytest.mark.parametrize("count", [4, 9])
def test_few_matches_and_matches_at_one_place_have_finite_departures(dims: int, count: int) -> None:
    rng = np.random.default_rng(4)
    line = np.arange(count)[:, None] * np.ones(dims)
    for source, target in (
        (rng.uniform(0, 100, (count, dims)), rng.uniform(0, 100, (count, dims))),
        (np.ones((count, dims)), np.ones((count, dims))),
        (line, 3 * line),
    ):
        frame = frame_of(source, target)
        assert frame.target_um.isfinite().all()
        assert frame.shifts_um.isfinite().all()
        assert frame.weight.isfinite().all()


def test_frames_stand_one_after_another() -> None:
    first, second = frame_of(places(2), places(2)), frame_of(places(2, 30), places(2, 30))
    both = stacked([first, second])
    assert torch.equal(both.target_um, torch.cat([first.target_um, second.target_um]))
    assert both.shifts_um.shape == (230, LEVELS, 2)
    assert torch.equal(both.weight[200:], second.weight)
    assert torch.equal(both.agreement[200:], second.agreement)
