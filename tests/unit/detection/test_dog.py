import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from napari_neurobridge.detection.dog import DogParams, detect_somata
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.volumes import Volume, open_volume

VOXEL = (2.0, 1.3, 1.3)


class Tissue:
    """Balls and random fibres on a dark ground, painted voxel by voxel."""

    def __init__(self, shape, voxel_um, seed=0):
        self.rng = np.random.default_rng(seed)
        self.image = np.zeros(shape, np.float32)
        self.voxel = np.asarray(voxel_um)
        self.size = np.asarray(shape) * self.voxel

    def ball(self, center, radius, value, hole=0.0):
        low = np.clip(np.floor((center - radius) / self.voxel), 0, None).astype(int)
        high = np.clip(np.ceil((center + radius) / self.voxel) + 1, 0, self.image.shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) * self.voxel
        distance = np.linalg.norm(grid - center, axis=-1)
        painted = (distance <= radius) & (distance >= hole)
        self.image[box] = np.where(painted, np.maximum(self.image[box], value), self.image[box])

    def fibre(self, start, radius, value, length_um=300):
        position, direction = np.array(start, float), self.rng.normal(size=3)
        for _ in range(length_um):
            direction += self.rng.normal(size=3) * 0.07
            direction /= np.linalg.norm(direction)
            position += direction
            if ((position < 0) | (position >= self.size)).any():
                break
            self.ball(position, radius, value)

    def scatter(self, n, hole=0.0):
        centers = []
        while len(centers) < n:
            center = self.rng.uniform(0, 1, 3) * self.size
            if self.image.shape[0] == 1:
                center[0] = 0
            if all(np.linalg.norm(center - other) > 22 for other in centers):
                centers.append(center)
                radius, value = self.rng.uniform(5.5, 9.5), np.exp(self.rng.normal(0, 0.3))
                self.ball(center, radius, value, hole * radius)
                for _ in range(4):
                    self.fibre(center, self.rng.uniform(0.5, 1.5), value, 60)
        return np.array(centers)

    def volume(self, noise=0.05):
        blurred = gaussian_filter(self.image, np.where(np.array(self.image.shape) > 1, 0.6, 0))
        noisy = 1000 * blurred + 100 + self.rng.normal(0, 1000 * noise, blurred.shape)
        return Volume([noisy.astype(np.float32)], name="sim", voxel_size_um=tuple(self.voxel))


def f1_score(truth, found, within_um=5.0):
    distance = cdist(truth, found)
    pairs = linear_sum_assignment(np.where(distance <= within_um, distance, 1e3))
    hits = (distance[pairs] <= within_um).sum()
    return 2 * hits / (len(truth) + len(found))


def _tissue(hole=0.0, fibres=80):
    tissue = Tissue((60, 150, 150), VOXEL)
    centers = tissue.scatter(25, hole)
    for _ in range(fibres):
        start = tissue.rng.uniform(0, 1, 3) * tissue.size
        tissue.fibre(start, tissue.rng.uniform(0.5, 1.3), 1.2)
    return tissue, centers


@pytest.mark.parametrize(("hole", "noise"), [(0.0, 0.05), (0.0, 0.3), (0.6, 0.05), (0.0, 0.0)])
def test_balls_are_found_amid_bright_fibres(hole, noise):
    tissue, centers = _tissue(hole)
    detection = detect_somata(tissue.volume(noise))
    assert f1_score(centers, detection.centers_um) >= 0.9
    assert ((detection.confidence >= 0.5) & (detection.confidence <= 1)).all()
    assert ((detection.radius_um > 3) & (detection.radius_um < 16)).all()


def test_fibres_alone_are_no_somata():
    tissue = Tissue((50, 120, 120), VOXEL)
    tissue.ball(np.array([50.0, 80.0, 80.0]), 7.0, 1.0)
    for _ in range(60):
        tissue.fibre(tissue.rng.uniform(0, 1, 3) * tissue.size, 1.0, 1.5)
    assert len(detect_somata(tissue.volume())) == 1


