import numpy as np
import pytest
import torch
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.cloud import Morphology, Part, Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.optics.labels import (
    REGIMES,
    FmostLabel,
    FmostLabelParams,
    TwoPhotonLabel,
    TwoPhotonLabelParams,
    in_regime,
)

MANY = 40_000
KEY = Key.of(11)


def somata(count: int = MANY) -> Somata:
    center = 1000 * Key.of(0).uniform(torch.arange(count), 3)
    return Somata(
        center, torch.full((count,), 7.0), torch.ones(count, dtype=torch.bool), center[:, 0]
    )


def points(cells: Somata, per_cell: int, part: Part, reach: torch.Tensor) -> Morphology:
    """Return points along x at a reach (`per_cell`,) from every soma, a share of 7 µm in somata."""
    count = len(cells)
    distance = reach * 7.0 if part is Part.SOMA else reach
    offset = torch.zeros(per_cell, 3)
    offset[:, 2] = distance
    return Morphology(
        (cells.center_um[:, None] + offset).reshape(-1, 3),
        torch.full((count * per_cell,), 2.0),
        torch.arange(count).repeat_interleave(per_cell),
        torch.full((count * per_cell,), int(part)),
        reach.repeat(count),
    )


def two_photon(cells: Somata | None = None, **changes) -> TwoPhotonLabel:
    return TwoPhotonLabel(cells or somata(), TwoPhotonLabelParams(**changes), KEY)


def fmost(cells: Somata | None = None, **changes) -> FmostLabel:
    return FmostLabel(cells or somata(), FmostLabelParams(**changes), KEY)


def test_cells_are_visible_active_only_or_silent():
    label = two_photon(visible_fraction=0.6, active_only_fraction=0.3)
    assert label.visible.float().mean() == pytest.approx(0.6, abs=0.01)
    assert label.active_only.float().mean() == pytest.approx(0.4 * 0.3, abs=0.01)
    assert not (label.visible & label.active_only).any()


def test_only_visible_cells_shine_at_rest_and_the_others_have_a_shape_all_the_same():
    cells = somata(500)
    label = two_photon(cells)
    spots = points(cells, 1, Part.SOMA, torch.tensor([0.9]))
    assert torch.equal(label.amount(spots) > 0, label.visible)
    assert (label.gain(spots) > 0).all() and (label.brightness > 0).all()
    assert torch.allclose(label.amount(spots)[label.visible], 2.0 * label.brightness[label.visible])


def test_indicator_is_missing_in_the_nucleus_but_of_overfull_cells():
    cells = somata(5000)
    label = two_photon(cells, nuclear_exclusion=0.9, nucleus_radius=0.7, filled_fraction=0.1)
    gain = label.gain(points(cells, 3, Part.SOMA, torch.tensor([0.1, 0.69, 0.71]))).view(-1, 3)
    filled = gain[:, 0] == 1.0
    assert filled.float().mean() == pytest.approx(0.1, abs=0.02)
    assert torch.allclose(gain[~filled, :2], torch.tensor(0.1))
    assert torch.equal(gain[filled, 1], torch.ones(int(filled.sum())))
    assert torch.equal(gain[:, 2], torch.ones(5000))


def test_structural_label_fills_the_nucleus():
    cells = somata(50)
    gain = fmost(cells, cut_fraction=0.0).gain(points(cells, 1, Part.SOMA, torch.zeros(1)))
    assert torch.equal(gain, torch.ones(50))


@pytest.mark.parametrize("make", [two_photon, fmost])
@pytest.mark.parametrize("part", [Part.AXON, Part.BASAL, Part.APICAL])
def test_processes_have_their_gain_and_fade(make, part):
    cells = somata(3)
    changes = {"dendrite_gain": 1.2, "axon_gain": 0.4, "fading_um": 50.0}
    if make is fmost:
        changes["cut_fraction"] = 0.0
    reach = torch.tensor([0.0, 50.0, 100.0])
    gain = make(cells, **changes).gain(points(cells, 3, part, reach)).view(3, 3)
    wanted = (0.4 if part is Part.AXON else 1.2) * torch.exp(-reach / 50)
    assert torch.allclose(gain, wanted.expand(3, 3))


def test_brightness_is_heavy_tailed_about_a_median_of_one():
    brightness = two_photon(brightness_sigma=1.0).brightness
    assert brightness.median() == pytest.approx(1, rel=0.03)
    assert (brightness > np.e).float().mean() == pytest.approx(0.159, rel=0.05)
    assert brightness.min() >= 0.35 and brightness.max() <= 6.0


def test_brightness_is_unrelated_between_the_sides():
    sides = torch.stack([two_photon().brightness, fmost().brightness]).log()
    assert abs(float(torch.corrcoef(sides)[0, 1])) < 0.02


def test_a_cut_takes_one_side_and_spares_the_soma():
    cells = somata(4000)
    label = fmost(cells, cut_fraction=1.0, cut_um=(10.0, 20.0), fading_um=1e9)
    assert label.cut.all()
    assert (label.gain(points(cells, 1, Part.SOMA, torch.ones(1))) > 0).all()
    gain = label.gain(points(cells, 2, Part.BASAL, torch.tensor([60.0, -60.0]))).view(-1, 2)
    lost = gain == 0
    assert not lost.all(dim=1).any()
    # A normal at random hides what lies 60 µm away in a direction when its cosine with that
    # exceeds d / 60; with d uniform in 10 … 20 µm this is a share of 3/8 on either side.
    assert lost.float().mean(dim=0).tolist() == pytest.approx([0.375, 0.375], abs=0.025)
    few = fmost(cells, cut_fraction=0.1)
    assert few.cut.float().mean() == pytest.approx(0.1, abs=0.02)


def test_a_cell_keeps_its_label_in_whatever_batch_it_is_grown():
    cells = somata(1000)
    for label in (two_photon(cells), fmost(cells)):
        spots = points(cells, 2, Part.BASAL, torch.tensor([15.0, 30.0]))
        whole = label.amount(spots)
        some = slice(500, 700)
        part = Morphology(
            *(
                getattr(spots, name)[some]
                for name in ("position_um", "volume_um3", "cell", "part", "reach")
            )
        )
        assert torch.equal(label.amount(part), whole[some])


@pytest.mark.parametrize(
    "name, visible, labelled, both",
    [
        ("sparse-sparse", 0.2, 0.15, 0.09),
        ("dense-sparse", 0.85, 0.15, 0.1275),
        ("dense-dense", 0.85, 0.85, 0.7225),
    ],
)
def test_regimes_have_the_shares_they_state(name, visible, labelled, both):
    in_vivo, ex_vivo = in_regime(name, TwoPhotonLabelParams(), FmostLabelParams())
    cells = somata()
    left = TwoPhotonLabel(cells, in_vivo, KEY).visible
    right = FmostLabel(cells, ex_vivo, KEY).visible
    assert left.float().mean() == pytest.approx(visible, abs=0.01)
    assert right.float().mean() == pytest.approx(labelled, abs=0.01)
    assert (left & right).float().mean() == pytest.approx(both, abs=0.01)


def test_every_regime_names_parameters_that_exist_and_are_allowed():
    for regime in REGIMES.values():
        TwoPhotonLabelParams(**regime.two_photon)
        FmostLabelParams(**regime.fmost)


def test_an_unknown_regime_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"'dense'.*sparse-sparse, dense-sparse, dense-dense"):
        in_regime("dense", TwoPhotonLabelParams(), FmostLabelParams())
    with pytest.raises(ValidationError):
        TwoPhotonLabelParams(visible_fraction=1.5)
