import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.feature import ALIKED
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration import aliked
from napari_neurobridge.registration.aliked import VARIANTS, Aliked
from napari_neurobridge.registration.keypoints import PlanarImage


def texture(height: int, width: int, seed: int = 0, smooth: float = 3.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width))
    return gaussian_filter(noise, smooth)


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "random.pth"
    weights = ALIKED("aliked-n16").state_dict()
    del weights["dkd.hw_grid"]
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Aliked:
    return Aliked.load("aliked-n16rot", weights=shared_data / "weights" / "aliked-n16rot.pth")


def test_positions_are_um_of_the_image_as_given(random_weights: Path):
    extractor = Aliked.load("aliked-n16", weights=random_weights)
    image = PlanarImage.of(texture(150, 190), 0.7)
    found = extractor.extract(image, 200)
    assert 20 < len(found) <= 200
    assert found.positions_um.shape == (len(found), 2)
    assert (found.positions_um >= 0).all()
    assert (found.positions_um <= np.array(image.size_um)).all()
    assert found.positions_um[:, 1].max() > image.size_um[0]
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-4)
    np.testing.assert_array_equal(
        extractor.extract(image, 10).positions_um, found.positions_um[:10]
    )


def test_tiles_cover_the_image_and_find_no_place_twice(random_weights: Path, monkeypatch):
    extractor = Aliked.load("aliked-n16", weights=random_weights)
    image = PlanarImage.of(texture(256, 320), 1.0)
    whole = extractor.extract(image, 10_000)
    monkeypatch.setattr(aliked, "_TILE", 128)
    tiled = extractor.extract(image, 10_000)
    assert KDTree(tiled.positions_um).query_pairs(1.0) == set()
    assert abs(len(tiled) - len(whole)) < 0.15 * len(whole)
    away, _ = KDTree(tiled.positions_um).query(whole.positions_um)
    assert away.max() < 30


@pytest.mark.real_data
@pytest.mark.slow
def test_tiles_find_what_the_whole_image_shows(published: Aliked, monkeypatch):
    image = PlanarImage.of(texture(256, 320), 1.0)
    whole = published.extract(image, 300)
    monkeypatch.setattr(aliked, "_TILE", 128)
    away, _ = KDTree(published.extract(image, 10_000).positions_um).query(whole.positions_um)
    assert (away < 0.5).mean() > 0.95


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("pixel_um", [0.5, 1.0])
def test_published_weights_find_the_same_places_in_a_moved_image(published: Aliked, pixel_um):
    scene = texture(480, 480, smooth=2.5 / pixel_um)
    move = np.array([37, 21])
    first = published.extract(PlanarImage.of(scene[:400, :400], pixel_um), 300)
    second = published.extract(
        PlanarImage.of(2 * scene[move[0] : 400 + move[0], move[1] : 400 + move[1]] + 9, pixel_um),
        300,
    )
    likeness = first.descriptors @ second.descriptors.T
    nearest = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[nearest] == np.arange(len(first))
    shift = first.positions_um[mutual] - second.positions_um[nearest[mutual]]
    right = np.linalg.norm(shift - move * pixel_um, axis=1) < 1.5
    assert mutual.sum() > 100
    assert right.mean() > 0.8


@pytest.mark.real_data
def test_the_stated_digests_are_those_of_the_published_files(shared_data: Path):
    for variant, digest in VARIANTS.items():
        content = (shared_data / "weights" / f"{variant}.pth").read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


def test_what_are_no_weights_is_refused(tmp_path: Path):
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="holds no weights of aliked-n16"):
        Aliked.load("aliked-n16", weights=path)
    path.write_bytes(b"something")
    with pytest.raises(InputError, match="holds no weights of aliked-n16"):
        Aliked.load("aliked-n16", weights=path)
    torch.save({"other": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="something else than aliked-n16"):
        Aliked.load("aliked-n16", weights=path)
    with pytest.raises(InputError, match="no ALIKED named 'superpoint'"):
        Aliked.load("superpoint")
