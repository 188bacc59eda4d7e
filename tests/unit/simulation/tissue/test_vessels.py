import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_neurobridge.simulation.cloud import PointCloud
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.tissue.vessels import VesselKind, Vessels

EVERYWHERE = ((-1e4,) * 3, (1e4,) * 3)


def tubes(nodes: list, segments: list, radii: list, kind: int = VesselKind.CAPILLARY) -> Vessels:
    return Vessels(
        torch.tensor(nodes, dtype=torch.float32),
        torch.tensor(segments),
        torch.tensor(radii, dtype=torch.float32),
        torch.full((len(segments),), int(kind)),
        Key.of(7),
    )


@pytest.fixture
def fork() -> Vessels:
    """A vessel that narrows and splits into two."""
    return tubes(
        [[0, 0, 0], [60, 5, 10], [100, 40, 0], [90, -30, 40]],
        [[0, 1], [1, 2], [1, 3]],
        [[9, 7], [5, 4], [3, 3]],
    )


def rows(cloud: PointCloud) -> Tensor:
    table = torch.cat([cloud.position_um, cloud.amount[:, None]], dim=1)
    return table[np.lexsort(table.numpy().T)]


def test_points_hold_the_volume_of_the_tubes(fork):
    first, second = fork.radius_um.double().unbind(dim=1)
    length = (fork.node_um[fork.segment[:, 1]] - fork.node_um[fork.segment[:, 0]]).norm(dim=1)
    frusta = (math.pi / 3 * length * (first**2 + first * second + second**2)).sum()
    cloud = fork.points(*EVERYWHERE)
    assert cloud.amount.sum() == pytest.approx(float(frusta), rel=1e-4)
    assert len(cloud) == pytest.approx(float(frusta) / 2.5, rel=0.01)
    coarse = fork.points(*EVERYWHERE, point_um3=20.0)
    assert len(coarse) == pytest.approx(len(cloud) / 8, rel=0.02)
    assert coarse.amount.sum() == pytest.approx(float(frusta), rel=1e-4)


@pytest.mark.parametrize("radius", [2.5, 8.0, 20.0])
def test_a_tube_is_filled_evenly_up_to_its_wall(radius):
    axis = torch.tensor([0.8, 0.6, 0.0])
    nodes = (torch.arange(0, 401, 8.0)[:, None] * axis).tolist()
    vessels = tubes(nodes, [[i, i + 1] for i in range(50)], [[radius, radius]] * 50)
    cloud = vessels.points(*EVERYWHERE)
    along = cloud.position_um @ axis
    distance = (cloud.position_um - along[:, None] * axis).norm(dim=1)
    assert distance.max() <= radius + 1e-3
    shells = torch.histc(distance**2, 5, 0, radius**2)
    assert (shells / shells.mean()).numpy() == pytest.approx(1, abs=0.03)
    lengths = torch.histc(along, 40, 0, 400)
    assert (lengths / lengths.mean()).numpy() == pytest.approx(1, abs=0.03)
    across = torch.linalg.cross(axis.expand(len(cloud), 3), cloud.position_um)
    turns = torch.atan2(across[:, 2], cloud.position_um[:, 2])
    sectors = torch.histc(turns, 8, -math.pi, math.pi)
    assert (sectors / sectors.mean()).numpy() == pytest.approx(1, abs=0.04)


def test_a_voxel_inside_holds_one_within_less_than_chance():
    vessels = tubes([[0, 0, 0], [60, 0, 0]], [[0, 1]], [[12, 12]])
    cloud = vessels.points((10, -6, -6), (50, 6, 6))
    voxel = ((cloud.position_um - torch.tensor([10.0, -6.0, -6.0])) / 4).long()
    density = torch.zeros(10, 3, 3).index_put(tuple(voxel.T), cloud.amount / 64, accumulate=True)
    assert density.mean() == pytest.approx(1, abs=0.01)
    # Independent points would scatter by sqrt(2.5 / 64) = 0.2.
    assert density.std() < 0.12


@settings(max_examples=30, deadline=None)
@given(axis=st.integers(0, 2), cut=st.floats(-30, 100), point=st.sampled_from([2.5, 9.0]))
def test_boxes_side_by_side_share_out_the_points(axis, cut, point):
    vessels = tubes([[0, 0, 0], [60, 5, 10], [100, 40, 0]], [[0, 1], [1, 2]], [[9, 7], [5, 4]])
    low, high = [-20.0, -20.0, -20.0], [90.0, 60.0, 60.0]
    cut = min(max(cut, low[axis]), high[axis])
    below, above = high.copy(), low.copy()
    below[axis] = above[axis] = cut
    whole = vessels.points(tuple(low), tuple(high), point_um3=point)
    parts = [
        vessels.points(tuple(low), tuple(below), point_um3=point),
        vessels.points(tuple(above), tuple(high), point_um3=point),
    ]
    assert rows(PointCloud.join(parts)).equal(rows(whole))


def test_many_points_come_in_batches_and_are_the_same(fork, monkeypatch):
    whole = fork.points(*EVERYWHERE)
    monkeypatch.setattr("napari_neurobridge.simulation.tissue.vessels._POINTS_AT_ONCE", 500)
    assert rows(fork.points(*EVERYWHERE)).equal(rows(whole))


def test_a_box_without_vessels_is_empty(fork):
    assert len(fork.points((500.0,) * 3, (600.0,) * 3)) == 0
    none = Vessels(
        torch.empty(0, 3),
        torch.empty(0, 2).long(),
        torch.empty(0, 2),
        torch.empty(0).long(),
        Key(1),
    )
    assert len(none.points(*EVERYWHERE)) == 0
    assert none.branch_points_um.shape == (0, 3)
    assert np.isinf(none.clearance_um([[0.0, 0.0, 0.0]])).all()


def test_branch_points_are_where_three_tubes_meet(fork):
    assert fork.branch_points_um.tolist() == [[60, 5, 10]]
    assert fork.branch_radius_um.tolist() == [7]


def test_clearance_is_the_distance_to_the_nearest_wall():
    nodes = [[z, 0, 0] for z in range(0, 101, 10)] + [[z, 40, 0] for z in range(0, 101, 5)]
    segments = [[i, i + 1] for i in range(10)] + [[i, i + 1] for i in range(11, 31)]
    radii = [[8, 8]] * 10 + [[2, 2]] * 20
    vessels = tubes(nodes, segments, radii)
    vessels.kind[:10] = VesselKind.PENETRATING
    points = [[50, 0, 0], [42, 20, 0], [33, 30, 0], [33, 30, 12], [110, 0, 0]]
    expected = [-8, 12, 8, math.hypot(10, 12) - 2, 2]
    assert vessels.clearance_um(points) == pytest.approx(expected, abs=1e-4)
