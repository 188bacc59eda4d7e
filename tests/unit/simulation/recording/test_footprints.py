import math

import numpy as np
import pytest
import torch

from napari_neurobridge.simulation.recording.footprints import Plane, make_footprints

PLANE = Plane(50.0, (-10.0, 20.0), (24, 30), 1.5)
SIGMA_UM = 3.0


def random_points(count, n_cells=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low, size = torch.tensor([35.0, -20.0, 10.0]), torch.tensor([30.0, 60.0, 70.0])
    position = low + size * torch.rand(count, 3, generator=generator)
    amount = 5 + 5 * torch.rand(count, generator=generator)
    return position, amount, torch.randint(n_cells, (count,), generator=generator) * 11


def footprint(depth_um=50.0, at=(5.0, 40.0), amount=100.0, offset_um=(0.0,)):
    point = torch.tensor([[depth_um, *at]])
    piece = (point, torch.tensor([amount]), torch.tensor([3]))
    return make_footprints([piece], PLANE, axial_sigma_um=SIGMA_UM, offset_um=offset_um)


def spline(distance):
    """Quadratic B-spline."""
    distance = abs(distance)
    if distance < 0.5:
        return 0.75 - distance**2
    return 0.5 * (1.5 - distance) ** 2 if distance < 1.5 else 0.0


def test_matrix_is_that_of_a_plain_loop():
    position, amount, cell = random_points(60)
    found = make_footprints([(position, amount, cell)], PLANE, axial_sigma_um=SIGMA_UM)
    height, width = PLANE.shape
    expected = np.zeros((7 * 11, height, width))
    for (z, y, x), light, who in zip(
        position.tolist(), amount.tolist(), cell.tolist(), strict=True
    ):
        row, column = (
            (v - o) / PLANE.pixel_um for v, o in zip((y, x), PLANE.origin_um, strict=True)
        )
        if not (0.5 < row < height - 1.5 and 0.5 < column < width - 1.5):
            continue
        axial = math.exp(-0.5 * ((z - 50) / SIGMA_UM) ** 2) / (SIGMA_UM * math.sqrt(2 * math.pi))
        if abs(z - 50) > 3.5 * SIGMA_UM:
            continue
        for j in range(height):
            for i in range(width):
                share = spline(row - j) * spline(column - i)
                expected[who, j, i] += light * axial * share / PLANE.pixel_um**2
    images = found.image(torch.eye(len(found)), torch.ones(1, len(found)))
    assert np.allclose(images, expected[found.cell].reshape(len(found), -1), atol=2e-4)
    missing = np.setdiff1d(np.arange(77), found.cell.numpy())
    assert expected[missing].max() < 2e-4


def test_pieces_do_not_matter():
    points = random_points(3000)
    whole = make_footprints([points], PLANE, axial_sigma_um=SIGMA_UM, offset_um=(-1.0, 0.0, 1.0))
    parts = [tuple(values[i::3] for values in points) for i in (2, 0, 1)]
    split = make_footprints(parts, PLANE, axial_sigma_um=SIGMA_UM, offset_um=(-1.0, 0.0, 1.0))
    assert torch.equal(split.cell, whole.cell)
    light = torch.rand(len(whole), 4, generator=torch.Generator().manual_seed(1))
    weights = whole.weights(torch.tensor([-0.9, 0.0, 0.4, 5.0]))
    assert torch.allclose(split.image(light, weights), whole.image(light, weights), atol=1e-2)


@pytest.mark.parametrize("at", [(5.0, 40.0), (5.3, 39.6), (6.49, 40.75)])
def test_light_in_the_plane_is_the_share_that_the_axial_spread_puts_there(at):
    for away in (0.0, 2.0, 5.0):
        seen = footprint(50 + away, at)
        share = math.exp(-0.5 * (away / SIGMA_UM) ** 2) / (SIGMA_UM * math.sqrt(2 * math.pi))
        total = float(seen.total()[0]) * PLANE.pixel_um**2
        assert total == pytest.approx(100 * share, rel=1e-3)


def test_axial_spread_is_the_stated_one():
    away = torch.arange(-12, 12.5, 0.5)
    light = torch.tensor([float(footprint(50 + float(z)).total().sum()) for z in away])
    measured = ((light * away**2).sum() / light.sum()).sqrt()
    assert measured == pytest.approx(SIGMA_UM, rel=0.05)


def test_splines_blur_every_point_alike():
    for shift in (0.0, 0.2, 0.5, 0.9):
        seen = footprint(at=(5.0 + shift, 40.0))
        image = seen.image(torch.ones(1, 1), torch.ones(1, 1)).view(PLANE.shape).double()
        row = image.sum(dim=1) / image.sum()
        index = torch.arange(24.0).double()
        middle = (row * index).sum()
        assert middle == pytest.approx((15.0 + shift) / 1.5, abs=1e-4)
        assert (row * (index - middle) ** 2).sum() == pytest.approx(0.25, abs=1e-4)


@pytest.mark.parametrize("moved", [0.0, 0.6, -0.75, 1.2, -3.0])
def test_depths_between_those_made_are_interpolated(moved):
    offsets = tuple(1.5 * n for n in range(-2, 3))
    seen = footprint(51.0, offset_um=offsets)
    image = seen.image(torch.ones(1, 1), seen.weights(torch.tensor([moved])))
    direct = footprint(51.0 - moved).image(torch.ones(1, 1), torch.ones(1, 1))
    assert image.sum() == pytest.approx(float(direct.sum()), rel=0.035)


def test_beyond_the_outermost_depth_is_the_outermost():
    seen = footprint(offset_um=(-1.0, 0.0, 1.0))
    weights = seen.weights(torch.tensor([-7.0, 7.0, 0.25]))
    assert weights.T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0.75, 0.25]]


def test_what_lies_elsewhere_has_no_footprint():
    far = [(80.0, 5.0, 40.0), (50.0, -30.0, 40.0), (50.0, 5.0, 90.0)]
    piece = (torch.tensor(far), torch.ones(3), torch.arange(3))
    dark = (torch.tensor([[50.0, 5.0, 40.0]]), torch.zeros(1), torch.tensor([5]))
    for pieces in ([piece, dark], []):
        nothing = make_footprints(pieces, PLANE, axial_sigma_um=SIGMA_UM, offset_um=(-1.0, 1.0))
        assert len(nothing) == 0
        image = nothing.image(torch.zeros(0, 3), nothing.weights(torch.zeros(3)))
        assert image.shape == (3, 24 * 30)
        assert not image.any()
