import pytest
import torch

from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.lattice import Boxes
from napari_neurobridge.simulation.optics.noise import shoot_, voxel_normals

CPU = torch.device("cpu")
KEY = Key.of(3)


def test_numbers_belong_to_voxels():
    whole = voxel_normals(KEY, Boxes.of([(-2, -5, -9)], (6, 30, 50)), CPU)[0]
    starts = [(0, 0, 0), (-1, 3, 5), (-2, -5, -9), (1, 4, -2)]
    parts = voxel_normals(KEY, Boxes.of(starts, (3, 20, 21)), CPU)
    for part, (z, y, x) in zip(parts, starts, strict=True):
        assert torch.equal(part, whole[z + 2 : z + 5, y + 5 : y + 25, x + 9 : x + 30][: len(part)])
        alone = voxel_normals(KEY, Boxes.of([(z, y, x)], (3, 20, 21)), CPU)[0]
        assert torch.equal(part, alone)


def test_numbers_are_standard_normal_and_unrelated():
    numbers = voxel_normals(KEY, Boxes.of([(0, 0, 0)], (20, 100, 200)), CPU)[0]
    assert numbers.mean() == pytest.approx(0, abs=0.01)
    assert numbers.var() == pytest.approx(1, rel=0.01)
    assert (numbers**4).mean() == pytest.approx(3, rel=0.03)
    for axis in range(3):
        length = numbers.shape[axis]
        shifted = numbers.narrow(axis, 1, length - 1) * numbers.narrow(axis, 0, length - 1)
        assert abs(shifted.mean()) < 0.01


def test_variance_follows_the_mean_and_darkness_keeps_the_read_noise():
    boxes = Boxes.of([(0, 0, 0)], (10, 100, 100))
    for level in (-0.01, 0.0, 0.5, 2.0):
        image = shoot_(torch.full(boxes.batch_shape, level), 40.0, 0.05, KEY, boxes)
        assert image.mean() == pytest.approx(level, abs=0.005)
        assert image.var() == pytest.approx(max(level, 0) / 40 + 0.05**2, rel=0.05)
