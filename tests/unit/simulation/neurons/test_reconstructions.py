import math

import numpy as np
import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.morphology import Reconstruction, read_swc
from napari_neurobridge.simulation.cloud import Morphology, Part, Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.morphology import MorphologyParams
from napari_neurobridge.simulation.neurons.reconstructions import ReconstructedNeurons

N_CELLS = 40
FIELDS = ("position_um", "volume_um3", "cell", "part", "reach")
EVERYONE = torch.arange(N_CELLS)


def make_somata(depth_um: float = 300.0) -> Somata:
    return Somata(
        torch.linspace(0, 400, N_CELLS)[:, None].expand(-1, 3).contiguous(),
        torch.full((N_CELLS,), 9.0),
        EVERYONE % 2 == 0,
        torch.full((N_CELLS,), depth_um),
    )


def tree(
    *lines: tuple[int, tuple[float, float, float], float, int], has_radii: bool = True
) -> Reconstruction:
    """Return a tree of (type, (z, y, x), radius, parent row)."""
    kinds, places, radii, parents = zip(*lines, strict=True)
    return Reconstruction(
        "example",
        np.arange(1, len(lines) + 1),
        np.array(kinds),
        np.array(places, dtype=float),
        np.array(radii, dtype=float),
        np.array(parents),
        has_radii,
    )


# Its apical dendrite leads along x; soma away from the origin.
PYRAMIDAL = tree(
    (1, (7, 8, 9), 6.0, -1),
    (4, (7, 8, 109), 1.0, 0),
    (3, (7, 58, 9), 0.5, 0),
    (2, (7, 8, -51), 0.25, 0),
    (5, (7, 8, -61), 0.25, 3),
)
INTERNEURON = tree((1, (0, 0, 0), 1.0, -1), (3, (0, 0, 80), 0.4, 0), has_radii=False)


def grow(
    *reconstructions: Reconstruction, seed: int = 0, cells: torch.Tensor = EVERYONE, **params: float
) -> Morphology:
    somata = make_somata()
    return ReconstructedNeurons(
        somata, reconstructions, MorphologyParams(**params), Key.of(seed)
    ).grow(cells)


def offsets(points: Morphology) -> torch.Tensor:
    return points.position_um - make_somata().center_um[points.cell]


@pytest.mark.parametrize("batch", [[5], [7, 5, 2], list(range(39, -1, -1))])
def test_a_cell_is_bit_identical_in_any_batch(batch):
    whole = grow(PYRAMIDAL, INTERNEURON)
    part = grow(PYRAMIDAL, INTERNEURON, cells=torch.tensor(batch))
    for name in FIELDS:
        expected = getattr(whole, name)[whole.cell == 5]
        assert torch.equal(getattr(part, name)[part.cell == 5], expected), name


def test_no_cells_have_no_points():
    assert len(grow(PYRAMIDAL, cells=EVERYONE[:0]).cell) == 0


def test_apical_dendrites_are_turned_to_the_surface():
    points = grow(PYRAMIDAL)
    up = offsets(points)[points.part == Part.APICAL]
    assert up[:, 0].max() < 0
    assert -110.1 < up[:, 0].min() < -95
    assert up[:, 1:].abs().max() < 1e-3
    axon = offsets(points)[points.part == Part.AXON]
    assert axon[:, 0].min() > 0
    assert axon[:, 0].max() > 60  # the piece of unknown type counts as axon


def test_copies_are_turned_mirrored_and_scaled():
    points = grow(PYRAMIDAL)
    basal = (points.part == Part.BASAL) & (points.reach > 40)
    way = offsets(points)[basal]
    angle = torch.atan2(way[:, 1], way[:, 2])
    per_cell = torch.stack([angle[points.cell[basal] == cell][0] for cell in EVERYONE])
    assert torch.histc(per_cell, 4, -math.pi, math.pi).min() >= 3
    dendrite = points.part == Part.BASAL
    ends = torch.stack([points.reach[dendrite & (points.cell == c)].max() for c in EVERYONE])
    assert 44 < ends.min() < 47
    assert 53 < ends.max() < 55.1


