"""Real somata: four painted squares of one half of a block, and what is told of the other half."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tifffile

from napari_neurobridge.detection.segment import SegmentedVolume
from napari_neurobridge.detection.unet import SegmenterNet, load_segmenter
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.models.current import bundled_model
from napari_neurobridge.models.model_folder import SEGMENTER
from napari_neurobridge.training.painted_labels import painted_planes, train_on_labels

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

logger = logging.getLogger(__name__)

# Nobody noted the voxels: of these, somata are some 13 µm wide.
VOXEL_UM = (1.3, 0.45, 0.45)
LEFT, RIGHT = slice(0, 150), slice(175, 325)
HALF_PX = 30


def overlap(net: SegmenterNet, volume: Volume, truth: np.ndarray) -> tuple[float, float]:
    """Return intersection over union of the right half, and recall of the somata's pixels."""
    seen = SegmentedVolume.prepare(volume, net)
    factor = np.rint(np.array(seen.grid.voxel_um) / VOXEL_UM).astype(int)
    told = np.zeros(seen.grid.shape, dtype=np.float32)
    for block in seen.blocks(1000.0):
        inner = tuple(slice(a, b) for a, b in zip(block.start, block.stop, strict=True))
        told[inner] = seen.probability(block)[block.inner]
    for axis, times in enumerate(factor):
        told = np.repeat(told, times, axis=axis)
    told = told[tuple(slice(n) for n in truth.shape)]
    found, wanted = told[..., RIGHT] > net.config.watershed.inside, truth[..., RIGHT]
    return (found & wanted).sum() / (found | wanted).sum(), (found & wanted).sum() / wanted.sum()


def test_four_painted_squares_of_one_half_help_in_the_other(shared_data):
    folder = shared_data / "most_soma"
    # Of two blocks in one file the first; the mask of its last plane is a copy.
    image = tifffile.imread(folder / "volume.tif")[:28]
    truth = tifffile.imread(folder / "labels.tif")[:28] > 0
    labels = np.zeros(image.shape, dtype=np.uint16)
    rng = np.random.default_rng(0)
    for plane in rng.choice(np.arange(2, 26), 4, replace=False):
        at = np.argwhere(truth[plane, :, LEFT])
        y, x = at[rng.integers(len(at))]
        rows = slice(max(y - HALF_PX, 0), y + HALF_PX)
        spot = (plane, rows, slice(max(x - HALF_PX, 0), min(x + HALF_PX, LEFT.stop)))
        labels[spot] = np.where(truth[spot], 2, 1)
    volume = Volume([image], name="most", voxel_size_um=VOXEL_UM)
    net = load_segmenter(bundled_model(SEGMENTER))
    learned = train_on_labels(net, painted_planes(volume, labels, net.config))
    before, after = overlap(net, volume, truth), overlap(learned, volume, truth)
    share = np.count_nonzero(labels) / labels[..., LEFT].size
    logger.info(
        "painted %.2f %% of the left half; IoU and recall on the right half: %.3f, %.3f before, "
        "%.3f, %.3f after",
        *(100 * share, *before, *after),
    )
    assert after[0] > before[0] + 0.03
    assert after[1] > before[1]
