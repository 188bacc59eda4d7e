import numpy as np
import pytest

from napari_neurobridge.detection.working_grid import WorkingGrid
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.io.volumes import Volume, open_volume


def test_positions_of_working_voxels():
    # A ramp along each axis: the mean of a working voxel is its position.
    voxel = np.array([2.0, 0.5, 0.6])
    for axis in range(3):
        ramp = np.moveaxis(np.broadcast_to(np.arange(24.0), (24, 24, 24)), -1, axis)
        volume = Volume([ramp * voxel[axis]], name="a", voxel_size_um=tuple(voxel))
        grid = WorkingGrid.choose(volume, 2.0)
        assert grid.factors == (1, 4, 3)
        start, stop = (3, 2, 1), (6, 5, 6)
        along = grid.read(start, stop)
        expected = grid.origin_um[axis] + np.arange(start[axis], stop[axis]) * grid.voxel_um[axis]
        other = tuple(other for other in range(3) if other != axis)
        assert along.mean(axis=other) == pytest.approx(expected)


def test_a_stored_resolution_is_used_at_its_own_place(tmp_path):
    columns = np.arange(64, dtype=np.float32)
    image = np.broadcast_to(columns, (8, 64, 64))
    path = write_ome_zarr(tmp_path / "a.zarr", image, voxel_size_um=(2.0, 0.5, 0.5), levels=4)
    grid = WorkingGrid.choose(open_volume(path, name="a"), 2.3)
    assert grid.level == 2
    assert grid.factors == (1, 1, 1)
    values = grid.read((0, 0, 0), grid.shape)
    expected = (grid.origin_um[2] + np.arange(grid.shape[2]) * grid.voxel_um[2]) / 0.5
    assert values.mean(axis=(0, 1)) == pytest.approx(expected)


def test_coarse_volumes_are_taken_as_they_are():
    volume = Volume([np.zeros((1, 10, 10))], name="a", voxel_size_um=(1.0, 8.0, 8.0))
    grid = WorkingGrid.choose(volume, 2.3)
    assert (grid.level, grid.factors, grid.is_plane) == (0, (1, 1, 1), True)