def test_both_hands_occur():
    hook = tree((1, (0, 0, 0), 5, -1), (3, (0, 0, 60), 0.5, 0), (2, (0, 40, 0), 0.5, 0))
    points = grow(hook)
    way = offsets(points)
    hands = set()
    for cell in EVERYONE:
        dendrite = way[(points.cell == cell) & (points.part == Part.BASAL)].mean(dim=0)
        axon = way[(points.cell == cell) & (points.part == Part.AXON)].mean(dim=0)
        hands.add(float(torch.sign(dendrite[1] * axon[2] - dendrite[2] * axon[1])))
        assert abs(float(dendrite @ axon)) < 1e-2
    assert hands == {-1.0, 1.0}


def test_cells_get_reconstructions_of_their_kind():
    points = grow(PYRAMIDAL, INTERNEURON)
    with_apical = set(points.cell[points.part == Part.APICAL].tolist())
    assert with_apical == set(EVERYONE[::2].tolist())
    alone = grow(INTERNEURON)
    assert len(set(alone.cell.tolist())) == N_CELLS


@pytest.mark.parametrize(("neuron", "radius"), [(PYRAMIDAL, 6.0), (INTERNEURON, 9.0)])
def test_a_plausible_radius_of_the_soma_is_used(neuron, radius):
    points = grow(neuron)
    soma = (points.part == Part.SOMA) & (points.cell == 1)
    assert points.volume_um3[soma].sum() == pytest.approx(4 / 3 * math.pi * radius**3, rel=1e-4)


def test_processes_are_sampled_evenly_and_hold_their_volume():
    points = grow(INTERNEURON)
    one = (points.part == Part.BASAL) & (points.cell == 3)
    reach = points.reach[one].sort().values
    step = reach.diff()
    assert step.max() - step.min() < 0.01
    assert 1.0 < step.mean() < 1.5
    scale = (reach[-1] + step.mean() / 2) / 80
    length = 80 - reach[0] / scale + step.mean() / scale / 2
    volume = math.pi * 0.4**2 * length * scale**3
    assert points.volume_um3[one].sum() == pytest.approx(float(volume), rel=0.01)


def test_neurons_are_cut_at_the_reach():
    long_one = tree(
        *[(1, (0, 0, 0), 5, -1)], *[(3, (0, 0, 5 * i), 0.5, i - 1) for i in range(1, 200)]
    )
    points = grow(long_one, reach_um=150.0)
    process = points.part != Part.SOMA
    assert points.reach[process].max() <= 150
    assert points.reach[process].max() > 140
    torch.testing.assert_close(
        offsets(points)[process].norm(dim=1), points.reach[process], atol=1e-3, rtol=0
    )


def test_nothing_sticks_out_of_the_brain():
    somata = make_somata(depth_um=40.0)
    grower = ReconstructedNeurons(somata, [PYRAMIDAL], MorphologyParams(), Key.of(0))
    points = grower.grow(EVERYONE)
    process = points.part != Part.SOMA
    up = (points.position_um - somata.center_um[points.cell])[process, 0]
    assert up.min() >= -40.001


def test_nothing_to_copy_is_an_error():
    with pytest.raises(InputError, match="no reconstruction"):
        grow()
    with pytest.raises(InputError, match="no dendrite or axon"):
        grow(tree((1, (0, 0, 0), 5.0, -1)))


@pytest.mark.real_data
def test_real_reconstructions_stand_upright_within_reach(shared_data):
    paths = sorted((shared_data / "morphologies").glob("fig4_*.swc"))
    points = grow(*(read_swc(path, um_per_unit=25) for path in paths))
    assert len(points.cell) / N_CELLS < 10_000
    process = points.part != Part.SOMA
    assert points.reach[process].max() <= 210
    apical = points.part == Part.APICAL
    assert set(points.cell[apical].tolist()) == set(EVERYONE[::2].tolist())
    assert offsets(points)[apical, 0].mean() < -30
