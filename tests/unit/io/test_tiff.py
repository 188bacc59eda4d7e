import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.volumes import inspect_image, open_volume

STACK = np.random.default_rng(0).integers(0, 4000, (6, 40, 50)).astype(np.uint16)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_tiff_is_read_lazily_with_units(tmp_path, compression):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        STACK,
        compression=compression,
        metadata={
            "axes": "ZYX",
            "PhysicalSizeZ": 2000.0,
            "PhysicalSizeZUnit": "nm",
            "PhysicalSizeY": 0.5,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeX": 0.25,
        },
    )
    info = inspect_image(path)
    assert (info.format, info.axes, info.shape) == ("ome-tiff", "zyx", STACK.shape)
    volume = open_volume(path, name="a")
    assert volume.voxel_size_um == pytest.approx((2.0, 0.5, 0.25))
    assert volume.extent_um == pytest.approx((10.0, 19.5, 12.25))
    assert volume.center_um == pytest.approx((5.0, 9.75, 6.125))
    assert volume.chunks[0] == 1
    assert np.array_equal(volume.read((1, 2, 3), (4, 30, 31)), STACK[1:4, 2:30, 3:31])
    assert volume.read((1, 2, 3), (4, 30, 31)).dtype == np.float32


def test_ome_channels(tmp_path):
    path = tmp_path / "a.ome.tif"
    image = np.stack([STACK, STACK + 1], axis=1)
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"}
    tifffile.imwrite(path, image, metadata={"axes": "ZCYX", **sizes})
    assert inspect_image(path).channels == 2
    volume = open_volume(path, name="a", channel=1)
    assert np.array_equal(np.asarray(volume.levels[0]), STACK + 1)
    with pytest.raises(InputError, match="there is no channel 2"):
        open_volume(path, name="a", channel=2)


def test_ome_pyramid(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        sizes = {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"}
        writer.write(STACK, subifds=1, tile=(16, 16), metadata={"axes": "ZYX", **sizes})
        writer.write(STACK[:, ::2, ::2], subfiletype=1, tile=(16, 16))
    volume = open_volume(path, name="a")
    assert [level.shape for level in volume.levels] == [(6, 40, 50), (6, 20, 25)]
    assert volume.level_scales_um[1] == pytest.approx((1.0, 2.0, 2.0))
    assert np.array_equal(volume.levels[1][2], STACK[2, ::2, ::2])


@pytest.mark.parametrize(
    ("unit", "um"), [("um", 1), ("\\u00B5m", 1), ("micron", 1), ("mm", 1000), ("nm", 0.001)]
)
def test_imagej_hyperstack(tmp_path, unit, um):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        STACK,
        imagej=True,
        resolution=(4.0, 2.0),
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": unit},
    )
    info = inspect_image(path)
    assert (info.format, info.axes) == ("imagej", "zyx")
    assert info.voxel_size_um == pytest.approx((3.0 * um, 0.5 * um, 0.25 * um))


def test_imagej_in_pixels_has_no_voxel_size(tmp_path):
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": "pixel"}
    tifffile.imwrite(path, STACK, imagej=True, metadata=metadata)
    with pytest.raises(InputError, match="does not say its voxel size"):
        open_volume(path, name="a")
    volume = open_volume(path, name="a", voxel_size_um=(2.0, 1.0, 1.0))
    assert volume.voxel_size_um == (2.0, 1.0, 1.0)


def test_imagej_time_series_has_no_z(tmp_path):
    path = tmp_path / "a.tif"
    metadata = {"axes": "TYX", "unit": "um"}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    info = inspect_image(path)
    assert (info.axes, info.voxel_size_um) == ("tyx", (1.0, 0.5, 0.5))
    volume = open_volume(path, name="a")
    assert volume.shape == (1, 40, 50)
    assert np.allclose(volume.read((0, 0, 0), volume.shape)[0], STACK.mean(axis=0))


@pytest.mark.parametrize("metadata", [None, {}])
def test_plain_stack_is_asked_for_axes(tmp_path, metadata):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, metadata=metadata)
    with pytest.raises(InputError, match="does not say what its 3 axes"):
        inspect_image(path)
    assert inspect_image(path, axes="zyx").voxel_size_um is None
    # Resolution tags of plain files are not believed, but a plane still needs y and x.
    assert inspect_image(path, axes="TYX").axes == "tyx"
    volume = open_volume(path, name="a", axes="zyx", voxel_size_um=(2, 1, 1))
    assert np.array_equal(np.asarray(volume.levels[0]), STACK)


