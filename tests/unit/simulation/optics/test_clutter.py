import pytest
import torch

from napari_neurobridge.simulation.cloud import PointCloud
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.optics.clutter import Clutter, ClutterParams, FmostClutterParams

KEY = Key.of(2)
SPECKS = ClutterParams(puncta_per_mm3=50_000.0, puncta_gain=4.0, fibres_m_per_mm3=0.0)
FIBRES = ClutterParams(puncta_per_mm3=0.0, fibres_m_per_mm3=6.0, fibre_gain=0.5)


def cloud(params, low, high) -> PointCloud:
    return Clutter(params, KEY).cloud(torch.tensor(low), torch.tensor(high))


def rows(*clouds: PointCloud) -> torch.Tensor:
    joined = PointCloud.join(clouds)
    table = torch.cat([joined.position_um, joined.amount[:, None]], dim=1)
    return torch.unique(table, dim=0)


def test_specks_have_their_density():
    low, high = (-100.0, -200.0, 50.0), (300.0, 400.0, 650.0)
    specks = cloud(SPECKS, low, high)
    assert len(specks) == pytest.approx(50_000 * 0.4 * 0.6 * 0.6, rel=0.03)
    assert specks.amount.median() == pytest.approx(4.0, rel=0.05)
    for half in range(3):
        middle = (low[half] + high[half]) / 2
        below = (specks.position_um[:, half] < middle).float().mean()
        assert below == pytest.approx(0.5, abs=0.03)


def test_fibres_have_their_length_for_each_volume():
    # Large against a fibre of 250 µm; the standard deviation of the length is some 2 %.
    fibres = cloud(FIBRES, (0.0, 0.0, 0.0), (800.0, 800.0, 800.0))
    metres = len(fibres) * 1e-6  # a point stands for 1 µm
    assert metres / 0.8**3 == pytest.approx(6.0, rel=0.06)
    assert fibres.amount.median() == pytest.approx(0.5, rel=0.1)


def test_points_of_a_fibre_are_one_micrometre_apart():
    fibres = cloud(FIBRES, (0.0, 0.0, 0.0), (300.0, 300.0, 300.0))
    steps = fibres.position_um.diff(dim=0).norm(dim=1)
    within = steps[steps < 3]
    assert len(within) > 0.95 * len(steps)
    assert within.median() == pytest.approx(1.0, rel=0.03)
    assert within.mean() == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("params", [SPECKS, FIBRES, FmostClutterParams()])
def test_two_boxes_side_by_side_hold_what_the_whole_holds(params):
    whole = cloud(params, (-30.0, 0.0, 10.0), (60.0, 170.0, 210.0))
    left = cloud(params, (-30.0, 0.0, 10.0), (60.0, 170.0, 95.5))
    right = cloud(params, (-30.0, 0.0, 95.5), (60.0, 170.0, 210.0))
    assert len(left) + len(right) == len(whole) > 50
    assert torch.equal(rows(left, right), rows(whole))


def test_scenes_differ_and_nothing_is_empty():
    corners = torch.zeros(3), torch.full((3,), 100.0)
    one, other = (Clutter(ClutterParams(), Key.of(seed)).cloud(*corners) for seed in (1, 2))
    assert not torch.equal(one.position_um[:50], other.position_um[:50])
    none = ClutterParams(puncta_per_mm3=0.0, fibres_m_per_mm3=0.0)
    assert len(Clutter(none, KEY).cloud(*corners)) == 0
