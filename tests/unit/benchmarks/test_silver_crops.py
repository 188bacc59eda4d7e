import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from scipy import ndimage

from napari_neurobridge.benchmarks import silver_crops
from napari_neurobridge.benchmarks.silver_crops import SilverCropsParameters, benchmark_silver_crops
from napari_neurobridge.benchmarks.two_photon_optics import through_two_photon
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.training.fine_tune import FineTuneConfig, FineTuneReport

VOXEL_UM = (4.0, 2.0, 2.0)
SHIFT_UM = (0.0, 8.0, -6.0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def cells_of(shape, centers_um):
    image = np.zeros(shape, np.float32)
    z, y, x = np.rint(centers_um / np.array(VOXEL_UM)).astype(int).T
    image[z, y, x] = 1
    image = ndimage.gaussian_filter(image, (1.2, 2.5, 2.5))
    return 100 + 900 * image / image.max()


@pytest.fixture(scope="module")
def tissue():
    """Two volumes of 80 cells, 760 µm long, and where the cells are."""
    rng = np.random.default_rng(0)
    centers_um = np.column_stack(
        [rng.uniform(16, 44, 80), rng.uniform(70, 90, 80), np.linspace(60, 700, 80)]
    )
    first, second = (
        cells_of((16, 80, 380), places) for places in (centers_um, centers_um + SHIFT_UM)
    )
    return first, second, centers_um


def test_the_optics_blur_shade_and_add_noise_but_leave_cells_where_they_are(tissue):
    first, _, centers_um = tissue
    volume = Volume([first], name="first", voxel_size_um=VOXEL_UM)
    seen = through_two_photon(volume, centers_um, seed=1)
    assert seen.voxel_size_um == (2.0, 1.0, 1.0)
    assert np.subtract(volume.extent_um, seen.extent_um).max() <= 2.0
    image = seen.read((0, 0, 0), seen.shape)
    again = through_two_photon(volume, centers_um, seed=1)
    assert np.array_equal(again.read((0, 0, 0), again.shape), image)
    z, y, x = np.rint(centers_um / np.array(seen.voxel_size_um)).astype(int).T
    at_cells = image[z, y, x]
    # Blurred and scattered, so below the 1 that a median cell has before.
    assert 0.3 < np.median(at_cells) < 1.5
    assert np.median(at_cells) > 2 * np.median(image)
    smooth = ndimage.gaussian_filter(image, (1.5, 3, 3))
    moved = [
        np.median(smooth[z, (y + dy) % 160, (x + dx) % 760])
        for dy, dx in ((0, 0), (8, 0), (-8, 0), (0, 8), (0, -8))
    ]
    assert np.argmax(moved) == 0


def test_positions_that_are_no_cells_are_refused(tissue):
    first, _, centers_um = tissue
    volume = Volume([first.max() - first], name="inverted", voxel_size_um=VOXEL_UM)
    with pytest.raises(InputError, match="no brighter than its background"):
        through_two_photon(volume, centers_um)


@pytest.fixture
def files(tissue, tmp_path):
    first, second, centers_um = tissue
    for name, image in (("first", first), ("second", second)):
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            image.astype(np.uint16),
            imagej=True,
            resolution=(0.5, 0.5),
            metadata={"axes": "ZYX", "spacing": 4.0, "unit": "um"},
        )
    table = np.hstack([centers_um, centers_um + SHIFT_UM])
    names = [f"{side}_{axis}_um" for side in ("a", "b") for axis in "zyx"]
    pd.DataFrame(table, columns=names).to_csv(tmp_path / "pairs.csv", index=False)
    return tmp_path / "first.tif", tmp_path / "second.tif", tmp_path / "pairs.csv"


class Correlation:
    """Stands in for an encoder: its similarity is a correlation of blurred crops."""

    name, hash, model = "correlation", "0" * 12, None

    def __init__(self, model=None, weights_hash=""):
        self.sigma = model or 3

    def embed(self, crops):
        blurred = ndimage.gaussian_filter(crops, (0, self.sigma, self.sigma))[:, ::4, ::4]
        flat = blurred.reshape(len(crops), -1)
        flat = flat - flat.mean(axis=1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_blocks_of_a_real_tissue_lie_a_crop_apart_at_either_end(files, tissue, monkeypatch):
    parts = []

    def tune(model, train, validation, config):
        parts.append((train, validation, config))
        yield FineTuneReport("done", 1, 1, 0.1, None, 0.1, 5, 1.0, 0.0)

    monkeypatch.setattr(silver_crops, "fine_tune", tune)
    monkeypatch.setattr(silver_crops, "Encoder", Correlation)
    two_photon, fmost, pairs = files
    asked = SilverCropsParameters(
        two_photon=two_photon, fmost=fmost, pairs=pairs,
        strategy=Strategy.LINEAR, steps=3, seed=2, level="easy",
    )  # fmt: skip
    result = benchmark_silver_crops(Correlation(), asked)
    assert (result.axis, result.gap_um, result.strategy) == ("x", 120.0, "linear")
    assert "two-photon optics" in result.optics
    assert [fold.best_step for fold in result.folds] == [5, 5]
    assert result.top1_before == result.top1_after > 0.5
    assert result.level == "easy"
    for fold in result.folds:
        assert fold.before == fold.after
        assert fold.before.topk_53["1"] >= fold.before.topk["1"]
        assert fold.correlation.auc > 0.5
    (first, first_check, config), (second, _, _) = parts
    assert config == FineTuneConfig(strategy=Strategy.LINEAR, steps=3, seed=2)
    assert first.center_um[:, 2].max() + 120 <= first_check.center_um[:, 2].min()
    assert first.center_um[:, 2].max() + 240 < second.center_um[:, 2].min()
    for fold, (train, _, _) in zip(result.folds, parts, strict=True):
        assert fold.n_train == len(train) >= 10
        assert fold.n_test >= 15


def test_test_pairs_share_no_pixel_with_training_pairs(tissue):
    _, _, centers_um = tissue
    places = [centers_um[:, 2], centers_um[:, 2] + SHIFT_UM[2]]
    train, validation, test = silver_crops._blocks(places, 120.0)
    for along in places:
        assert along[validation].min() - along[train].max() >= 120
        assert along[test].min() - along[validation].max() >= 120


def test_a_short_tissue_is_refused(tissue):
    _, _, centers_um = tissue
    with pytest.raises(InputError, match="three blocks that are 120 µm apart"):
        silver_crops._blocks([centers_um[:20, 2]] * 2, 120.0)
