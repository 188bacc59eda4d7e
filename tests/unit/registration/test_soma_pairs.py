"""Crops laid on each other by a map, and what a network makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_neurobridge.errors import InputError
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import FEATURE_NET, SOMA_PAIR_NET
from napari_neurobridge.models.weights import save_network
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.soma_pairs import (
    CropSource,
    SomaPairConfig,
    SomaPairJudge,
    SomaPairNet,
    fitted_linear,
    load_soma_pair_net,
)

SMALL = SomaPairConfig(width=4, crop_px=16)


def affine(angle_deg: float, stretch: float) -> np.ndarray:
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([1.0, stretch])


def blobs(places: np.ndarray, sizes: np.ndarray, linear: np.ndarray, side: int = 300) -> np.ndarray:
    """Draw somata, seen through a map about the middle of the image."""
    grid = np.stack(np.indices((side, side)), axis=-1) - side / 2
    back = grid @ np.linalg.inv(linear).T + side / 2
    image = np.zeros((side, side))
    for place, size in zip(places, sizes, strict=True):
        image += np.exp(-0.5 * ((back - place) ** 2).sum(axis=-1) / size**2)
    return image.astype(np.float32)


@pytest.fixture
def tissue() -> tuple[np.ndarray, np.ndarray]:
    """Places and sizes of somata, of which some lie near each other."""
    rng = np.random.default_rng(3)
    return rng.uniform(70, 230, (40, 2)), rng.uniform(3, 7, 40)


def test_a_crop_shows_what_the_map_lays_on_it(tissue) -> None:
    linear = affine(35, 1.15)
    straight = CropSource(blobs(*tissue, np.eye(2)), 1.0)
    moved = CropSource(blobs(*tissue, linear), 1.0)
    places = tissue[0][:8]
    goals = (places - 150) @ linear.T + 150
    # Offsets of the target's crop, taken back to the source, are what the map makes of them.
    here = straight.crops(places, 33, 1.0, np.linalg.inv(linear))
    there = moved.crops(goals, 33, 1.0)
    np.testing.assert_allclose(here, there, atol=0.03)
    np.testing.assert_allclose(here[:, 16, 16], straight.crops(places, 1, 1.0)[:, 0, 0], rtol=1e-6)


def test_pixels_of_another_size_show_the_same_place(tissue) -> None:
    fine = PlanarImage.of(blobs(*tissue, np.eye(2)), 0.5)
    source = CropSource.of(fine)
    assert source.pixel_um == 1.0
    middle = source.crops(np.array([[75.0, 75.0]]), 3, 2.0)[0]
    np.testing.assert_allclose(middle[1, 1], source.values[75, 75], rtol=1e-6)
    np.testing.assert_allclose(middle[1, 2], source.values[75, 77], rtol=1e-6)


def test_beyond_the_image_there_is_nothing() -> None:
    source = CropSource(np.ones((40, 40), dtype=np.float32), 1.0)
    crop = source.crops(np.array([[0.0, 20.0]]), 9, 1.0)[0]
    assert (crop[:4] == 0).all()
    assert (crop[4:] == 1).all()


def test_the_linear_part_of_pairs_is_fitted_or_refused() -> None:
    rng = np.random.default_rng(0)
    places, linear = rng.uniform(0, 100, (9, 2)), affine(120, 0.8)
    found = fitted_linear(places, places @ linear.T + 7)
    assert found is not None
    np.testing.assert_allclose(found, linear, atol=1e-9)
    assert fitted_linear(places[:2], places[:2]) is None
    assert fitted_linear(places, places * (1.0, 0.2)) is None
    assert fitted_linear(places * (1.0, 0.0), places) is None


def test_the_bundled_network_tells_right_pairs_from_shifted_ones(tissue) -> None:
    places, sizes = tissue
    linear = affine(-70, 1.1)
    images = [PlanarImage.of(blobs(places, sizes, m), 1.0) for m in (np.eye(2), linear)]
    judge = SomaPairJudge(
        load_soma_pair_net(bundled_model(SOMA_PAIR_NET)), *map(CropSource.of, images)
    )
    goals = (places - 150) @ linear.T + 150
    right = judge(places, goals)
    # Each soma with that which lies 45 µm to one side in truth, or the nearest to there.
    shifted = np.linalg.norm(places[:, None] + (45.0, 0) - places[None], axis=2).argmin(axis=1)
    moved = np.flatnonzero(shifted != np.arange(len(places)))
    wrong = judge(places[moved], goals[shifted[moved]])
    assert np.median(right) > 1.0
    assert np.median(wrong) < -0.5
    assert (right[:, None] > wrong[None]).mean() > 0.9


def test_pairs_that_fit_no_map_say_nothing(tissue) -> None:
    image = CropSource(blobs(*tissue, np.eye(2)), 1.0)
    judge = SomaPairJudge(SomaPairNet(SMALL).eval(), image, image)
    np.testing.assert_array_equal(judge(tissue[0][:2], tissue[0][:2]), [0, 0])


def test_a_network_is_kept_in_a_folder_and_another_kind_is_refused(tmp_path) -> None:
    net = SomaPairNet(SMALL).eval()
    save_network(net, SMALL, tmp_path / "net", half=False)
    crops = torch.rand(3, 2, 16, 16)
    torch.testing.assert_close(load_soma_pair_net(tmp_path / "net")(crops), net(crops))
    with pytest.raises(InputError, match="kind"):
        load_soma_pair_net(bundled_model(FEATURE_NET))