@pytest.mark.parametrize("block_um", [60.0, 83.0, 1000.0])
def test_block_size_makes_no_difference(block_um):
    tissue, _ = _tissue(fibres=20)
    volume = tissue.volume()
    whole = detect_somata(volume)
    pieces = detect_somata(volume, DogParams(block_um=block_um))
    assert len(whole) == len(pieces)
    distance = cdist(whole.centers_um, pieces.centers_um)
    assert distance.min(axis=1).max() < 0.1
    assert np.allclose(np.sort(whole.confidence), np.sort(pieces.confidence), atol=1e-4)


def test_none_twice_at_the_border_of_two_blocks():
    tissue = Tissue((40, 120, 120), (2.0, 1.0, 1.0))
    # With blocks of 60 µm the borders are near 60 µm; a soma on each of several offsets.
    centers = [np.array([40.0, 58.0 + 2 * index, 20.0 + 25 * index]) for index in range(4)]
    for center in centers:
        tissue.ball(center, 7.0, 1.0)
    found = detect_somata(tissue.volume(), DogParams(block_um=60.0)).centers_um
    assert f1_score(np.array(centers), found, within_um=2.0) == 1


@pytest.mark.parametrize("radius", [5.0, 7.0, 10.0])
def test_center_and_radius(radius):
    tissue = Tissue((40, 90, 90), (2.0, 1.0, 1.0))
    center = np.array([41.3, 44.4, 43.7])
    tissue.ball(center, radius, 1.0)
    detection = detect_somata(tissue.volume(noise=0.02))
    assert len(detection) == 1
    assert np.linalg.norm(detection.centers_um[0] - center) < 1.0
    assert detection.radius_um[0] == pytest.approx(radius, rel=0.2)


@pytest.mark.parametrize("hole", [0.0, 0.5])
def test_a_plane(hole):
    tissue = Tissue((1, 300, 300), (1.0, 1.0, 1.0))
    centers = tissue.scatter(30, hole)
    detection = detect_somata(tissue.volume())
    assert (detection.centers_um[:, 0] == 0).all()
    assert f1_score(centers, detection.centers_um) >= (0.75 if hole else 0.9)


def test_a_pyramid_on_disk_gives_true_positions(tmp_path):
    tissue = Tissue((50, 200, 200), (2.0, 0.6, 0.6))
    centers = np.array([[30.0, 40.0, 40.0], [60.0, 80.0, 90.0], [50.0, 30.0, 100.0]])
    for center in centers:
        tissue.ball(center, 7.0, 1.0)
    image = np.asarray(tissue.volume().levels[0]).clip(0).astype(np.uint16)
    path = write_ome_zarr(tmp_path / "a.zarr", image, voxel_size_um=(2.0, 0.6, 0.6), levels=3)
    found = detect_somata(open_volume(path, name="fmost")).centers_um
    assert f1_score(centers, found, within_um=1.0) == 1


def test_saturated_plateaus_are_found_once():
    tissue = Tissue((40, 90, 90), (2.0, 1.0, 1.0))
    center = np.array([40.0, 45.0, 45.0])
    tissue.ball(center, 9.0, 1.0)
    image = (tissue.image > 0).astype(np.float32) * 255
    detection = detect_somata(Volume([image], name="a", voxel_size_um=(2.0, 1.0, 1.0)))
    assert len(detection) == 1


@pytest.mark.parametrize("value", [0.0, 1000.0])
def test_nothing_there_is_no_error(value):
    image = np.full((20, 40, 40), value, np.float32)
    detection = detect_somata(Volume([image], name="a", voxel_size_um=(2.0, 1.0, 1.0)))
    assert len(detection) == 0
    assert detection.centers_um.shape == (0, 3)


def test_nan_pixels_are_refused():
    image = np.zeros((20, 40, 40), np.float32)
    image[3, 2, 1] = np.nan
    with pytest.raises(InputError, match=r"fmost holds NaN.*z 3, y 2, x 1"):
        detect_somata(Volume([image], name="fmost", voxel_size_um=(2.0, 1.0, 1.0)))


def test_progress_and_cancelling():
    volume = Volume([np.zeros((20, 90, 90), np.float32)], name="a", voxel_size_um=(2.0, 1.0, 1.0))
    seen = []
    detect_somata(volume, DogParams(block_um=50), report=lambda *step: seen.append(step[:2]))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 1

    def cancel(done, total, message):
        raise Cancelled

    with pytest.raises(Cancelled):
        detect_somata(volume, report=cancel)
