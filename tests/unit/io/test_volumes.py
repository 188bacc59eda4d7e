import numpy as np
import pytest
import tifffile

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.projections import project_frames
from napari_neurobridge.io.volumes import Volume, inspect_image, open_volume
from napari_neurobridge.types import Projection


@pytest.mark.parametrize("voxel", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan)])
def test_voxel_sizes_must_be_positive(voxel):
    with pytest.raises(InputError, match="must be positive"):
        Volume([np.zeros((2, 2, 2))], name="a", voxel_size_um=voxel)


@pytest.mark.parametrize("projection", list(Projection))
def test_time_series_of_volumes(tmp_path, projection):
    frames = np.random.default_rng(0).normal(100, 5, (6, 3, 8, 9)).astype(np.float32)
    path = tmp_path / "a.tif"
    image = frames.reshape(6 * 3, 8, 9)
    tifffile.imwrite(path, image, metadata=None)
    with pytest.raises(InputError, match="axes"):
        open_volume(path, name="a", axes="tzyx", voxel_size_um=(1, 1, 1))
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"}
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "TZYX", **sizes}
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=metadata)
    volume = open_volume(path, name="a", projection=projection)
    oracles = {"mean": np.mean, "max": np.max, "std": np.std}
    if projection is Projection.CORRELATION:
        # Its own oracle is in test_projections.py: here it is the reading that is tested.
        oracle = project_frames([frames], projection)
    else:
        oracle = oracles[projection](frames, axis=0)
    assert volume.dtype == np.float32
    assert np.allclose(volume.read((0, 0, 0), (3, 8, 9)), oracle, atol=1e-3)


def test_nan_in_one_frame_is_found_in_the_projection(tmp_path):
    frames = np.ones((4, 5, 6), np.float32)
    frames[2, 3, 4] = np.nan
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=None)
    volume = open_volume(path, name="a", axes="tyx", voxel_size_um=(1, 1, 1))
    with pytest.raises(InputError, match="y 3, x 4"):
        volume.read((0, 0, 0), volume.shape)


def test_single_plane_needs_no_z(tmp_path):
    path = tmp_path / "a.ome.tif"
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "YX"}
    tifffile.imwrite(path, np.ones((5, 6), np.uint8), metadata={"axes": "YX", **sizes})
    assert open_volume(path, name="a").voxel_size_um == (1.0, 0.5, 0.5)


def test_given_voxel_size_scales_the_levels_offsets(tmp_path):
    image = np.zeros((4, 40, 40), np.uint8)
    path = write_ome_zarr(tmp_path / "a.zarr", image, voxel_size_um=(1, 1, 1), levels=2)
    volume = open_volume(path, name="a", voxel_size_um=(2.0, 3.0, 4.0))
    assert volume.level_offsets_um[1] == pytest.approx((1.0, 1.5, 2.0))
    assert volume.level_scales_um[1] == pytest.approx((4.0, 6.0, 8.0))


def test_same_content_in_another_place_has_the_same_fingerprint(tmp_path):
    image = np.random.default_rng(0).integers(0, 99, (4, 40, 40)).astype(np.uint8)
    for folder, content in (("a", image), ("b", image), ("c", image + 1)):
        write_ome_zarr(tmp_path / folder / "x.ome.zarr", content, voxel_size_um=(1, 1, 1))
    first, second, third = (
        inspect_image(tmp_path / folder / "x.ome.zarr").fingerprint for folder in "abc"
    )
    assert first == second != third
