"""Boundaries of cells in an electron micrograph: the segmenter's network, watershed and measure."""

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from napari_neurobridge.detection.planes import plane_scales, standardised
from napari_neurobridge.detection.segment import SegmentedVolume
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
from napari_neurobridge.detection.watershed import (
    fit_watershed,
    instances,
    variation_of_information,
    watershed_grid,
)
from napari_neurobridge.io.volumes import Volume
from napari_neurobridge.training.loop import LoopConfig, train
from napari_neurobridge.training.segmenter_task import segmentation_loss

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

VOXEL_UM = (0.05, 0.004, 0.004)
CONFIG = SegmenterConfig(
    name="membranes", target="boundaries", width=6, halvings=2, planes=1, pixel_um=0.004
)
GRID = watershed_grid(
    smooth_px=(1.0, 2.0), seed=(0.5, 0.7), inside=(0.5,), distance_px=(6, 12), radius_px=(3.5,)
)


def test_membranes_learned_on_one_corner_cut_cells_in_another(shared_data):
    """Train on 128 pixels of a section, fix the watershed there, and look beside it."""
    folder = shared_data / "em_membrane"
    section, corner, other = 3, np.s_[:128, :128], np.s_[:128, 256:384]
    image = tifffile.imread(folder / "images.tif")[section].astype(np.float32)
    membrane = tifffile.imread(folder / "labels.tif")[section] == 0
    seen = standardised(image[None], plane_scales(image[None]))[0]
    windows = torch.from_numpy(seen[corner])[None, None]
    wanted = torch.from_numpy(membrane[corner])[None].float()
    torch.manual_seed(0)
    net = SegmenterNet(CONFIG)
    loop = LoopConfig(steps=60, learning_rate=5e-3, warmup_steps=5)
    for _ in train(net, lambda *_: segmentation_loss(net(windows), wanted), loop):
        pass
    volume = Volume([image[None]], name="section", voxel_size_um=VOXEL_UM)
    view = SegmentedVolume.prepare(volume, net)
    (whole,) = view.blocks(100.0)
    told = view.probability(whole)[0]
    truth, _ = ndimage.label(~membrane)
    params, cost = fit_watershed([told[corner]], [truth[corner]], "boundaries", GRID)
    bits = sum(variation_of_information(truth[other], instances(told[other], "boundaries", params)))
    blind = np.full_like(told[other], 0.5)
    guessed = sum(variation_of_information(truth[other], instances(blind, "boundaries", params)))
    assert cost < 1.0
    assert bits < 0.6 * guessed
