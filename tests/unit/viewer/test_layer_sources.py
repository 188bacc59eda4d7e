"""What napari's layers say of themselves, and which of them a project can be made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points
from scipy.spatial.transform import Rotation

from napari_neurobridge.errors import InputError
from napari_neurobridge.viewer.layer_sources import image_of, offered_layers, points_of
from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.workflows.layers import positions_um

STACK = np.zeros((4, 8, 9), np.uint16)
UM = ("um",) * 3


def test_only_image_and_points_layers_that_are_not_ours_are_offered() -> None:
    viewer = ViewerModel()
    viewer.add_image(STACK, name="stack")
    viewer.add_points(np.ones((3, 3)), name="cells")
    viewer.add_labels(np.zeros((8, 9), int), name="labels")
    viewer.add_image(STACK, name="ours", metadata={DATASET_KEY: "two_photon"})
    viewer.add_image(np.zeros((8, 9, 3), np.uint8), rgb=True, name="photo")
    viewer.add_points(ndim=3, name="empty")
    offered = {layer.name: layer for layer in offered_layers(viewer)}
    assert set(offered) == {"stack", "cells", "photo", "empty"}
    assert [offered[name].is_image for name in ("stack", "cells")] == [True, False]
    assert not offered["stack"].problem
    assert "colour image" in offered["photo"].problem
    assert "holds no point" in offered["empty"].problem
    assert isinstance(viewer.layers["labels"], Labels)


@pytest.mark.parametrize(
    ("unit", "um"), [("um", (5.0, 1.68, 1.68)), ("nm", (5e-3, 1.68e-3, 1.68e-3))]
)
def test_a_scale_with_a_unit_of_length_is_the_voxel_size(unit, um) -> None:
    image = image_of(Image(STACK, scale=(5, 1.68, 1.68), units=(unit,) * 3))
    assert image.voxel_size_um == pytest.approx(um)
    assert image.suggested_um is None


def test_a_scale_without_a_unit_is_only_suggested() -> None:
    image = image_of(Image(STACK, scale=(5, 1.68, 1.68)))
    assert image.voxel_size_um is None
    assert image.suggested_um == pytest.approx((5, 1.68, 1.68))
    assert image_of(Image(STACK)).suggested_um is None


def test_a_turn_keeps_the_voxel_size_and_a_shear_is_refused() -> None:
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zyx", (20, 30, 40), degrees=True).as_matrix()
    image = image_of(Image(STACK, scale=(5, 2, 1), units=UM, affine=turned))
    assert image.voxel_size_um == pytest.approx((5, 2, 1))
    sheared = np.eye(4)
    sheared[1, 2] = 0.5
    with pytest.raises(InputError, match="sheared"):
        image_of(Image(STACK, affine=sheared))


@pytest.mark.parametrize(
    ("shape", "labels", "path", "axes"),
    [
        ((8, 9), None, None, "yx"),
        ((4, 8, 9), None, None, "zyx"),
        ((4, 8, 9), ("t", "y", "x"), None, "tyx"),
    ],
)
def test_axes_are_as_named_or_as_usual(shape, labels, path, axes) -> None:
    assert image_of(Image(np.zeros(shape), axis_labels=labels)).axes == axes


@pytest.mark.parametrize(
    ("shape", "labels", "words"),
    [
        ((2, 4, 8, 9), None, "none is named as time"),
        ((2, 4, 8, 9), ("c", "z", "y", "x"), "channel axis"),
        ((2, 4, 8, 9), ("t", "z", "y", "x"), "save it as OME-TIFF"),
        ((4, 8, 9), ("x", "y", "z"), "have to end in zyx"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(shape, labels, words) -> None:
    with pytest.raises(InputError, match=words):
        image_of(Image(np.zeros(shape, np.uint8), axis_labels=labels))


def test_a_layer_knows_its_file_and_no_pixel_is_read() -> None:
    class Unread:
        shape, ndim, dtype = (4, 8, 9), 3, np.dtype("u2")

        def __getitem__(self, key: object) -> object:
            raise AssertionError("read")

    layer = Image(STACK)
    layer._data = Unread()
    layer._source = layer.source.model_copy(update={"path": "/data/a.tif"})
    assert image_of(layer).path == Path("/data/a.tif")


def test_points_are_in_um_by_scale_and_unit_of_their_layer() -> None:
    layer = Points([[1.0, 2, 3]], scale=(5, 2, 2), translate=(10, 0, 0), units=("nm",) * 3)
    points = points_of(layer)
    assert positions_um(points) == pytest.approx(np.array([[15, 4, 6]]) * 1e-3)


def test_points_of_a_turned_and_moved_image_are_where_it_shows_them() -> None:
    """A person draws points on an image; both may lie anywhere in napari's world."""
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("zyx", (20, 30, 40), degrees=True).as_matrix()
    image = Image(STACK, scale=(5, 2, 1), units=UM, affine=turned, translate=(100, 20, 3))
    voxel = np.array([3.0, 2.0, 7.0])
    points = points_of(Points([image.data_to_world(voxel)]))
    found = positions_um(points, image=image_of(image), voxel_size_um=(5, 2, 1))
    assert found == pytest.approx((voxel * (5, 2, 1))[None])


def test_flat_points_lie_in_the_first_plane_and_names_are_kept() -> None:
    layer = Points([[2.0, 3], [4, 5]], features={"uid": ["a", "b"]}, units=("um", "um"))
    points = points_of(layer)
    assert positions_um(points).tolist() == [[0, 2, 3], [0, 4, 5]]
    assert points.uids == ["a", "b"]
    assert points_of(Points([[2.0, 3], [4, 5]], features={"uid": ["a", "a"]})).uids is None


def test_points_in_pixels_need_a_voxel_size() -> None:
    points = points_of(Points([[1.0, 2, 3]]))
    assert positions_um(points) is None
    assert positions_um(points, voxel_size_um=(5, 2, 1)).tolist() == [[5, 4, 3]]
    scaled = points_of(Points([[1.0, 2, 3]], scale=(5, 2, 1)))
    assert positions_um(scaled, voxel_size_um=(5, 2, 1)) is None, "nobody knows what it means"
