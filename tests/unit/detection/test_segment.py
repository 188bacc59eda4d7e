"""Applying a segmenter to volumes and planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_neurobridge.detection.segment import (
    SegmentedVolume,
    SegmentParams,
    segment_somata,
    somata_in,
)
from napari_neurobridge.detection.unet import SegmenterConfig, SegmenterNet
from napari_neurobridge.detection.watershed import WatershedParams
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.volumes import Volume, open_volume

RADIUS_UM = 7.0


class Bright(SegmenterNet):
    """Takes bright pixels of the middle plane for somata."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == self.config.planes
        assert images.shape[2] % self.config.multiple == 0
        return 6 * (images[:, self.config.planes // 2] - 1.5)


def bright() -> Bright:
    cut = WatershedParams(seed=0.5, inside=0.5)
    return Bright(SegmenterConfig(width=2, halvings=2, planes=3, watershed=cut))


def balls(shape: tuple[int, int, int], voxel_um: tuple[float, ...], seed: int = 0):
    """Return an image with balls, and their centres in µm."""
    rng = np.random.default_rng(seed)
    extent = (np.array(shape) - 1) * voxel_um
    centers: list[np.ndarray] = []
    for center in rng.uniform(0, 1, (200, 3)) * extent:
        if len(centers) < 12 and all(np.linalg.norm(center - other) > 24 for other in centers):
            centers.append(center)
    grid = np.stack(np.indices(shape), axis=-1) * np.array(voxel_um)
    image = rng.normal(100, 2, shape)
    for center in centers:
        image[np.linalg.norm(grid - center, axis=-1) < RADIUS_UM] += 100
    return image.astype(np.float32), np.array(centers)


def nearest(found: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found[:, None] - centers, axis=-1).min(axis=0)


@pytest.mark.parametrize("voxel", [(2.0, 1.0, 1.0), (5.0, 1.2, 0.9), (2.0, 2.0, 2.0)])
def test_balls_are_found_where_they_are_in_um(voxel) -> None:
    shape = tuple(int(length / size) for length, size in zip((90, 130, 140), voxel, strict=True))
    image, centers = balls(shape, voxel)
    found = segment_somata(Volume([image], name="x", voxel_size_um=voxel), bright())
    inside = ((centers > 8) & (centers < np.array((90, 130, 140)) - 8)).all(axis=1)
    assert inside.sum() >= 5
    assert (nearest(found.centers_um, centers[inside]) < 1.5).all()
    assert len(found) <= len(centers)
    assert abs(np.median(found.radius_um) - RADIUS_UM) < 1.2
    assert (found.confidence >= 0.5).all()
    assert (np.diff(found.confidence) <= 0).all()


def test_a_ball_whose_middle_is_beyond_a_face_is_left_out() -> None:
    grid = np.stack(np.indices((20, 40, 40)), axis=-1) * 2.0
    image = np.random.default_rng(0).normal(100, 2, (20, 40, 40))
    for center in [(-4.0, 30.0, 20.0), (20.0, 40.0, 82.0), (20.0, 20.0, 40.0), (6.0, 60.0, 60.0)]:
        # Brighter towards the middle.
        away = np.linalg.norm(grid - center, axis=-1)
        image += np.where(away < RADIUS_UM, 20 * (RADIUS_UM - away) + 20, 0)
    found = segment_somata(
        Volume([image.astype(np.float32)], name="x", voxel_size_um=(2.0, 2.0, 2.0)), bright()
    )
    order = np.argsort(found.centers_um[:, 0])
    np.testing.assert_allclose(found.centers_um[order], [[6, 60, 60], [20, 20, 40]], atol=1)


def test_discs_are_found_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.indices((90, 110))
    plane = rng.normal(10, 0.5, (90, 110))
    for y, x in [(20, 30), (60, 80)]:
        plane[np.hypot(rows - y, columns - x) < 7] += 20
    volume = Volume([plane[None].astype(np.float32)], name="x", voxel_size_um=(1.0, 1.0, 1.0))
    found = segment_somata(volume, bright())
    assert len(found) == 2
    truth = np.array([[0, 20, 30], [0, 60, 80]], dtype=float)
    assert (nearest(found.centers_um, truth) < 1).all()
    np.testing.assert_allclose(found.radius_um, 7, atol=1)


def test_neither_probabilities_nor_somata_depend_on_the_blocks() -> None:
    torch.manual_seed(0)
    net = SegmenterNet(SegmenterConfig(width=3, halvings=2, planes=5)).eval()
    image, _ = balls((30, 70, 90), (2.0, 2.0, 2.0))
    volume = Volume([image], name="x", voxel_size_um=(2.0, 2.0, 2.0))
    seen = SegmentedVolume.prepare(volume, net)
    (one,) = seen.blocks(1000)
    whole = seen.probability(one)
    assert whole.shape == volume.shape
    blocks = seen.blocks(40)
    assert len(blocks) > 8
    for block in blocks:
        box = tuple(slice(*ends) for ends in zip(block.outer_start, block.outer_stop, strict=True))
        np.testing.assert_allclose(seen.probability(block), whole[box], atol=1e-5)
    ours, theirs = (
        segment_somata(volume, bright(), SegmentParams(block_um=size)) for size in (1000, 40)
    )
    np.testing.assert_allclose(ours.centers_um, theirs.centers_um, atol=1e-6)
    np.testing.assert_allclose(ours.radius_um, theirs.radius_um)


def test_a_volume_on_disk_is_read_at_the_resolution_that_suits(tmp_path) -> None:
    image, centers = balls((40, 120, 120), (2.0, 1.0, 1.0))
    path = tmp_path / "image.ome.zarr"
    write_ome_zarr(path, image, voxel_size_um=(2.0, 1.0, 1.0))
    found = segment_somata(open_volume(path, name="x"), bright())
    inside = ((centers > 8) & (centers < np.array((78, 119, 119)) - 8)).all(axis=1)
    assert (nearest(found.centers_um, centers[inside]) < 1.5).all()


def test_the_least_probability_may_be_another_than_the_models() -> None:
    image, _ = balls((30, 70, 90), (2.0, 2.0, 2.0))
    volume = Volume([image], name="x", voxel_size_um=(2.0, 2.0, 2.0))
    few = segment_somata(volume, bright(), SegmentParams(least_probability=0.999))
    many = segment_somata(volume, bright())
    assert len(few) < len(many)
    assert (few.confidence >= 0.999).all()


def test_dim_somata_are_found_at_a_probability_below_that_of_an_inside() -> None:
    image, centers = balls((30, 70, 90), (2.0, 2.0, 2.0))
    dim = (100 + (image - 100) * np.where(np.arange(90) < 45, 1.0, 0.2)).astype(np.float32)
    volume = Volume([dim], name="x", voxel_size_um=(2.0, 2.0, 2.0))
    at_half = segment_somata(volume, bright(), SegmentParams(least_probability=0.5))
    at_less = segment_somata(volume, bright(), SegmentParams(least_probability=0.1))
    assert len(at_half) < len(at_less) <= len(centers)


@pytest.mark.parametrize(
    ("pixel", "working"), [(1.31, 1.31), (1.0, 2.0), (0.91, 1.82), (0.6709, 1.3418), (2.0, 2.0)]
)
def test_voxels_are_rather_smaller_than_those_of_training(pixel: float, working: float) -> None:
    volume = Volume([np.ones((1, 40, 40), np.float32)], name="x", voxel_size_um=(1, pixel, pixel))
    grid = SegmentedVolume.prepare(volume, bright()).grid
    assert grid.voxel_um[1:] == pytest.approx((working, working))


def test_nothing_found_is_no_error() -> None:
    volume = Volume([np.ones((3, 40, 40), np.float32)], name="x", voxel_size_um=(2.0, 2.0, 2.0))
    assert len(segment_somata(volume, bright())) == 0
    nothing = somata_in(np.zeros((3, 8, 8), np.float32), WatershedParams(), np.ones(3))
    assert nothing.positions.shape == nothing.seeds.shape == (0, 3)


def test_cancelling_and_damaged_pixels_are_told() -> None:
    image, _ = balls((20, 60, 60), (2.0, 2.0, 2.0))
    volume = Volume([image], name="brain", voxel_size_um=(2.0, 2.0, 2.0))

    def cancel(done: int, total: int, message: str) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        segment_somata(volume, bright(), SegmentParams(block_um=40), report=cancel)
    image[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="brain holds NaN"):
        segment_somata(volume, bright())


def test_the_network_is_used_without_dropout() -> None:
    torch.manual_seed(0)
    net = SegmenterNet(SegmenterConfig(width=2, halvings=2, planes=1, dropout=0.5))
    net.train()
    image, _ = balls((4, 40, 40), (2.0, 2.0, 2.0))
    seen = SegmentedVolume.prepare(Volume([image], name="x", voxel_size_um=(2.0, 2.0, 2.0)), net)
    block = seen.blocks(1000)[0]
    np.testing.assert_array_equal(seen.probability(block), seen.probability(block))
    assert not any(layer.training for layer in net.modules() if isinstance(layer, nn.Dropout2d))


def test_a_network_of_boundaries_finds_no_somata() -> None:
    net = SegmenterNet(SegmenterConfig(name="membranes", width=2, target="boundaries"))
    volume = Volume([np.ones((1, 40, 40), np.float32)], name="x", voxel_size_um=(2.0, 2.0, 2.0))
    with pytest.raises(InputError, match="'membranes' tells boundaries, not somata"):
        segment_somata(volume, net)
