import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_neurobridge.detection.filters import (
    SCALE_STEP,
    TRUNCATE,
    difference_of_gaussians,
    gaussian_kernel,
    smooth,
)


def _ball(radius_um, voxel_um, shape):
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    middle = (np.asarray(shape) - 1) / 2
    distance = np.linalg.norm((grid - middle) * np.asarray(voxel_um), axis=-1)
    return torch.from_numpy((distance <= radius_um).astype(np.float32))


@pytest.mark.parametrize("sigma", [0.2, 0.7, 3.3])
def test_kernels_are_normal(sigma):
    kernel = gaussian_kernel(sigma).numpy()
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert np.array_equal(kernel, kernel[::-1])
    # Integration over a voxel adds its own variance of 1/12.
    if sigma > 0.5:
        assert (offsets**2 * kernel).sum() == pytest.approx(sigma**2 + 1 / 12, rel=0.03)


def test_smooth_is_scipys_with_physical_sizes():
    image = np.random.default_rng(0).random((14, 20, 31)).astype(np.float32)
    voxel = (2.0, 1.0, 0.5)
    smoothed = smooth(torch.from_numpy(image), 4.0, voxel).numpy()
    expected = gaussian_filter(image, 4.0 / np.array(voxel), mode="nearest", truncate=TRUNCATE)
    assert np.allclose(smoothed, expected, atol=2e-3)


def test_a_plane_is_not_smoothed_along_z():
    image = torch.rand(1, 20, 20)
    assert np.allclose(smooth(image, 3.0, (1, 1, 1)), smooth(image, 3.0, (99, 1, 1)))


@pytest.mark.parametrize(
    ("voxel", "shape"), [((1.0, 1.0, 1.0), (81, 81, 81)), ((1.0, 1.0, 1.0), (1, 81, 81))]
)
@pytest.mark.parametrize("radius", [6.0, 9.0])
def test_a_ball_gives_its_contrast_at_its_own_scale(voxel, shape, radius):
    radii = [radius / SCALE_STEP, radius, radius * SCALE_STEP]
    image = 50 + 100 * _ball(radius, voxel, shape)
    answers = difference_of_gaussians(image, radii, voxel)
    at_center = answers[:, shape[0] // 2, 40, 40]
    assert at_center.argmax() == 1
    assert float(at_center[1]) == pytest.approx(100, rel=0.05)
    assert tuple(np.unravel_index(int(answers[1].argmax()), shape)) == (shape[0] // 2, 40, 40)


def test_a_flat_image_gives_nothing():
    answers = difference_of_gaussians(torch.full((9, 30, 30), 1000.0), [4.0, 6.0], (2, 1, 1))
    assert float(answers.abs().max()) < 0.01
