import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.tissue.vasculature import VesselParams, grow_vessels
from napari_neurobridge.simulation.tissue.vessels import VesselKind, Vessels

LOW, HIGH, TOP = (0.0, 0.0, 0.0), (600.0, 600.0, 600.0), 100.0


@pytest.fixture(scope="module")
def vessels() -> Vessels:
    return grow_vessels(LOW, HIGH, TOP, VesselParams(), Key.of(0))


def lengths(vessels: Vessels) -> torch.Tensor:
    start, end = vessels.node_um[vessels.segment].unbind(dim=1)
    return (end - start).norm(dim=1)


def in_block(vessels: Vessels, low: tuple, high: tuple) -> torch.Tensor:
    middle = vessels.node_um[vessels.segment].mean(dim=1)
    return ((middle >= torch.tensor(low)) & (middle < torch.tensor(high))).all(dim=1)


def test_the_lumen_takes_the_share_of_a_cortex(vessels):
    inside, volume = in_block(vessels, LOW, HIGH), 600.0**3
    share = {
        kind: float(vessels.volume_um3[inside & (vessels.kind == kind)].sum()) / volume
        for kind in VesselKind
    }
    assert 0.009 < share[VesselKind.CAPILLARY] < 0.015
    assert 0.002 < share[VesselKind.PENETRATING] < 0.008
    above = in_block(vessels, (-TOP, 0.0, 0.0), (0.0, 600.0, 600.0))
    pial_um = vessels.volume_um3[above & (vessels.kind == VesselKind.PIAL)].sum() / 600.0**2
    assert 1.5 < pial_um < 9.0


def test_the_length_of_capillaries_is_the_stated_one_and_some_winding(vessels):
    of_mesh = in_block(vessels, LOW, HIGH) & (vessels.kind == VesselKind.CAPILLARY)
    metres = float(lengths(vessels)[of_mesh].sum()) * 1e-6
    assert 1.0 < metres / (VesselParams().capillary_m_per_mm3 * 0.6**3) < 1.2


def test_all_vessels_hang_together(vessels):
    count = len(vessels.node_um)
    first, second = vessels.segment.T.numpy()
    graph = sparse.csr_matrix((np.ones(len(first)), (first, second)), (count, count))
    assert connected_components(graph)[0] == 1
    assert (first != second).all()


def test_pieces_are_short_and_radii_in_their_ranges_change_slowly(vessels):
    assert lengths(vessels).max() < 20
    params = VesselParams()
    for kind, (low, high) in {
        VesselKind.PIAL: (params.penetrating_radius_um[0], params.pial_radius_um[1]),
        VesselKind.PENETRATING: params.penetrating_radius_um,
        VesselKind.CAPILLARY: params.capillary_radius_um,
    }.items():
        radius = vessels.radius_um[vessels.kind == kind]
        assert low - 1e-4 <= radius.min() and radius.max() <= high + 1e-4
        change = (radius[:, 0] - radius[:, 1]).abs()
        assert (change < 0.25 * radius.amin(dim=1)).float().mean() > 0.98


def test_branch_points_lie_on_the_centrelines_of_three_tubes(vessels):
    start, end = vessels.node_um[vessels.segment].unbind(dim=1)
    first, second = vessels.radius_um.unbind(dim=1)
    some = vessels.branch_points_um[::40]
    assert len(some) > 20
    for point, radius in zip(some, vessels.branch_radius_um[::40], strict=True):
        axis = end - start
        along = (((point - start) * axis).sum(1) / axis.square().sum(1)).clamp(0, 1)
        meets = (start + along[:, None] * axis - point).norm(dim=1) < 1e-3
        assert meets.sum() >= 3
        widest = torch.lerp(first, second, along)[meets].max()
        assert float(radius) == pytest.approx(float(widest), rel=1e-3)


def test_branches_are_told_on_every_kind_of_vessel(vessels):
    radius = vessels.branch_radius_um
    assert (radius > 12).sum() >= 5
    assert ((radius > 4) & (radius <= 10)).sum() >= 30
    density = len(vessels.branch_points_um) / 0.6**3
    assert 2_000 < density < 20_000


def test_penetrating_vessels_dive_from_the_surface_into_the_block(vessels):
    assert vessels.node_um[:, 0].min() >= -TOP
    for z, kind in ((-90.0, VesselKind.PIAL), (-40.0, 1), (50.0, 1), (250.0, 1)):
        plane = in_block(vessels, (z - 10, 0.0, 0.0), (z + 10, 600.0, 600.0))
        assert (vessels.kind[plane] == kind).any()
    crossing = in_block(vessels, (45.0, 0.0, 0.0), (55.0, 600.0, 600.0))
    of_divers = crossing & (vessels.kind == VesselKind.PENETRATING)
    # About one piece of 8 µm for each vessel in a layer of 10 µm.
    assert int(of_divers.sum()) * 0.8 / 0.6**2 == pytest.approx(40, rel=0.35)


def test_a_block_deep_below_the_surface_still_has_vessels_above_it():
    deep = grow_vessels(LOW, (130.0, 370.0, 370.0), 400.0, VesselParams(), Key.of(1))
    above = deep.points((-400.0, 0.0, 0.0), (-300.0, 370.0, 370.0))
    assert above.amount.sum() > 0.001 * 100 * 370**2
    capillary = deep.node_um[deep.segment[deep.kind == VesselKind.CAPILLARY]]
    assert capillary[..., 0].min() > -120


def test_vessels_are_a_function_of_their_key():
    high = (100.0, 150.0, 150.0)
    one, again, other = (
        grow_vessels(LOW, high, 80.0, VesselParams(), Key.of(seed)) for seed in (1, 1, 2)
    )
    assert one.node_um.equal(again.node_um) and one.segment.equal(again.segment)
    assert one.points(LOW, high).position_um.equal(again.points(LOW, high).position_um)
    assert not one.node_um[:50].equal(other.node_um[:50])


@pytest.mark.parametrize("top_um", [-500.0, 0.0, 30.0])
def test_small_and_odd_blocks_can_be_grown(top_um):
    params = VesselParams(penetrating_per_mm2=0.0)
    vessels = grow_vessels(LOW, (20.0, 20.0, 20.0), top_um, params, Key.of(3))
    assert not (vessels.kind == VesselKind.PENETRATING).any()
    assert torch.isfinite(vessels.node_um).all()


@pytest.mark.parametrize(
    "wrong", [{"capillary_m_per_mm3": 0.0}, {"pial_radius_um": (-1.0, 4.0)}, {"capilary": 1.0}]
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        VesselParams(**wrong)
