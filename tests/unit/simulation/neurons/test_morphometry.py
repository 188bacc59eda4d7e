import numpy as np
import pytest
import torch

from napari_neurobridge.io.morphology import Reconstruction, read_swc
from napari_neurobridge.simulation.cloud import Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.morphology import MorphologyParams, ProceduralNeurons
from napari_neurobridge.simulation.neurons.morphometry import (
    SHOLL_RADII_UM,
    dendrites,
    measure_dendrites,
)

# id, type, (z, y, x), parent row: a forked basal dendrite, a straight apical one, an axon.
NODES = (
    (1, (0, 0, 0), -1),
    (3, (0, 0, 12), 0),
    (3, (0, 0, 32), 1),
    (3, (0, 12, 41), 2),
    (3, (0, -12, 41), 2),
    (4, (-57, 0, 0), 0),
    (2, (30, 0, 0), 0),
    (3, (0, 12, 66), 3),
)

# The part of a neuron that is compared: procedural neurons are confined to little more.
WITHIN_UM = 200.0
# Real ranges come from six cells, and are widened by this share of their ends.
WIDENED = 0.1
MEASURES = (
    "stems",
    "segments",
    "tips",
    "max_order",
    "median_tip_order",
    "median_tip_path_um",
    "max_path_um",
    "length_um",
)


def neuron() -> Reconstruction:
    return Reconstruction(
        "example",
        np.arange(1, len(NODES) + 1),
        np.array([node[0] for node in NODES]),
        np.array([node[1] for node in NODES], dtype=float),
        np.ones(len(NODES)),
        np.array([node[2] for node in NODES]),
    )


def test_a_known_tree_has_the_known_numbers():
    found = measure_dendrites(neuron())
    assert (found.stems, found.segments, found.tips) == (2, 4, 3)
    assert found.max_order == 2
    assert found.median_tip_order == 2
    assert found.length_um == pytest.approx(32 + 15 + 15 + 25 + 57)
    assert found.max_path_um == pytest.approx(32 + 15 + 25)
    assert found.median_tip_path_um == pytest.approx(57)
    # Two dendrites up to the fork at 32 µm, then three, until tips at 43, 57 and 67 µm.
    assert dict(zip(SHOLL_RADII_UM, found.sholl, strict=True)) == {
        0: 0, 5: 2, 10: 2, 15: 2, 20: 2, 25: 2, 30: 2, 35: 3, 40: 3, 45: 2, 50: 2, 55: 2, 60: 1,
    }  # fmt: skip


def test_axons_and_what_lies_beyond_a_distance_are_left_out():
    assert dendrites(neuron()).id.tolist() == [1, 2, 3, 4, 5, 6, 8]
    near = dendrites(neuron(), within_um=50)
    assert near.id.tolist() == [1, 2, 3, 4, 5]
    assert measure_dendrites(neuron(), within_um=50).stems == 1


def test_a_soma_alone_has_no_dendrite():
    found = measure_dendrites(neuron().keep(np.arange(len(NODES)) == 0))
    assert (found.stems, found.segments, found.length_um, found.max_order) == (0, 0, 0, 0)


def test_the_same_dendrite_sampled_finer_measures_the_same():
    """Nodes along a branch change neither segments nor lengths."""
    coarse = measure_dendrites(neuron())
    tree = neuron()
    middle = (tree.position_um[3] + tree.position_um[7]) / 2
    finer = Reconstruction(
        "finer",
        np.arange(1, len(NODES) + 2),
        np.append(tree.type, 3),
        np.vstack([tree.position_um, middle]),
        np.ones(len(NODES) + 1),
        np.append(tree.parent, 3),
    )
    finer.parent[7] = len(NODES)
    assert measure_dendrites(finer) == coarse


@pytest.fixture(scope="module")
def real(shared_data):
    """Statistics of the six cortical pyramidal cells with both kinds of dendrites."""
    folder = shared_data / "morphologies"
    rows = [line.split(",") for line in (folder / "table.csv").read_text().splitlines()]
    where, unit = rows[0].index("soma_region"), rows[0].index("um_per_unit")
    chosen = [
        row
        for row in rows[1:]
        if row[0].startswith("fig4") and row[where].startswith(("SSp", "SSs", "VIS", "CLA"))
    ]
    assert len(chosen) == 6
    return [
        measure_dendrites(read_swc(folder / row[0], um_per_unit=float(row[unit])), WITHIN_UM)
        for row in chosen
    ]


@pytest.fixture(scope="module")
def procedural():
    """Statistics of pyramidal cells of layers 2/3 to 5, with default parameters."""
    count = 60
    depth = torch.linspace(200, 500, count)
    somata = Somata(
        depth[:, None].expand(-1, 3),
        torch.full((count,), 7.5),
        torch.ones(count, dtype=torch.bool),
        depth,
    )
    grower = ProceduralNeurons(somata, MorphologyParams(), Key.of(0))
    return [measure_dendrites(grower.tree(cell), WITHIN_UM) for cell in range(count)]


@pytest.mark.real_data
@pytest.mark.parametrize("measure", MEASURES)
def test_procedural_medians_lie_in_the_real_range(real, procedural, measure):
    values = [getattr(found, measure) for found in real]
    median = np.median([getattr(found, measure) for found in procedural])
    assert (1 - WIDENED) * min(values) <= median <= (1 + WIDENED) * max(values)


@pytest.mark.real_data
def test_procedural_sholl_profiles_lie_in_the_real_range(real, procedural):
    values = np.array([found.sholl for found in real])
    median = np.median([found.sholl for found in procedural], axis=0)
    assert (median >= (1 - WIDENED) * values.min(axis=0)).all()
    assert (median <= (1 + WIDENED) * values.max(axis=0)).all()
