import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.simulation.cloud import Part, PointCloud
from napari_neurobridge.simulation.deformation.deformation import draw_deformation, residual_linear
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.levels import Difficulty, level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.optics.clutter import Clutter
from napari_neurobridge.simulation.optics.labels import FmostLabel
from napari_neurobridge.simulation.specimen import Specimen
from napari_neurobridge.simulation.tissue.tissue import make_tissue
from napari_neurobridge.spaces.affine import Affine

LOW, HIGH = (0.0, 0.0, 0.0), (80.0, 120.0, 120.0)


def make(difficulty: Difficulty) -> Specimen[FmostLabel]:
    tissue = make_tissue(
        LOW,
        HIGH,
        difficulty.tissue,
        difficulty.vessels,
        neuron_factory(difficulty.morphology),
        Key.of(4),
    )
    affine = Affine.from_linear(
        residual_linear(difficulty.misfit, Key.of(1)), (9.0, -4.0, 2.0), source="a", target="b"
    )
    return Specimen(
        tissue,
        FmostLabel(tissue.somata, difficulty.fmost_label, Key.of(2)),
        Clutter(difficulty.fmost_clutter, Key.of(3)),
        draw_deformation(affine, difficulty.misfit, Key.of(3), LOW, HIGH, tissue.top_um),
    )


@pytest.fixture(scope="module", params=["paper", "hard"])
def specimen(request) -> Specimen[FmostLabel]:
    return make(level(request.param))


def join(specimen: Specimen[FmostLabel], low, high) -> tuple[PointCloud, PointCloud]:
    shining, bodies = zip(*specimen.cells(torch.tensor(low), torch.tensor(high)), strict=True)
    return PointCloud.join(shining), PointCloud.join(bodies)


@settings(max_examples=20)
@given(
    low=st.tuples(*3 * [st.floats(-20, 70)]),
    size=st.tuples(*3 * [st.floats(1, 60)]),
    seed=st.integers(0, 99),
)
def test_the_box_of_tissue_holds_all_that_a_box_shows(specimen, low, size, seed):
    low, high = torch.tensor(low), torch.tensor(low) + torch.tensor(size)
    shown = low + (high - low) * torch.rand(500, 3, generator=torch.Generator().manual_seed(seed))
    origin = specimen.warp.inverse().map_points(shown.double().numpy())
    bounds = [bound.numpy() for bound in specimen.tissue_box(low, high)]
    assert (origin >= bounds[0]).all() and (origin <= bounds[1]).all()


def test_no_light_of_a_box_is_missing(specimen):
    low, high = torch.tensor([20.0, 30.0, 40.0]), torch.tensor([50.0, 70.0, 75.0])
    everyone = specimen.tissue.neurons.grow(torch.arange(len(specimen.tissue.somata)))
    position = specimen.warp.map_tensor(everyone.position_um)
    body = everyone.part == int(Part.SOMA)
    wanted = (
        PointCloud(position, specimen.label.amount(everyone)),
        PointCloud(position[body], everyone.volume_um3[body]),
    )
    found = join(specimen, low.tolist(), high.tolist())
    for clouds in zip(wanted, found, strict=True):
        amounts = [float(cloud.within(low, high).amount.double().sum()) for cloud in clouds]
        assert amounts[0] > 1000
        assert amounts[1] == pytest.approx(amounts[0], rel=1e-5)


def test_bodies_are_those_of_all_cells_and_light_that_of_visible_ones():
    # Without processes, which pass through the places of other cells.
    bare = level("hard").changed(fmost_label={"dendrite_gain": 0.0, "axon_gain": 0.0})
    specimen = make(bare)
    tissue, label = specimen.tissue, specimen.label
    reach = 400.0
    shining, bodies = join(specimen, 3 * [-reach], 3 * [reach])
    balls = 4 / 3 * np.pi * tissue.somata.radius_um.double() ** 3
    assert float(bodies.amount.double().sum()) == pytest.approx(float(balls.sum()), rel=1e-4)
    lit = [
        bool((shining.amount[(shining.position_um - center).norm(dim=1) < 3.0] > 0).any())
        for center in specimen.warp.map_tensor(tissue.somata.center_um)
    ]
    assert lit == label.visible.tolist()
    assert 0 < sum(lit) < len(lit)


def test_vessels_are_filled_alike_however_coarsely(specimen):
    low, high = torch.zeros(3), torch.tensor([80.0, 120.0, 120.0])
    clouds = [specimen.lumen(low, high, point_um3=size) for size in (2.5, 12.0)]
    volumes = [float(cloud.within(low, high).amount.sum()) for cloud in clouds]
    assert len(clouds[0]) > 2 * len(clouds[1])
    assert volumes[0] > 0
    assert volumes[1] == pytest.approx(volumes[0], rel=0.05)
