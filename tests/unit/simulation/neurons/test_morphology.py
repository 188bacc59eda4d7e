import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.simulation.cloud import Morphology, Part, Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.morphology import MorphologyParams, ProceduralNeurons
from napari_neurobridge.simulation.neurons.soma_shapes import SomaParams, ball_points

N_CELLS = 48
FIELDS = ("position_um", "volume_um3", "cell", "part", "reach")


def make_somata(
    depth_um: tuple[float, float] = (120.0, 400.0), device: torch.device | str = "cpu"
) -> Somata:
    """Return cells of which two in three are pyramidal."""
    rng = np.random.default_rng(0)
    depth = torch.tensor(rng.uniform(*depth_um, N_CELLS), dtype=torch.float32)
    center = torch.tensor(rng.uniform(0, 300, (N_CELLS, 3)), dtype=torch.float32)
    center[:, 0] = depth - 50
    radius = torch.linspace(5, 10, N_CELLS)
    pyramidal = torch.arange(N_CELLS) % 3 != 2
    return Somata(*(v.to(device) for v in (center, radius, pyramidal, depth)))


def neurons(somata: Somata, seed: int = 0, **params: object) -> ProceduralNeurons:
    return ProceduralNeurons(somata, MorphologyParams(**params), Key.of(seed))


def of_cell(points: Morphology, cell: int) -> Morphology:
    chosen = points.cell == cell
    return Morphology(*(getattr(points, name)[chosen] for name in FIELDS))


SOMATA = make_somata()
EVERYONE = torch.arange(N_CELLS)


@pytest.fixture(scope="module")
def points():
    return neurons(SOMATA).grow(EVERYONE)


@pytest.fixture(scope="module")
def offsets(points):
    return points.position_um - SOMATA.center_um[points.cell]


@pytest.mark.parametrize("batch", [[5], [7, 5, 2], [2, 5], list(range(47, -1, -1))])
def test_a_cell_is_bit_identical_in_any_batch(points, batch):
    again = neurons(SOMATA).grow(torch.tensor(batch))
    assert set(again.cell.tolist()) == set(batch)
    for name in FIELDS:
        assert torch.equal(getattr(of_cell(again, 5), name), getattr(of_cell(points, 5), name)), (
            name
        )


@pytest.mark.parametrize("batch", [[], [2], [2, 5, 8]])
def test_batches_without_pyramidal_cells_grow(batch):
    grown = neurons(SOMATA).grow(torch.tensor(batch, dtype=torch.int64))
    assert (grown.part != Part.APICAL).all()
    assert len(set(grown.cell.tolist())) == len(batch)


def test_cells_and_seeds_differ(points):
    other = neurons(SOMATA, seed=1).grow(EVERYONE)
    counts = torch.bincount(points.cell)
    assert len(counts.unique()) > N_CELLS / 2
    assert not torch.equal(counts, torch.bincount(other.cell))


def test_neurons_are_the_same_on_any_device(points, device):
    grown = neurons(make_somata(device=device)).grow(EVERYONE.to(device))
    assert torch.equal(grown.part.cpu(), points.part)
    assert torch.equal(grown.cell.cpu(), points.cell)
    torch.testing.assert_close(grown.position_um.cpu(), points.position_um, atol=2e-3, rtol=0)


def test_points_are_few_and_about_one_micrometre_apart(points):
    assert 2000 < len(points.cell) / N_CELLS < 4000
    tree = neurons(SOMATA).tree(0)
    edge = tree.edge_um[tree.parent > 0]
    assert 1.0 < edge.mean() < 1.5
    assert edge.max() < 2.5


def test_somata_have_the_volume_of_their_radius(points):
    for cell in (0, 2, N_CELLS - 1):
        mine = of_cell(points, cell)
        volume = mine.volume_um3[mine.part == Part.SOMA].sum()
        radius = SOMATA.radius_um[cell].item()
        assert volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=1e-4)


def test_round_somata_are_balls():
    grown = neurons(SOMATA, soma=SomaParams(irregularity=0, elongation=1, taper=0)).grow(EVERYONE)
    soma = grown.part == Part.SOMA
    cell = grown.cell[soma]
    offset = grown.position_um[soma] - SOMATA.center_um[cell]
    radius = SOMATA.radius_um[cell]
    share = offset.norm(dim=1) / radius
    torch.testing.assert_close(share, grown.reach[soma], atol=1e-3, rtol=0)
    assert share.max() <= 1.0001
    # A ball's mean squared distance from its centre is 3/5 of its radius squared.
    assert share.square().mean() == pytest.approx(0.6, rel=0.01)
    assert (offset / radius[:, None]).mean(dim=0).abs().max() < 0.02


@pytest.mark.parametrize(("hollow", "shell"), [(0.0, (0.0, 0.6)), (0.72, (0.8, 0.9))])
def test_points_fill_a_ball_or_its_shell_without_grain(hollow, shell):
    """Blurred as by a microscope, the inside of a soma of 7.5 µm, or of its wall, is even."""
    ball, share = ball_points(700)
    assert share.sum() == pytest.approx(1.0)
    kept = ball.norm(dim=0) > hollow
    rng = np.random.default_rng(0)
    at = rng.standard_normal((500, 3))
    at *= (rng.uniform(*shell, 500) / np.linalg.norm(at, axis=1))[:, None]
    squared = (torch.from_numpy(at).float()[:, :, None] - ball[:, kept]).square().sum(dim=1)
    density = (share[kept] * torch.exp(-squared * (7.5**2 / 2))).sum(dim=1)
    # Across the wall the light falls off; along it there must be no petals.
    distance = np.linalg.norm(at, axis=1)
    even = np.polynomial.Polynomial.fit(distance, density.numpy(), 4)(distance)
    assert np.std(density.numpy() / even) < 0.02


