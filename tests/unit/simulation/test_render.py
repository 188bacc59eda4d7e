import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.simulation.cloud import PointCloud
from napari_neurobridge.simulation.render import Blur, Box, render

BOX = Box((0, 0, 0), (31, 41, 41), (2.0, 0.8, 0.8))


def blur(axial: float = 3.0, lateral: tuple[float, float] = (1.2, 1.0), planes: int = 31) -> Blur:
    return Blur(torch.full((planes,), axial), lateral)


def point_at(*position: float) -> PointCloud:
    return PointCloud(torch.tensor([position]), torch.ones(1))


def random_cloud(count: int = 500) -> PointCloud:
    generator = torch.Generator().manual_seed(0)
    position = torch.rand(count, 3, generator=generator) * torch.tensor([70.0, 50.0, 50.0]) - 5
    return PointCloud(position, torch.rand(count, generator=generator))


def moments(image: torch.Tensor, box: Box) -> tuple[list[float], list[float]]:
    """Return centre and standard deviation of an image along each axis, µm."""
    means, widths = [], []
    for axis in range(3):
        profile = image.sum(dim=[a for a in range(3) if a != axis]).double()
        position = torch.arange(box.shape[axis]) * box.voxel_um[axis]
        mean = (profile * position).sum() / profile.sum()
        means.append(float(mean))
        widths.append(float(((profile * (position - mean) ** 2).sum() / profile.sum()).sqrt()))
    return means, widths


@pytest.mark.parametrize("position", [(30.0, 16.0, 16.0), (29.3, 15.7, 16.25)])
@pytest.mark.parametrize("axial", [2.0, 3.0, 5.0])
def test_a_point_becomes_the_point_spread_function(position, axial):
    image = render([point_at(*position)], BOX, blur(axial))
    means, widths = moments(image, BOX)
    assert means == pytest.approx(position, abs=0.05)
    assert widths == pytest.approx((axial, 1.2, 1.0), rel=0.05)
    # Light is kept: density times the volume of a voxel adds up to the amount.
    assert float(image.sum()) * 2.0 * 0.8 * 0.8 == pytest.approx(1.0, rel=0.01)


def test_each_plane_has_its_own_axial_spread():
    axial = torch.linspace(2.0, 5.0, 31)
    amounts = [point_at(z, 16.0, 16.0) for z in (20.0, 40.0)]
    shallow, deep = (
        moments(render([cloud], BOX, Blur(axial, (1.2, 1.0))), BOX)[1][0] for cloud in amounts
    )
    assert shallow == pytest.approx(float(axial[10]), rel=0.1)
    assert deep == pytest.approx(float(axial[20]), rel=0.1)


def test_a_shifted_plane_shows_what_lies_elsewhere():
    shift = torch.zeros(31, 3)
    shift[15] = torch.tensor([0.0, 1.3, -0.7])
    still = render([point_at(30.0, 16.0, 16.0)], BOX, blur())
    moved = render(
        [point_at(30.0, 16.0, 16.0)], BOX, Blur(torch.full((31,), 3.0), (1.2, 1.0), shift)
    )
    plane = Box((0, 0, 0), (1, 41, 41), BOX.voxel_um)
    assert moments(moved[15:16], plane)[0][1:] == pytest.approx((14.7, 16.7), abs=0.05)
    # Amounts are kept to 2**-16, and the point may be rounded otherwise in another lattice.
    assert torch.allclose(moved[14], still[14], atol=2**-16)


def test_rendering_adds_up_in_any_order():
    cloud = random_cloud()
    parts = [
        PointCloud(cloud.position_um[part], cloud.amount[part])
        for part in (slice(250, 500), slice(0, 100), slice(100, 250))
    ]
    assert torch.equal(render([cloud], BOX, blur()), render(parts, BOX, blur()))


@given(start=st.tuples(*3 * [st.integers(-3, 12)]), shape=st.tuples(*3 * [st.integers(1, 20)]))
def test_a_voxel_is_the_same_in_whatever_box(start, shape):
    cloud = random_cloud()
    whole = render([cloud], Box((-3, -3, -3), (35, 35, 35), BOX.voxel_um), blur(planes=35))
    part = render([cloud], Box(start, shape, BOX.voxel_um), blur(planes=shape[0]))
    z, y, x = (slice(s + 3, s + 3 + n) for s, n in zip(start, shape, strict=True))
    assert torch.allclose(part, whole[z, y, x], atol=2e-6)


def test_no_points_make_an_empty_image():
    empty = PointCloud(torch.zeros(0, 3), torch.zeros(0))
    assert not render([empty], BOX, blur()).any()
    assert not render([], BOX, blur()).any()
    assert not render([point_at(500.0, 0.0, 0.0)], BOX, blur()).any()
