"""Planes of a simulated stack, and what counts as found in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_neurobridge.benchmarks.detection import DetectionParameters, benchmark_detection
from napari_neurobridge.benchmarks.detection_planes import Found, planes_of, real_planes
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.volumes import Volume

VOXEL = (2.0, 1.0, 1.0)


def stack() -> Volume:
    return Volume([np.arange(11 * 4 * 4).reshape(11, 4, 4)], name="x", voxel_size_um=VOXEL)


def test_planes_hold_the_pixels_and_the_somata_of_their_depth() -> None:
    somata = np.array([[4.0, 1, 2], [8.9, 2, 2], [20.0, 3, 3]])
    planes = planes_of(stack(), somata)
    assert len(planes) == 4
    first = planes[0]
    assert first.volume.shape == (1, 4, 4)
    # The plane at a fifth of ten steps is the third, at 4 µm.
    np.testing.assert_array_equal(
        first.volume.read((0, 0, 0), (1, 4, 4))[0], 32 + np.arange(16).reshape(4, 4)
    )
    np.testing.assert_array_equal(first.truth_um, [[0, 1, 2], [0, 2, 2]])
    assert len(first.grazed_um) == 0
    # At 8 µm the second is in the plane, and the first is 4 µm off it.
    np.testing.assert_array_equal(planes[1].truth_um, [[0, 1, 2], [0, 2, 2]])
    np.testing.assert_array_equal(planes[3].grazed_um, [[0, 2, 2]])


def test_a_soma_that_the_plane_grazes_is_neither_right_nor_wrong() -> None:
    plane = planes_of(stack(), np.array([[4.0, 1, 2], [12.0, 30, 2]]))[0]
    found = Found(
        np.array([[0.0, 1, 1], [0, 30, 0], [0, 60, 60], [0, 31, 2]]),
        np.array([0.9, 0.8, 0.7, 0.6]),
    )
    counted, hit = plane.judged(found)
    # Of the two at the grazed soma, one stays, and is wrong.
    assert sorted(counted.confidence) == [0.7, 0.8, 0.9]
    assert hit.tolist() == [confidence == 0.9 for confidence in counted.confidence]


def real_folder(folder: Path, *, note: str = "voxel size (1, 2, 2) and (1, 1.5, 1.5) um") -> Path:
    """Write two tables, and an image of one side with a bright disc at the only cell."""
    folder.mkdir()
    rows, columns = np.indices((90, 100)) * 2.0
    plane = np.random.default_rng(0).normal(100, 3, (90, 100))
    plane += 100 * (np.hypot(rows - 60, columns - 80) < 7)
    tifffile.imwrite(folder / "in_vivo.tif", plane.astype(np.uint16))
    (folder / "in_vivo.csv").write_text("uid,z_um,y_um,x_um\na,5,60,80\n", encoding="utf-8")
    (folder / "ex_vivo.csv").write_text("uid,z_um,y_um,x_um\nb,0,1,2\n", encoding="utf-8")
    (folder / "silver.csv").write_text("two_photon_uid,fmost_uid\na,b\n", encoding="utf-8")
    (folder / "README.txt").write_text(note, encoding="utf-8")
    return folder


def test_cells_of_a_real_plane_are_found_by_all_methods(tmp_path: Path) -> None:
    real_folder(tmp_path / "one")
    (plane,) = real_planes(tmp_path)
    assert plane.name == "one-in_vivo"
    assert plane.volume.voxel_size_um == (1.0, 2.0, 2.0)
    np.testing.assert_array_equal(plane.cells_um, [[0, 60, 80]])
    result = benchmark_detection(DetectionParameters(folder=tmp_path))
    assert result.level == "real"
    assert {row.method for row in result.results} == {"dog", "segmenter", "features"}
    assert all(row.n_true == 1 and row.recall == 1 for row in result.results)


def test_a_real_plane_needs_an_image_and_the_size_of_its_pixels(tmp_path: Path) -> None:
    folder = real_folder(tmp_path / "one", note="nothing")
    with pytest.raises(InputError, match="is not stated"):
        real_planes(folder)
    (folder / "in_vivo.tif").unlink()
    (folder / "README.txt").write_text("voxel size (1, 2, 2) and (1, 1.5, 1.5) um")
    with pytest.raises(InputError, match="no image"):
        real_planes(folder)
