"""The search for one in-plane angle, on embeddings whose right angle is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.encoder.dual_channel import DualChannelEncoder, EncoderConfig
from napari_neurobridge.encoder.embed import Encoder
from napari_neurobridge.encoder.local_channel import LocalConfig
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.appearance.pose_search import (
    FEWEST_QUERIES,
    decidedness,
    quarter_turned,
    search_pose,
)

N_CELLS = 40


class TurningCells:
    """Cells whose vectors change smoothly with the angle, a quarter of them for each view."""

    def __init__(self, seed: int, n: int = N_CELLS, views: int = 4) -> None:
        rng = np.random.default_rng(seed)
        self._waves = rng.normal(size=(n, 11, 16)) + 1j * rng.normal(size=(n, 11, 16))
        self._views = views
        self.asked: list[float] = []

    def at(self, angle_deg: float) -> np.ndarray:
        self.asked.append(angle_deg)
        angles = np.deg2rad(angle_deg + 90.0 * np.arange(self._views))
        phases = np.exp(1j * np.outer(angles, np.arange(11)))
        vectors = np.einsum("vk,nkd->nvd", phases, self._waves).real
        vectors = vectors.reshape(len(vectors), -1)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=15, deadline=None)
@given(st.floats(-180, 180), st.sampled_from([1, 4]), st.integers(0, 3))
def test_the_angle_is_found_wherever_it_lies(right_deg: float, views: int, seed: int) -> None:
    cells = TurningCells(seed, views=views)
    found = search_pose(cells.at, cells.at(right_deg), views=views)
    assert found.known
    assert abs((found.angle_deg - right_deg + 180) % 360 - 180) < 2
    assert -180 <= found.angle_deg < 180
    assert found.proposal_deg == round(found.angle_deg)


def test_quarters_of_the_circle_are_not_embedded_again() -> None:
    for views, embedded in ((4, 9), (1, 36)):
        cells = TurningCells(0, views=views)
        gallery = cells.at(100.0)
        cells.asked.clear()
        search_pose(cells.at, gallery, views=views)
        assert len(cells.asked) == embedded + 2


def test_cells_of_another_field_give_no_angle() -> None:
    for seed in range(8):
        found = search_pose(TurningCells(seed).at, TurningCells(seed + 50).at(0.0), views=4)
        assert not found.known
        assert found.proposal_deg is None


def test_too_few_cells_give_no_angle() -> None:
    cells = TurningCells(0, n=FEWEST_QUERIES - 1)
    found = search_pose(cells.at, cells.at(40.0), views=4)
    assert found.deviations > 6
    assert not found.known


def test_crops_without_features_give_no_angle() -> None:
    same = np.ones((N_CELLS, 64), dtype=np.float32) / 8
    found = search_pose(lambda _: same, same, views=4)
    assert not found.known
    assert found.deviations == pytest.approx(0.0, abs=1e-6)


def test_empty_sides_are_refused_in_one_sentence() -> None:
    cells = TurningCells(0)
    with pytest.raises(InputError, match="no crops to compare"):
        search_pose(cells.at, np.zeros((0, 64), np.float32), views=4)
    with pytest.raises(InputError, match="no crops to turn"):
        search_pose(lambda _: np.zeros((0, 64), np.float32), cells.at(0), views=4)


def test_progress_is_told_and_can_stop_the_search() -> None:
    cells, told = TurningCells(0), []
    search_pose(cells.at, cells.at(0.0), views=4, report=lambda *step: told.append(step[:2]))
    assert told == [(done, 11) for done in range(12)]

    def stop(done: int, total: int, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_pose(cells.at, cells.at(0.0), views=4, report=stop)


def test_decidedness_is_one_for_sure_pairs_and_little_for_none() -> None:
    assert decidedness(np.eye(9)) == pytest.approx(1.0, abs=1e-9)
    assert decidedness(np.zeros((9, 9))) == pytest.approx(1 / 9)
    # Two queries want the one candidate: neither has it alone.
    shared = decidedness(np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert shared == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3, 4, -1])
def test_turned_embeddings_are_those_of_turned_crops(quarters: int) -> None:
    torch.manual_seed(0)
    local = LocalConfig(widths=(8, 16, 16))
    config = EncoderConfig(name="tiny", dim=32, channels="local", local_channel=local)
    encoder = Encoder(DualChannelEncoder(config), "0" * 12)
    assert config.views == 4
    crops = np.random.default_rng(1).random((3, 150, 150), dtype=np.float32)
    turned = np.ascontiguousarray(np.rot90(crops, quarters, axes=(1, 2)))
    direct = encoder.embed(turned, precision="float32")
    permuted = quarter_turned(encoder.embed(crops, precision="float32"), quarters)
    np.testing.assert_allclose(permuted, direct, atol=1e-5)
