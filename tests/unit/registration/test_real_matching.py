"""A plain matcher of real descriptors goes through the whole registration.

SIFT stands for any matcher: it knows nothing of discs that say who they are, so that wrong
matches, edges of turned images and the fading beyond their borders are what they would be.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.feature import SIFT, match_descriptors

from napari_neurobridge.registration.consensus import consensus
from napari_neurobridge.registration.image_matches import ImageMatches, lifted
from napari_neurobridge.registration.image_registration import register_planes
from napari_neurobridge.registration.keypoints import PlanarImage

SIZE = 200


class SiftMatcher:
    """SIFT, mutual nearest descriptors with Lowe's ratio, and one similarity as verification."""

    def match(self, source, target, *, report=None) -> ImageMatches:
        described = []
        for plane in (source, target):
            sift = SIFT(upsampling=1)
            try:
                sift.detect_and_extract(plane.standardised())
            except RuntimeError:  # no keypoints
                return ImageMatches([], [], [], [], 0.5, 0.0, 0, 0)
            described.append((sift.keypoints * plane.pixel_um, sift.descriptors))
        (here, first), (there, second) = described
        rows = match_descriptors(first, second, max_ratio=0.85, cross_check=True)
        source_um, target_um = here[rows[:, 0]], there[rows[:, 1]]
        right = consensus(source_um, target_um, tolerance_um=10.0)
        return ImageMatches(
            source_um,
            target_um,
            np.ones(len(rows)),
            np.where(right, 0.9, 0.1),
            0.5,
            float(right.mean()) if len(rows) else 0.0,
            len(here),
            len(there),
        )


def tissue(seed: int, size: int = 420) -> np.ndarray:
    """Return cells and fibres of several sizes and brightnesses."""
    generator = np.random.default_rng(seed)
    image = 2.0 * gaussian_filter(generator.normal(size=(size, size)), 3.0)
    for radius in (2.0, 4.0):
        cells = np.zeros((size, size))
        rows, columns = generator.integers(0, size, (2, 500))
        cells[rows, columns] = generator.gamma(2.0, 1.0, 500)
        image += radius**2 * gaussian_filter(cells, radius)
    return image


def bend(points: np.ndarray) -> np.ndarray:
    """Return where the target shows what the source shows there."""
    angle = np.deg2rad(140.0)
    cos, sin = np.cos(angle), np.sin(angle)
    middle = np.array([SIZE / 2, SIZE / 2])
    turned = (points - middle) @ np.array([[cos, sin], [-sin, cos]]) * 0.95 + [210.0, 200.0]
    return turned + 3.0 * np.sin(points[:, ::-1] / 60.0)


def pair(seed: int) -> tuple[PlanarImage, PlanarImage]:
    """Return a source that was cut, bent, out of a target, both with noise of their own."""
    generator = np.random.default_rng(seed + 1000)
    target = tissue(seed)
    grid = np.stack(np.indices((SIZE, SIZE)), axis=-1).reshape(-1, 2).astype(float)
    source = map_coordinates(target, bend(grid).T, order=1).reshape(SIZE, SIZE)
    planes = [values + 0.1 * generator.normal(size=values.shape) for values in (source, target)]
    return PlanarImage.of(planes[0], 1.0), PlanarImage.of(3.0 * planes[1] + 50.0, 1.0)


@pytest.mark.slow
def test_bent_turned_noisy_tissue_is_found_again() -> None:
    source, target = pair(0)
    found = register_planes(source, target, SiftMatcher(), angles=(120.0,))
    assert found.decision.accepted, found.decision.reason
    grid = np.stack(np.meshgrid(*[np.arange(30.0, 170.0, 10.0)] * 2), axis=-1).reshape(-1, 2)
    mapped = found.transform.map_points(lifted(grid))[:, 1:]
    assert np.median(np.linalg.norm(mapped - bend(grid), axis=1)) < 1.5
    assert abs((found.evidence.angle_deg - 140 + 180) % 360 - 180) < 3


@pytest.mark.slow
@pytest.mark.parametrize("change", ["other tissue", "mirrored"])
def test_other_tissue_and_its_mirror_image_are_refused(change) -> None:
    source, target = pair(0)
    if change == "mirrored":
        source = PlanarImage(np.ascontiguousarray(source.values[:, ::-1]), 1.0)
    else:
        source, _ = pair(7)
    found = register_planes(source, target, SiftMatcher(), angles=(120.0,))
    assert not found.decision.accepted
    assert ("seems mirrored" in found.decision.reason) == (change == "mirrored")