@pytest.mark.parametrize("axes", ["zy", "zyq", "zyy", "tzyx", "tzc"])
def test_axes_that_cannot_be_read(tmp_path, axes):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, metadata=None)
    with pytest.raises(InputError, match="axes") as refused:
        inspect_image(path, axes=axes)
    assert refused.value.kind is ErrorKind.UNKNOWN_AXES


def test_colour(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="colour"):
        inspect_image(path)
    assert open_volume(path, name="a", axes="yxc", voxel_size_um=(1, 1, 1), channel=2).dtype == "u1"


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(InputError, match="no file"):
        open_volume(tmp_path / "none.tif", name="a")
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(InputError, match="is no TIFF image; NeuroBridge reads TIFF"):
        open_volume(tmp_path / "text.tif", name="a")
    (tmp_path / "empty.tif").write_bytes(b"")
    with pytest.raises(InputError, match="is an empty file; NeuroBridge reads TIFF"):
        open_volume(tmp_path / "empty.tif", name="a")


@pytest.mark.parametrize(
    ("kind", "name"), [("png", "a PNG image"), ("jpeg", "a JPEG image"), ("bmp", "a BMP image")]
)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_another_kind_of_picture_is_named_as_what_it_is(tmp_path, kind, name, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(path, format=kind)
    with pytest.raises(InputError) as refused:
        inspect_image(path)
    assert str(refused.value) == (
        f"{path} is {name}; NeuroBridge reads TIFF, OME-TIFF, OME-Zarr and CSV."
    )


WRITERS: dict[str, dict] = {
    "ome": {"metadata": {"axes": "ZYX", "PhysicalSizeX": 1}, "ome": True},
    "imagej": {"imagej": True, "metadata": {"axes": "ZYX", "unit": "um"}},
    "shaped": {"metadata": {"axes": "ZYX"}},
    "plain": {"metadata": None},
    "pages": {"metadata": None, "compression": "zlib"},
    "ome-compressed": {"metadata": {"axes": "ZYX"}, "ome": True, "compression": "zlib"},
    "imagej-compressed": {"imagej": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
}


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("kind", WRITERS)
def test_truncated(tmp_path, kind, kept):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK, **WRITERS[kind])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="truncated"):
        inspect_image(path, axes="zyx")


def test_planes_cut_off_in_the_chain(tmp_path):
    """The last directory points beyond the file, and all that is listed is whole."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in STACK:
            writer.write(plane, contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[3]
        end = page.offset + 2 + 12 * len(page.tags)
    content = bytearray(path.read_bytes())
    content[end : end + 4] = struct.pack("<I", len(content) + 1000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated"):
        inspect_image(path, axes="zyx")


def test_nan_pixels_are_named(tmp_path):
    path = tmp_path / "a.tif"
    image = STACK.astype(np.float32)
    image[2, 5, 7] = np.nan
    tifffile.imwrite(path, image, metadata=None)
    volume = open_volume(path, name="two_photon", axes="zyx", voxel_size_um=(1, 1, 1))
    with pytest.raises(InputError, match=r"two_photon holds NaN.* z 2, y 5, x 7; replace"):
        volume.read((1, 1, 1), (4, 20, 20))
    assert np.isfinite(volume.read((3, 0, 0), (6, 40, 50))).all()


def test_fingerprint_follows_the_content(tmp_path):
    def write(name, image):
        path = tmp_path / name
        tifffile.imwrite(path, image, metadata=None)
        return inspect_image(path, axes="zyx").fingerprint

    assert write("a.tif", STACK) == write("b.tif", STACK)
    assert write("c.tif", STACK[::-1]) != write("a.tif", STACK)
