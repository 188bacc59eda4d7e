import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.simulation.render import (
    Grid,
    PointCloud,
    Renderer,
    interpolation_matrix,
    transform_axes,
)
from napari_neurobridge.spaces.affine import Affine

GRID = Grid((15, 41, 41), (2.0, 0.8, 0.8))
SIGMA = (3.0, 1.2, 1.0)


def point_at(*position: float) -> PointCloud:
    return PointCloud(torch.tensor([position]), torch.ones(1))


def moments(image: torch.Tensor, grid: Grid) -> tuple[list[float], list[float]]:
    """Return centre and standard deviation of an image along each axis, µm."""
    means, widths = [], []
    for axis in range(3):
        profile = image.sum(dim=[a for a in range(3) if a != axis]).double()
        position = torch.arange(grid.shape[axis]) * grid.step_um[axis]
        mean = (profile * position).sum() / profile.sum()
        means.append(float(mean))
        widths.append(float(((profile * (position - mean) ** 2).sum() / profile.sum()).sqrt()))
    return means, widths


@pytest.mark.parametrize("position", [(14.0, 16.0, 16.0), (13.3, 15.7, 16.25)])
def test_a_point_becomes_the_point_spread_function(position):
    image = Renderer(point_at(*position)).render(torch.zeros(1, 3), GRID, SIGMA)[0]
    means, widths = moments(image, GRID)
    assert means == pytest.approx(position, abs=0.05)
    assert widths == pytest.approx(SIGMA, rel=0.1)
    # Light is kept: density times the volume of a voxel adds up to the amount.
    assert float(image.sum()) * 2.0 * 0.8 * 0.8 == pytest.approx(1.0, rel=0.01)


def test_rendering_adds_up_and_only_grid_and_cloud_matter():
    generator = torch.Generator().manual_seed(0)
    position = torch.rand(500, 3, generator=generator) * torch.tensor([40.0, 50.0, 50.0]) - 5
    amount = torch.rand(500, generator=generator)
    whole = PointCloud(position, amount)
    first, second = (
        PointCloud(position[half], amount[half]) for half in (slice(250), slice(250, 500))
    )
    render = [Renderer(c).render(torch.zeros(1, 3), GRID, SIGMA) for c in (whole, first, second)]
    assert torch.allclose(render[0], render[1] + render[2], atol=1e-6)
    joined = Renderer(second.joined(first)).render(torch.zeros(1, 3), GRID, SIGMA)
    assert torch.allclose(render[0], joined, atol=1e-6)


@given(shift=st.tuples(*3 * [st.integers(0, 5)]))
def test_a_grid_elsewhere_sees_the_same_voxels(shift):
    cloud = PointCloud(
        torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * 32.0, torch.ones(200)
    )
    origin = torch.tensor([shift]) * torch.tensor(GRID.step_um)
    near = Grid((5, 20, 20), GRID.step_um)
    both = [
        Renderer(cloud).render(o, g, SIGMA) for o, g in ((torch.zeros(1, 3), GRID), (origin, near))
    ]
    z, y, x = shift
    assert torch.allclose(both[0][:, z : z + 5, y : y + 20, x : x + 20], both[1], atol=1e-4)


def test_a_mapped_cloud_is_seen_in_the_other_frame():
    quarter_turn = Affine.from_linear(
        np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]), (0.0, 32.0, 0.0), source="a", target="b"
    )
    cloud = PointCloud(
        4 + 24 * torch.rand(100, 3, generator=torch.Generator().manual_seed(2)), torch.ones(100)
    )
    sigma = (3.0, 1.0, 1.0)
    before = Renderer(cloud).render(torch.zeros(1, 3), GRID, sigma)
    after = Renderer(cloud.mapped(quarter_turn)).render(torch.zeros(1, 3), GRID, sigma)
    # (z, y, x) goes to (z, 32 - x, y), and the grid is 32 µm wide.
    assert torch.allclose(after, before.transpose(2, 3).flip(2), atol=1e-4)


def test_points_far_away_leave_the_image_black():
    image = Renderer(point_at(14.0, 5000.0, 16.0)).render(torch.zeros(2, 3), GRID, SIGMA)
    assert image.shape == (2, *GRID.shape)
    assert not image.any()


def test_dark_points_are_dropped():
    cloud = PointCloud(torch.zeros(3, 3), torch.tensor([0.0, 1.0, 0.0])).lit()
    assert len(cloud.amount) == 1


def test_interpolation_agrees_with_numpy():
    samples = torch.rand(1, 7, 6, 5, generator=torch.Generator().manual_seed(3))
    at = torch.linspace(-0.5, 6.5, 12)
    matrices = (interpolation_matrix(at, 7), torch.eye(6), torch.eye(5))
    result = transform_axes(samples, matrices)
    expected = np.interp(at.numpy(), np.arange(7), samples[0, :, 2, 3].numpy())
    assert result.shape == (1, 12, 6, 5)
    assert np.allclose(result[0, :, 2, 3].numpy(), expected, atol=1e-6)
