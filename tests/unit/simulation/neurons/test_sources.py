import numpy as np
import pytest
import torch

from napari_neurobridge.io.morphology import Reconstruction
from napari_neurobridge.simulation.cloud import Morphology, Part
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.neurons.morphology import MorphologyParams, ProceduralNeurons
from napari_neurobridge.simulation.neurons.reconstructions import ReconstructedNeurons
from napari_neurobridge.simulation.neurons.sources import GrownNeurons, neuron_factory
from napari_neurobridge.simulation.tissue.somata import TissueParams
from napari_neurobridge.simulation.tissue.tissue import Tissue, make_tissue
from napari_neurobridge.simulation.tissue.vasculature import VesselParams

FIELDS = ("position_um", "volume_um3", "cell", "part", "reach")
STICK = Reconstruction(
    "stick",
    np.arange(1, 4),
    np.array([1, 3, 3]),
    np.array([(0.0, 0.0, 0.0), (0.0, 0.0, 40.0), (0.0, 0.0, 80.0)]),
    np.array([6.0, 0.5, 0.5]),
    np.array([-1, 0, 1]),
)


def block(*reconstructions: Reconstruction) -> Tissue:
    return make_tissue(
        (0.0, 0.0, 0.0),
        (80.0, 80.0, 80.0),
        TissueParams(density_per_mm3=40_000.0),
        VesselParams(),
        neuron_factory(MorphologyParams(), reconstructions),
        Key.of(3),
    )


@pytest.fixture(scope="module")
def tissue() -> Tissue:
    return block()


def same(first: Morphology, second: Morphology) -> bool:
    return all(torch.equal(getattr(first, f), getattr(second, f)) for f in FIELDS)


def test_shapes_follow_rules_unless_there_are_reconstructions(tissue):
    assert isinstance(tissue.neurons, ProceduralNeurons)
    real = block(STICK)
    assert isinstance(real.neurons, ReconstructedNeurons)
    # The cells are in the same places; only their shapes differ.
    assert torch.equal(real.somata.center_um, tissue.somata.center_um)
    cell = real.neurons.grow(torch.tensor([0]))
    assert set(cell.part.tolist()) == {Part.SOMA, Part.BASAL}


def test_parameters_and_key_reach_the_neurons(tissue):
    somata, everyone = tissue.somata, torch.arange(len(tissue.somata))
    usual, again, larger, other = (
        neuron_factory(MorphologyParams(size=size))(somata, Key.of(seed)).grow(everyone)
        for size, seed in ((1.0, 0), (1.0, 0), (1.4, 0), (1.0, 1))
    )
    assert same(usual, again)
    assert not same(usual, other)
    processes = [float(grown.reach[grown.part != Part.SOMA].mean()) for grown in (usual, larger)]
    assert processes[1] > 1.2 * processes[0]


def test_kept_cells_are_those_that_would_be_grown(tissue):
    kept = GrownNeurons(tissue)
    assert kept.reach_um == tissue.neurons.reach_um
    assert kept.cells_at_once >= len(tissue.somata)
    everyone = torch.arange(len(tissue.somata))
    for cells in (everyone, everyone[::3], everyone[4:5]):
        assert same(kept.grow(cells), tissue.neurons.grow(cells))


def test_kept_cells_come_in_the_order_of_their_ids(tissue):
    kept = GrownNeurons(tissue).grow(torch.tensor([7, 2]))
    assert same(kept, tissue.neurons.grow(torch.tensor([2, 7])))


def test_cells_that_are_grown_in_several_goes_are_all_kept(tissue):
    in_one = GrownNeurons(tissue).grow(torch.arange(len(tissue.somata)))
    tissue.neurons.cells_at_once, usual = 7, tissue.neurons.cells_at_once
    try:
        in_many = GrownNeurons(tissue).grow(torch.arange(len(tissue.somata)))
    finally:
        tissue.neurons.cells_at_once = usual
    for cell in range(len(tissue.somata)):
        assert same(in_one.only(in_one.cell == cell), in_many.only(in_many.cell == cell))


def test_nobody_asked_for_is_nothing(tissue):
    assert len(GrownNeurons(tissue).grow(torch.arange(0)).cell) == 0
