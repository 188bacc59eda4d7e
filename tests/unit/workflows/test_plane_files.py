"""Image files become single planes with a pixel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.types import Projection
from napari_neurobridge.workflows.plane_files import PlaneFile, read_plane

PLANE = np.random.default_rng(0).integers(0, 200, (30, 40)).astype(np.uint8)


def ome(path: Path, values: np.ndarray, axes: str, **sizes: float) -> Path:
    metadata = {"axes": axes} | {f"PhysicalSize{axis}": um for axis, um in sizes.items()}
    tifffile.imwrite(path, values, ome=True, metadata=metadata, photometric="minisblack")
    return path


def test_a_plane_has_the_pixel_size_of_its_file_unless_another_is_stated(tmp_path) -> None:
    path = ome(tmp_path / "site3.ome.tif", PLANE, "YX", Y=0.8, X=0.8)
    plane = read_plane(PlaneFile(path))
    assert plane.pixel_um == 0.8
    np.testing.assert_array_equal(plane.values, PLANE)
    assert read_plane(PlaneFile(path, 1.1)).pixel_um == 1.1
    assert PlaneFile(path).name == "site3"


def test_a_png_needs_a_pixel_size(tmp_path) -> None:
    path = tmp_path / "plane.png"
    imsave(path, PLANE, check_contrast=False)
    with pytest.raises(InputError, match="does not say its pixel size") as caught:
        read_plane(PlaneFile(path))
    assert caught.value.kind is ErrorKind.NO_PLANE_PIXEL_SIZE
    plane = read_plane(PlaneFile(path, 0.5))
    np.testing.assert_array_equal(plane.values, PLANE)
    assert plane.pixel_um == 0.5


@pytest.mark.parametrize(
    ("projection", "expected"), [(Projection.MAX, np.max), (Projection.MEAN, np.mean)]
)
def test_a_stack_becomes_one_plane_as_stated(tmp_path, projection, expected) -> None:
    stack = np.random.default_rng(1).integers(0, 200, (5, 30, 40)).astype(np.uint16)
    path = ome(tmp_path / "stack.ome.tif", stack, "ZYX", Z=2.0, Y=1.0, X=1.0)
    with pytest.raises(InputError, match="holds 5 planes") as caught:
        read_plane(PlaneFile(path))
    assert caught.value.kind is ErrorKind.NO_PROJECTION
    plane = read_plane(PlaneFile(path, projection=projection))
    np.testing.assert_allclose(plane.values, expected(stack, axis=0), rtol=1e-6)


def test_a_recording_is_averaged_unless_stated_otherwise(tmp_path) -> None:
    frames = np.random.default_rng(1).integers(0, 200, (7, 30, 40)).astype(np.uint16)
    path = ome(tmp_path / "recording.ome.tif", frames, "TYX", Y=1.0, X=1.0)
    np.testing.assert_allclose(read_plane(PlaneFile(path)).values, frames.mean(axis=0), rtol=1e-6)
    brightest = read_plane(PlaneFile(path, projection=Projection.MAX))
    np.testing.assert_allclose(brightest.values, frames.max(axis=0))


def test_a_channel_is_chosen(tmp_path) -> None:
    both = np.stack([PLANE, PLANE + 5]).astype(np.uint8)
    path = ome(tmp_path / "two.ome.tif", both, "CYX", Y=1.0, X=1.0)
    np.testing.assert_array_equal(read_plane(PlaneFile(path, channel=1)).values, PLANE + 5)


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan])
def test_a_pixel_size_must_be_positive(tmp_path, size) -> None:
    path = ome(tmp_path / "a.ome.tif", PLANE, "YX", Y=1.0, X=1.0)
    with pytest.raises(InputError, match="must be positive"):
        read_plane(PlaneFile(path, size))


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    colour = np.zeros((30, 40, 3), np.uint8)
    imsave(folder / "rgb.png", colour, check_contrast=False)
    tifffile.imwrite(folder / "rgb.tif", colour, photometric="rgb")
    (folder / "cut.png").write_bytes((folder / "rgb.png").read_bytes()[:40])
    ome(folder / "nan.ome.tif", np.full((30, 40), np.nan, np.float32), "YX", Y=1.0, X=1.0)
    ome(folder / "flat.ome.tif", np.ones((30, 40), np.float32), "YX", Y=1.0, X=1.0)
    ome(folder / "oblong.ome.tif", PLANE, "YX", Y=1.0, X=2.0)
    return {
        "rgb.png": (folder / "rgb.png", "colour image"),
        "rgb.tif": (folder / "rgb.tif", "colour image"),
        "cut.png": (folder / "cut.png", "cannot be read as PNG"),
        "nan": (folder / "nan.ome.tif", "NaN or infinite"),
        "flat": (folder / "flat.ome.tif", "no contrast"),
        "oblong": (folder / "oblong.ome.tif", "pixels of 1 x 2 µm"),
        "absent": (folder / "absent.tif", "no file"),
    }


@pytest.mark.parametrize(
    "name", ["rgb.png", "rgb.tif", "cut.png", "nan", "flat", "oblong", "absent"]
)
def test_what_is_no_plane_is_refused_by_name(tmp_path, name) -> None:
    path, words = bad_files(tmp_path)[name]
    size = None if name == "oblong" else 1.0
    with pytest.raises(InputError, match=words) as caught:
        read_plane(PlaneFile(path, size))
    assert path.name in str(caught.value)
