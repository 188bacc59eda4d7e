"""Tears open by what they state, close at their rims, and can be undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.spatial.distance import pdist, squareform

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.tears import TearParams, Tears, draw_tears
from napari_neurobridge.simulation.keyed import Key

CENTER = torch.tensor([[100.0, 200.0, 300.0]], dtype=torch.float64)
NORMAL = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64)
ASIDE = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
LOW, HIGH = (0.0, 0.0, 0.0), (600.0, 500.0, 600.0)


def tear(opening: float = 5.0, radius: float = 60.0) -> Tears:
    sizes = (torch.tensor([size], dtype=torch.float64) for size in (opening, radius))
    return Tears(CENTER, NORMAL, *sizes)


def gap(tears: Tears, aside_um: float, along_um: float = 0.0) -> float:
    """Return by how much two points move apart, either side of a crack or on one side."""
    middle = CENTER[0] + aside_um * ASIDE
    along = torch.tensor([along_um - 1e-9, along_um + 1e-9], dtype=torch.float64)
    pair = (middle + along[:, None] * NORMAL).T
    moved = tears.move(pair)
    assert torch.allclose(moved[1], pair[1])
    return float(NORMAL[0] @ ((moved - pair)[:, 1] - (moved - pair)[:, 0]))


def test_sides_move_apart_by_the_opening_and_less_towards_the_rim():
    assert gap(tear(5.0), 0.0) == pytest.approx(5.0, abs=1e-6)
    assert gap(tear(5.0), 30.0) == pytest.approx(5.0 * (1 - 0.25) ** 2, abs=1e-6)
    assert gap(tear(5.0), 59.9) < 1e-3
    assert gap(tear(5.0), 0.0, along_um=20.0) == pytest.approx(0.0, abs=1e-6)


def test_nothing_moves_beyond_the_rim_and_the_reach():
    tears = tear(5.0, 60.0)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-100, 500, (3, 5000)))
    offset = points - CENTER.T
    along = (NORMAL @ offset)[0].abs()
    aside = (offset.square().sum(0) - along.square()).sqrt()
    still = (along >= 60) | (aside >= 60)
    moved = tears.move(points)
    assert 0.5 < still.double().mean() < 1
    torch.testing.assert_close(moved[:, still], points[:, still], atol=1e-12, rtol=0)
    assert ((moved - points)[:, ~still].norm(dim=0) > 0).all()
    assert (offset.norm(dim=0)[~still] <= tears.reach_um).all()


@settings(deadline=None)
@given(
    opening=st.floats(0, 59),
    seed=st.integers(0, 10_000),
)
def test_inverse_undoes_a_tear(opening, seed):
    tears = tear(opening)
    points = CENTER.T + torch.from_numpy(np.random.default_rng(seed).uniform(-70, 70, (3, 200)))
    torch.testing.assert_close(tears.undo(tears.move(points)), points, atol=1e-6, rtol=0)


def test_gap_closes_onto_the_crack():
    inside = CENTER.T + NORMAL.T * torch.tensor([-2.4, -1.0, 1.0, 2.4])
    torch.testing.assert_close(tear(5.0).undo(inside), CENTER.T.expand(3, 4))


def test_order_along_the_normal_is_kept():
    along = torch.linspace(-80, 80, 20_000, dtype=torch.float64)
    line = CENTER.T + NORMAL.T * along
    moved = NORMAL[0] @ (tear(50.0).move(line) - CENTER.T)
    assert (moved.diff() > 0).all()


def test_drawn_tears_have_the_stated_number_and_size_and_do_not_touch():
    params = TearParams(tears_per_mm3=30.0, tear_opening_um=4.0, tear_radius_um=50.0)
    drawn = [draw_tears(params, Key.of(seed), LOW, HIGH) for seed in range(60)]
    assert np.mean([len(tears) for tears in drawn]) == pytest.approx(30 * 0.18, rel=0.15)
    assert torch.cat([t.opening_um for t in drawn]).mean().item() == pytest.approx(4.0, rel=0.05)
    assert torch.cat([t.radius_um for t in drawn]).mean().item() == pytest.approx(50.0, rel=0.05)
    many = max(drawn, key=len)
    torch.testing.assert_close(many.normal.norm(dim=1), torch.ones_like(many.radius_um))
    touching = many.reach_um[:, None] + many.reach_um
    apart = squareform(pdist(many.center_um.numpy())) + np.diag(np.full(len(many), np.inf))
    assert len(many) > 5 and (apart > touching.numpy()).all()


def test_no_tears_move_nothing():
    tears = draw_tears(TearParams(tears_per_mm3=0.0), Key.of(0), LOW, HIGH)
    points = torch.rand(3, 10)
    assert len(tears) == 0
    assert tears.move(points).equal(points) and tears.undo(points).equal(points)


def test_too_many_tears_for_the_block_are_refused():
    with pytest.raises(InputError, match=r"no room for \d+ tears"):
        draw_tears(TearParams(tears_per_mm3=5000.0), Key.of(0), LOW, HIGH)


def test_overlapping_and_gaping_tears_are_refused():
    twice = (torch.cat([value, value]) for value in (CENTER, NORMAL))
    size = torch.ones(2, dtype=torch.float64)
    with pytest.raises(InputError, match="overlap"):
        Tears(*twice, size, 60 * size)
    with pytest.raises(InputError, match="narrower"):
        tear(opening=61.0)


@pytest.mark.parametrize(
    "bad",
    [{"tears_per_mm3": -1.0}, {"tear_radius_um": 0.0}, {"tear_opening_um": 25.0}],
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        TearParams(**bad)
