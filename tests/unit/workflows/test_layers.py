"""Layers' images written to files, slab by slab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.volumes import inspect_image, open_volume
from napari_neurobridge.types import Projection
from napari_neurobridge.workflows.layers import LayerImage, is_in_its_file, save_image

PIXELS = np.random.default_rng(0).integers(0, 4000, (70, 30, 40)).astype(np.uint16)


def layer(data: Any = PIXELS, axes: str = "zyx", **changes: Any) -> LayerImage:
    fields = {
        "name": "stack",
        "data": data,
        "axes": axes,
        "voxel_size_um": (2.0, 1.0, 1.0),
        "suggested_um": None,
        "path": None,
        "to_world": np.eye(4)[:3],
    }
    return LayerImage(**{**fields, **changes})


class Lazy:
    """An array of which only pieces may be read."""

    def __init__(self, data: np.ndarray, most: int) -> None:
        self._data, self._most = data, most
        self.shape, self.dtype, self.ndim = data.shape, data.dtype, data.ndim

    def __getitem__(self, key: Any) -> np.ndarray:
        piece = self._data[key]
        assert len(piece) <= self._most, "more was read than a slab"
        return piece


def test_a_volume_is_written_out_of_core_and_read_again(tmp_path: Path) -> None:
    path = save_image(layer(Lazy(PIXELS, 32)), tmp_path / "a.ome.zarr")
    volume = open_volume(path, name="a")
    assert volume.voxel_size_um == (2.0, 1.0, 1.0)
    assert np.array_equal(volume.read((0, 0, 0), volume.shape), PIXELS)


def test_a_recording_stays_one(tmp_path: Path) -> None:
    path = save_image(layer(axes="tyx"), tmp_path / "a.ome.zarr")
    info = inspect_image(path)
    assert (info.axes, info.shape) == ("tyx", PIXELS.shape)
    assert info.voxel_size_um == (1.0, 1.0, 1.0), "one plane has no thickness"
    plane = open_volume(path, name="a", projection=Projection.MAX)
    assert np.array_equal(plane.read((0, 0, 0), plane.shape)[0], PIXELS.max(axis=0))


def test_a_plane_and_a_mask_are_images_too(tmp_path: Path) -> None:
    path = save_image(layer(PIXELS[0] > 2000, axes="yx"), tmp_path / "a.ome.zarr")
    plane = open_volume(path, name="a")
    assert np.array_equal(plane.read((0, 0, 0), plane.shape)[0], PIXELS[0] > 2000)


def test_an_unknown_voxel_size_is_asked_for_and_not_made_up(tmp_path: Path) -> None:
    path = save_image(layer(voxel_size_um=None), tmp_path / "a.ome.zarr")
    assert inspect_image(path).voxel_size_um is None
    assert np.array_equal(open_volume(path, name="a", voxel_size_um=(3, 2, 1)).levels[0], PIXELS)


def test_a_cancelled_copy_leaves_nothing_behind(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []

    def report(*progress: Any) -> None:
        told.append(progress)
        if len(told) == 2:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        save_image(layer(), tmp_path / "a.ome.zarr", report=report)
    assert told == [(0, 70, "saving stack"), (32, 70, "saving stack")]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not real numbers"):
        save_image(layer(PIXELS.astype(complex)), tmp_path / "a.ome.zarr")
    with pytest.raises(InputError, match="4 axes"):
        save_image(layer(PIXELS[None], axes="tzyx"), tmp_path / "a.ome.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_file_counts_only_while_it_holds_what_is_shown(tmp_path: Path) -> None:
    path = save_image(layer(), tmp_path / "a.ome.zarr")
    assert is_in_its_file(layer(path=path))
    assert not is_in_its_file(layer(PIXELS + 1, path=path)), "changed in the viewer"
    assert not is_in_its_file(layer(PIXELS[:60], path=path))
    assert not is_in_its_file(layer(path=tmp_path / "gone.tif"))
    assert not is_in_its_file(layer())
