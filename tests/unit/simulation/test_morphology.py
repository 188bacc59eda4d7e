import math

import pytest
import torch

from napari_neurobridge.simulation.morphology import Morphology, Part, grow_neurons

CENTERS = torch.tensor([[100.0, 0.0, 0.0], [100.0, 400.0, 0.0]])
RADII = torch.tensor([6.0, 8.0])


def grow(seed: int = 0, ellipticity: float = 0.1) -> Morphology:
    """Grow one pyramidal cell and one interneuron."""
    return grow_neurons(
        CENTERS,
        RADII,
        torch.tensor([True, False]),
        ellipticity=ellipticity,
        generator=torch.Generator().manual_seed(seed),
    )


def test_same_seed_same_neurons():
    assert torch.equal(grow(3).position_um, grow(3).position_um)
    assert len(grow(3).cell) != len(grow(4).cell)


def test_round_somata_have_the_volume_of_their_radius():
    cells = grow(ellipticity=0.0)
    for cell, radius in enumerate(RADII.tolist()):
        soma = (cells.part == Part.SOMA) & (cells.cell == cell)
        offsets = cells.position_um[soma] - CENTERS[cell]
        assert cells.volume_um3[soma].sum() == pytest.approx(4 / 3 * math.pi * radius**3, rel=1e-4)
        assert offsets.norm(dim=1).max() <= radius + 1e-3
        # A ball's mean squared distance from its centre is 3/5 of its radius squared.
        assert (offsets**2).sum(dim=1).mean() == pytest.approx(0.6 * radius**2, rel=0.02)
        assert offsets.mean(dim=0).norm() < 0.2


def test_processes_start_at_the_soma_and_carry_their_own_cell():
    cells = grow()
    for part in (Part.DENDRITE, Part.AXON):
        for cell in (0, 1):
            reach = cells.reach[(cells.part == part) & (cells.cell == cell)]
            assert reach.min() < 12
            assert 40 < reach.max() < 350
    distance = (cells.position_um - CENTERS[cells.cell]).norm(dim=1)
    process = cells.part != Part.SOMA
    assert torch.allclose(distance[process], cells.reach[process], atol=1e-3)


def test_only_pyramidal_cells_reach_far_towards_the_surface():
    cells = grow()
    up = CENTERS[cells.cell, 0] - cells.position_um[:, 0]
    dendrite = cells.part == Part.DENDRITE
    assert up[dendrite & (cells.cell == 0)].max() > 90
    assert up[dendrite & (cells.cell == 1)].max() < 90
