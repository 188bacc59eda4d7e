import numpy as np
import pytest
import tifffile

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import inspect_image, open_volume
from napari_neurobridge.types import Projection

FIELD_UM = "[-100 -50;100 -50;100 50;-100 50]"


def _write(path, pages, **properties):
    """Write pages with ScanImage's header where it keeps a copy, in the Software tag."""
    given = {name.replace("__", "."): value for name, value in properties.items()}
    header = {"SI.VERSION_MAJOR": "2023", "SI.hChannels.channelSave": "1"} | {
        f"SI.{name}": value for name, value in given.items()
    }
    software = "\n".join(f"{name} = {value}" for name, value in header.items())
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for page in pages:
            writer.write(page, contiguous=False, metadata=None, software=software)
    return path


def _pages(*shape):
    return np.random.default_rng(0).integers(-50, 2000, (*shape, 20, 40)).astype(np.int16)


def test_slow_stack_of_two_channels(tmp_path):
    pages = _pages(5, 3, 2)  # slice, frame, channel
    path = _write(
        tmp_path / "a.tif",
        pages.reshape(-1, 20, 40),
        hChannels__channelSave="[1;2]",
        hStackManager__enable="true",
        hStackManager__numSlices="5",
        hStackManager__framesPerSlice="3",
        hStackManager__stackZStepSize="-2.5",
        hRoiManager__imagingFovUm=FIELD_UM,
    )
    info = inspect_image(path)
    assert (info.format, info.axes, info.shape) == ("scanimage", "ztcyx", pages.shape)
    volume = open_volume(path, name="a", channel=1)
    assert volume.voxel_size_um == pytest.approx((2.5, 5.0, 5.0))
    expected = pages[:, :, 1].mean(axis=1)
    assert np.allclose(volume.read((0, 0, 0), (5, 20, 40)), expected, atol=1e-3)


def test_recording_of_one_plane(tmp_path):
    pages = _pages(7)
    path = _write(
        tmp_path / "a.tif",
        pages,
        hStackManager__numSlices="1",
        hStackManager__framesPerSlice="Inf",
        hRoiManager__imagingFovUm=FIELD_UM,
    )
    assert inspect_image(path).axes == "tyx"
    volume = open_volume(path, name="a", projection=Projection.MAX)
    assert volume.voxel_size_um == pytest.approx((1.0, 5.0, 5.0))
    assert np.array_equal(np.asarray(volume.levels[0])[0], pages.max(axis=0))


def test_fast_volumes_drop_flyback_and_the_unfinished_one(tmp_path):
    pages = _pages(2 * 4 + 2)  # two volumes of three slices and a fly-back, then two more
    path = _write(
        tmp_path / "a.tif",
        pages,
        hFastZ__enable="true",
        hStackManager__numSlices="3",
        hStackManager__numVolumes="10",
        hStackManager__framesPerSlice="1",
        hStackManager__numFramesPerVolumeWithFlyback="4",
        hStackManager__stackZStepSize="10",
        hRoiManager__imagingFovUm=FIELD_UM,
    )
    assert inspect_image(path).axes == "tzyx"
    volume = open_volume(path, name="a")
    expected = pages[:8].reshape(2, 4, 20, 40)[:, :3].mean(axis=0)
    assert np.allclose(np.asarray(volume.levels[0]), expected, atol=1e-3)


def test_no_finished_volume(tmp_path):
    path = _write(
        tmp_path / "a.tif",
        _pages(2),
        hFastZ__enable="true",
        hStackManager__numSlices="3",
        hStackManager__framesPerSlice="1",
    )
    with pytest.raises(InputError, match="finished"):
        inspect_image(path)


def test_field_of_view_in_degrees(tmp_path):
    path = _write(
        tmp_path / "a.tif",
        _pages(2),
        objectiveResolution="15",
        hRoiManager__imagingFovDeg="[-10 -10;10 -10;10 10;-10 10]",
    )
    assert inspect_image(path).voxel_size_um == pytest.approx((1.0, 15.0, 7.5))


def test_several_regions_have_no_one_pixel_size(tmp_path):
    path = _write(
        tmp_path / "a.tif",
        _pages(2),
        hRoiManager__mroiEnable="true",
        hRoiManager__imagingFovUm=FIELD_UM,
    )
    assert inspect_image(path).voxel_size_um is None


def test_axes_override_reads_page_after_page(tmp_path):
    pages = _pages(6)
    path = _write(tmp_path / "a.tif", pages, hChannels__channelSave="[1;2]")
    assert inspect_image(path, axes="zyx").shape == (6, 20, 40)
