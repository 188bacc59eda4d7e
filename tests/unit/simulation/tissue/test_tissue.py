from dataclasses import replace

import pytest
import torch
from torch import Tensor

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.cloud import Morphology, Part, Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.tissue.somata import TissueParams
from napari_neurobridge.simulation.tissue.tissue import Tissue, make_tissue
from napari_neurobridge.simulation.tissue.vasculature import VesselParams

LOW, HIGH = (0.0, 0.0, 0.0), (150.0, 250.0, 250.0)


class Rods:
    """Each cell is a straight rod of its own length, from its soma upwards."""

    reach_um = 60.0
    cells_at_once = 7

    def __init__(self, somata: Somata, key: Key) -> None:
        self.somata, self.key = somata, key
        self.asked: list[int] = []

    def grow(self, cells: Tensor) -> Morphology:
        self.asked.append(len(cells))
        length = 10 + 50 * self.key.uniform(cells)
        up = -length[:, None] * torch.linspace(0, 1, 13, device=cells.device)
        position = self.somata.center_um[cells, None].repeat(1, 13, 1)
        position[..., 0] += up
        return Morphology(
            position.flatten(0, 1),
            torch.ones(up.numel()),
            cells.repeat_interleave(13),
            torch.full((up.numel(),), Part.APICAL),
            up.abs().flatten(),
        )


@pytest.fixture
def tissue() -> Tissue:
    return make_tissue(LOW, HIGH, TissueParams(), VesselParams(), Rods, Key.of(0))


def points_in(pieces: list[Morphology], low: tuple, high: tuple) -> Tensor:
    grown = Morphology.join(pieces)
    position = grown.position_um
    kept = ((position >= torch.tensor(low)) & (position <= torch.tensor(high))).all(dim=1)
    return torch.cat([grown.cell[kept, None], position[kept]], dim=1)


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (LOW, HIGH),
        ((40.0, 0.0, 0.0), (60.0, 250.0, 250.0)),
        ((-50.0, 9.0, 9.0), (-5.0, 99.0, 99.0)),
    ],
)
def test_chunks_leave_out_no_point_of_a_box(tissue, low, high, tight):
    everyone = tissue.neurons.grow(torch.arange(len(tissue.somata)))
    tissue = replace(tissue, tight=tight)
    chunks = list(tissue.chunks(low, high))
    assert points_in(chunks, low, high).equal(points_in([everyone], low, high))
    cells = torch.cat([chunk.cell.unique() for chunk in chunks])
    assert cells.equal(tissue.cells_near(low, high))
    assert (cells.diff() > 0).all()


def test_no_chunk_holds_more_cells_than_asked(tissue):
    rods = tissue.neurons
    rods.asked.clear()
    assert len(list(tissue.chunks(LOW, HIGH))) == -(-len(tissue.somata) // 7)
    assert max(rods.asked) == 7


def test_tight_bounds_are_found_once_and_spare_growing_cells(tissue):
    box = (60.0, 0.0, 0.0), (70.0, 250.0, 250.0)
    loose, tissue = tissue.cells_near(*box), replace(tissue, tight=True)
    tight = tissue.cells_near(*box)
    assert set(tight.tolist()) < set(loose.tolist())
    assert len(tight) < 0.6 * len(loose)
    tissue.neurons.asked.clear()
    list(tissue.chunks(*box))
    assert sum(tissue.neurons.asked) == len(tight)


def test_a_box_far_away_yields_nothing(tissue):
    assert list(tissue.chunks((900.0,) * 3, (950.0,) * 3)) == []


def test_every_piece_has_a_key_of_its_own():
    plain = make_tissue(LOW, HIGH, TissueParams(), VesselParams(), Rods, Key.of(0))
    again = make_tissue(LOW, HIGH, TissueParams(), VesselParams(), Rods, Key.of(0))
    fewer = VesselParams(penetrating_per_mm2=0.0)
    without = make_tissue(LOW, HIGH, TissueParams(), fewer, Rods, Key.of(0))
    assert plain.somata.center_um.equal(again.somata.center_um)
    assert plain.vessels.node_um.equal(again.vessels.node_um)
    assert plain.top_um == again.top_um == without.top_um
    assert TissueParams().top_um[0] <= plain.top_um <= TissueParams().top_um[1]
    # Other vessels move a few cells out of their way, and no others.
    same = (plain.somata.center_um == without.somata.center_um).all(dim=1)
    assert same.float().mean() > 0.5
    assert plain.somata.radius_um.equal(without.somata.radius_um)


@pytest.mark.parametrize("high", [(0.0, 10.0, 10.0), (-5.0, 10.0, 10.0)])
def test_a_block_without_extent_is_refused(high):
    with pytest.raises(InputError, match="holds nothing"):
        make_tissue(LOW, high, TissueParams(), VesselParams(), Rods, Key.of(0))


def test_a_block_above_the_surface_is_refused():
    low, high = (-600.0, 0.0, 0.0), (-500.0, 90.0, 90.0)
    with pytest.raises(InputError, match="surface"):
        make_tissue(low, high, TissueParams(), VesselParams(), Rods, Key.of(0))
