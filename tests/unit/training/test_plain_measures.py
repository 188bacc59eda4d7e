import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import pearsonr
from skimage.metrics import mean_squared_error, structural_similarity

from napari_neurobridge.training.plain_measures import (
    PlainMeasure,
    PoseRange,
    band_passed,
    plain_similarity,
)

STILL = PoseRange(max_angle_deg=0, max_shift_px=0)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def textures(n, seed, pixels=40):
    noise = np.random.default_rng(seed).normal(size=(n, pixels, pixels))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
    low, high = smooth.min((1, 2), keepdims=True), smooth.max((1, 2), keepdims=True)
    return ((smooth - low) / (high - low)).astype(np.float32)


def nmi_oracle(a, b, bins=16):
    joint, _, _ = np.histogram2d(a.ravel(), b.ravel(), bins=bins, range=[[0, 1], [0, 1]])

    def entropy(counts):
        p = counts[counts > 0] / counts.sum()
        return -(p * np.log(p)).sum()

    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / entropy(joint)


def ssim_oracle(a, b):
    _, full = structural_similarity(a, b, data_range=1.0, full=True)
    return full[3:-3:3, 3:-3:3].mean()


ORACLES = {
    PlainMeasure.NMI: nmi_oracle,
    PlainMeasure.SSIM: ssim_oracle,
    PlainMeasure.PEARSON: lambda a, b: pearsonr(a.ravel(), b.ravel())[0],
    PlainMeasure.COSINE: lambda a, b: (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()),
    PlainMeasure.MSE: lambda a, b: -mean_squared_error(a, b),
}


@pytest.mark.parametrize("measure", list(PlainMeasure))
def test_without_search_each_measure_is_the_textbooks(measure):
    a, b = textures(3, seed=1), textures(4, seed=2)
    b[0] = np.clip(a[0] * 0.8 + 0.1 * b[0], 0, 1)
    similarity = plain_similarity(measure, a, b, search=STILL)
    assert similarity.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            assert similarity[i, j] == pytest.approx(ORACLES[measure](a[i], b[j]), abs=2e-5)


@pytest.mark.parametrize("measure", list(PlainMeasure))
def test_search_undoes_a_rotation_and_a_shift(measure):
    field = textures(3, seed=5, pixels=80)
    fmost = field[:, 20:60, 20:60]
    turned = ndimage.rotate(field, 10, axes=(1, 2), reshape=False, order=1)
    two_photon = turned[:, 25:65, 16:56]
    moved = plain_similarity(measure, two_photon, fmost)
    still = plain_similarity(measure, two_photon, fmost, search=STILL)
    assert (np.diag(moved) > np.diag(still)).all()
    assert (moved.argmax(axis=1) == np.arange(3)).all()


def test_poses_cover_the_ranges_and_the_identity():
    poses = PoseRange().poses()
    assert poses.shape == (7 * 5 * 5, 3)
    np.testing.assert_allclose(np.rad2deg(poses[:, 0]).min(), -15, atol=1e-4)
    np.testing.assert_allclose(np.abs(poses[:, 1:]).max(), 5)
    assert (poses == 0).all(axis=1).any()


def test_report_counts_queries():
    seen = []
    crops = textures(2, seed=0)
    plain_similarity(
        PlainMeasure.MSE, crops, crops, search=STILL, report=lambda d, n, _: seen.append((d, n))
    )
    assert seen == [(1, 2), (2, 2)]


def test_poses_of_smaller_crops_reach_as_far():
    search = PoseRange().for_crops(50)
    assert (search.max_shift_px, search.max_angle_deg) == (pytest.approx(5 / 3), 15)
    assert len(search.poses()) == len(PoseRange().poses())
    assert PoseRange().for_crops(150) == PoseRange()


def test_a_band_is_what_lies_between_two_blurs_with_mean_0_and_deviation_1():
    rows = np.arange(150) * 0.8
    waves = {
        length: np.broadcast_to(0.5 + 0.3 * np.sin(2 * np.pi * rows / length), (150, 150))
        for length in (3.0, 30.0, 240.0)
    }
    mixed = (waves[3.0] + waves[30.0] + waves[240.0]) / 3
    band = band_passed(np.stack([mixed**2, waves[30.0] ** 2]).astype(np.float32))
    np.testing.assert_allclose(band.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(band.std(axis=(1, 2)), 1, atol=1e-4)
    middle = band[:, 40:110, 40:110]
    assert np.corrcoef(middle[0].ravel(), middle[1].ravel())[0, 1] > 0.98
    # Neither brightness nor contrast is left, and of nothing nothing is made.
    dimmed = band_passed((0.3 * mixed**2).astype(np.float32)[None])
    np.testing.assert_allclose(dimmed[0], band[0], atol=0.02)
    assert not band_passed(np.full((1, 30, 30), 0.4, np.float32)).any()
