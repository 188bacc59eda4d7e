"""The window's dimple and compression fade with depth as stated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_neurobridge.errors import InputError
from napari_neurobridge.simulation.deformation.window import Window, WindowParams, draw_window
from napari_neurobridge.simulation.keyed import Key

TOP_UM, DECAY_UM = 120.0, 200.0


def window(dimple: float = 0.0, compression: float = 0.0) -> Window:
    return Window(TOP_UM, (300.0, 400.0), dimple, 150.0, compression, DECAY_UM)


def column(depth_um: np.ndarray, y: float = 300.0, x: float = 400.0) -> torch.Tensor:
    depth = torch.from_numpy(np.asarray(depth_um, dtype=np.float64))
    return torch.stack([depth - TOP_UM, torch.full_like(depth, y), torch.full_like(depth, x)])


def test_dimple_rises_in_the_middle_and_fades_with_depth_and_distance():
    pushed = window(dimple=10.0)
    points = column([0.0, DECAY_UM, 3 * DECAY_UM])
    rise = points - pushed.move(points)
    assert rise[0].numpy() == pytest.approx(10 * np.exp([0, -1, -3]))
    assert (rise[1:] == 0).all()
    beside = column([0.0], y=300.0 + 150.0)
    assert float((beside - pushed.move(beside))[0]) == pytest.approx(10 * np.exp(-0.5))


def test_compression_stretches_the_surface_and_fades_with_depth():
    depth = np.array([0.0, 50.0, 200.0, 800.0])
    spread = window(compression=0.06)
    above, below = (spread.move(column(depth + shift))[0].numpy() for shift in (1e-4, 2e-4))
    stretch = (below - above) / 1e-4 - 1
    assert stretch == pytest.approx(0.06 * np.exp(-depth / DECAY_UM), abs=1e-6)


def test_all_above_the_surface_rises_with_it():
    points = column([-50.0, -5.0, 0.0])
    moved = window(dimple=5.0, compression=0.05).move(points)
    assert (points - moved)[0].numpy() == pytest.approx(5 + 0.05 * DECAY_UM)


@settings(deadline=None)
@given(
    dimple=st.floats(0, 100),
    compression=st.floats(0, 1),
    depth=st.lists(st.floats(-500, 3000), min_size=1, max_size=20),
)
def test_inverse_undoes_it(dimple, compression, depth):
    pushed = window(dimple, compression)
    points = column(depth)
    torch.testing.assert_close(pushed.undo(pushed.move(points)), points, atol=1e-8, rtol=0)


def test_drawn_windows_keep_within_their_parameters():
    params = WindowParams(dimple_um=9.0, compression=0.04)
    drawn = [
        draw_window(params, Key.of(s), (0, 10, 20), (50, 110, 420), TOP_UM) for s in range(200)
    ]
    centers = np.array([one.center_um for one in drawn])
    assert (centers >= (10, 20)).all() and (centers <= (110, 420)).all()
    assert np.mean([one.dimple_um for one in drawn]) == pytest.approx(4.5, rel=0.15)
    assert max(one.dimple_um for one in drawn) <= 9.0
    assert np.mean([one.compression for one in drawn]) == pytest.approx(0.02, rel=0.15)
    assert {one.top_um for one in drawn} == {TOP_UM}


@pytest.mark.parametrize(
    "bad", [{"dimple_um": -1.0}, {"compression": -0.1}, {"window_decay_um": 0}]
)
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        WindowParams(**bad)


def test_window_that_pulls_is_refused():
    with pytest.raises(InputError, match="negative"):
        window(dimple=-3.0)