def test_somata_have_their_centre_of_mass_where_they_are_said_to_be(points, offsets):
    soma = points.part == Part.SOMA
    moment = torch.zeros(N_CELLS, 3).index_add_(
        0, points.cell[soma], offsets[soma] * points.volume_um3[soma, None]
    )
    volume = torch.zeros(N_CELLS).index_add_(0, points.cell[soma], points.volume_um3[soma])
    assert (moment / volume[:, None]).norm(dim=1).max() < 0.1


def test_pyramidal_somata_are_long_and_narrow_towards_the_apical_dendrite(points, offsets):
    soma = (points.part == Part.SOMA) & SOMATA.pyramidal[points.cell]
    offset = offsets[soma] / SOMATA.radius_um[points.cell[soma]][:, None]
    weight = points.volume_um3[soma]
    spread = torch.sqrt((weight[:, None] * offset.square()).sum(dim=0) / weight.sum())
    assert spread[0] > 1.1 * spread[1:].max()
    width = offset[:, 1:].norm(dim=1)
    top, base = offset[:, 0] < -0.5, offset[:, 0] > 0.5
    assert width[top].mean() < 0.85 * width[base].mean()
    round_ones = (points.part == Part.SOMA) & ~SOMATA.pyramidal[points.cell]
    spread = offsets[round_ones].square().mean(dim=0).sqrt()
    assert spread.max() < 1.1 * spread.min()


def test_no_point_leaves_the_reach_or_the_brain(points, offsets):
    grower = neurons(SOMATA)
    assert grower.reach_um <= 220
    distance = offsets.norm(dim=1)
    process = points.part != Part.SOMA
    assert distance[process].max() <= grower.reach_um
    shallow = make_somata((12.0, 60.0))
    grown = neurons(shallow, reach_um=60.0).grow(EVERYONE)
    process = grown.part != Part.SOMA
    offset = (grown.position_um - shallow.center_um[grown.cell])[process]
    assert offset.norm(dim=1).max() <= 60
    assert (offset[:, 0] > -shallow.depth_um[grown.cell[process]] - 4).all()  # half a trunk
    assert grown.reach[process].max() <= 60


def test_reach_is_the_distance_from_the_soma(points, offsets):
    thin = (points.part == Part.BASAL) | (points.part == Part.AXON)
    torch.testing.assert_close(offsets.norm(dim=1)[thin], points.reach[thin], atol=1e-3, rtol=0)
    assert points.reach[thin].min() < 8


def test_apical_dendrites_lead_up_and_axons_down(points, offsets):
    apical = points.part == Part.APICAL
    assert set(points.cell[apical].tolist()) == set(EVERYONE[SOMATA.pyramidal].tolist())
    assert offsets[apical, 0].mean() < -60
    assert offsets[points.part == Part.AXON, 0].mean() > 40
    basal = (points.part == Part.BASAL) & SOMATA.pyramidal[points.cell]
    around = (points.part == Part.BASAL) & ~SOMATA.pyramidal[points.cell]
    assert offsets[basal, 0].mean() > 8
    assert abs(offsets[around, 0].mean()) < 8


def test_tufts_lie_in_layer_one_when_the_surface_is_near():
    somata = make_somata((130.0, 180.0))
    grown = neurons(somata).grow(EVERYONE[somata.pyramidal])
    apical = grown.part == Part.APICAL
    depth = (grown.position_um - somata.center_um[grown.cell])[:, 0] + somata.depth_um[grown.cell]
    share = [
        (depth[apical & (grown.cell == cell)] < 100).float().mean().item()
        for cell in EVERYONE[somata.pyramidal].tolist()
    ]
    assert min(share) > 0.2
    assert np.median(share) > 0.4


def test_the_volume_of_a_process_is_that_of_its_radius():
    grower = neurons(SOMATA)
    tree, mine = grower.tree(0), grower.grow(torch.tensor([0]))
    process = mine.part != Part.SOMA
    assert len(tree) == 1 + int(process.sum())
    inner = (tree.parent > 0) & (tree.type == Part.BASAL)
    cylinders = math.pi * tree.radius_um**2 * tree.edge_um
    volume = mine.volume_um3[process].numpy()
    assert volume[inner[1:]].sum() == pytest.approx(cylinders[inner].sum(), rel=0.03)


def test_the_tree_is_what_grows():
    grower = neurons(SOMATA)
    tree, mine = grower.tree(1), grower.grow(torch.tensor([1]))
    process = mine.part != Part.SOMA
    assert tree.type[1:].tolist() == mine.part[process].tolist()
    thin = (mine.part[process] == Part.BASAL).numpy()
    offset = (mine.position_um[process] - SOMATA.center_um[1]).numpy()
    np.testing.assert_allclose(tree.position_um[1:][thin], offset[thin], atol=1e-4)
    assert tree.parent[0] == -1
    assert (tree.parent[1:] < np.arange(1, len(tree))).all()
    assert (tree.parent[1:] >= 0).all()


def test_size_scales_processes():
    small = neurons(SOMATA, size=0.5, wander=0.0).tree(2)
    large = neurons(SOMATA, size=1.0, wander=0.0).tree(2)
    inner = large.parent > 0
    assert len(small) == len(large)
    np.testing.assert_allclose(small.edge_um[inner], 0.5 * large.edge_um[inner], rtol=1e-3)


@pytest.mark.parametrize("params", [{"reach_um": 221}, {"sise": 1}, {"size": 0}])
def test_wrong_parameters_are_refused(params):
    with pytest.raises(ValidationError):
        MorphologyParams(**params)
