"""Plane segmentations that pynwb wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.rois import disks
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.read import RoiReading, read_rois
from napari_neurobridge.io.rois.suite2p import Kept
from napari_neurobridge.types import MaskAxes

SHAPE = (40, 60)  # y, x
MASKS = disks([(10, 12), (30, 45), (20, 50)], 5, SHAPE)
CENTERS = [[0, 10, 12], [0, 30, 45], [0, 20, 50]]


def write_nwb(
    path: Path,
    rois: list[dict[str, Any]],
    *,
    description: str = "found by hand",
    columns: dict[str, list[Any]] | None = None,
    n_tables: int = 1,
) -> Path:
    pynwb = pytest.importorskip("pynwb")
    from pynwb.ophys import ImageSegmentation, OpticalChannel

    start = datetime(2024, 1, 1, tzinfo=UTC)
    file = pynwb.NWBFile("a session", "an id", start)
    device = file.create_device(name="microscope")
    channel = OpticalChannel(name="green", description="green", emission_lambda=500.0)
    plane = file.create_imaging_plane(
        name="plane", optical_channel=channel, description="", device=device,
        excitation_lambda=920.0, indicator="GCaMP", location="V1",
    )  # fmt: skip
    segmentation = ImageSegmentation()
    file.create_processing_module("ophys", "ophys").add(segmentation)
    for number in range(n_tables):
        table = segmentation.create_plane_segmentation(
            name=f"plane{number}", description=description, imaging_plane=plane
        )
        for roi in rois:
            table.add_roi(**roi)
        for name, values in (columns or {}).items():
            table.add_column(name, name, values)
    with pynwb.NWBHDF5IO(str(path), "w") as handle:
        handle.write(file)
    return path


def pixel_masks(*, rows_first: bool = False) -> list[dict[str, Any]]:
    masks = []
    for y, x in MASKS:
        places = zip(y, x, strict=True) if rows_first else zip(x, y, strict=True)
        masks.append({"pixel_mask": [(*place, 1.0) for place in places]})
    return masks


def image_masks() -> list[dict[str, Any]]:
    masks = []
    for y, x in MASKS:
        image = np.zeros(SHAPE)
        image[y, x] = 1
        masks.append({"image_mask": image.T})  # NWB: x before y
    return masks


def centers(path: Path, reading: RoiReading | None = None) -> list[list[float]]:
    return [roi.center_px.round(6).tolist() for roi in read_rois(path, reading).rois]


def test_each_kind_of_mask(tmp_path):
    path = tmp_path / "a.nwb"
    assert centers(write_nwb(path, pixel_masks())) == CENTERS
    assert read_rois(path).shape is None
    assert [roi.uid for roi in read_rois(path).rois] == ["nwb-00000", "nwb-00001", "nwb-00002"]
    assert centers(write_nwb(path, image_masks())) == CENTERS
    assert read_rois(path).shape == SHAPE
    voxels = [
        {"voxel_mask": [(12, 10, 3, 1.0), (12, 10, 4, 1.0)]},
        {"voxel_mask": [(45, 30, 7, 1.0)]},
    ]
    assert centers(write_nwb(path, voxels)) == [[3.5, 10, 12], [7, 30, 45]]
    found = read_rois(path)
    assert found.planes_known
    assert found.solid


def test_who_stores_rows_first_is_known_or_can_be_stated(tmp_path):
    path = write_nwb(tmp_path / "a.nwb", pixel_masks(rows_first=True), description="suite2p output")
    assert centers(path) == CENTERS
    path = write_nwb(tmp_path / "b.nwb", pixel_masks(rows_first=True))
    assert centers(path) == [[z, x, y] for z, y, x in CENTERS], "as the schema says"
    assert centers(path, RoiReading(mask_axes=MaskAxes.YX)) == CENTERS


def test_the_pixels_that_caiman_scrambles_are_put_right(tmp_path):
    rois = []
    for y, x in MASKS:
        image = np.zeros(SHAPE)
        image[y, x] = 1
        # What `Estimates.save_NWB` does with a column of A.
        rois.append({"image_mask": image.ravel(order="F").reshape(SHAPE)})
    rois.append({"image_mask": np.ones(SHAPE)})  # its background
    path = write_nwb(
        tmp_path / "a.nwb",
        rois,
        description="CNMF_ROIs",
        columns={"snr": [2.0, 3.0, 4.0, np.nan], "keep": [True, False, True, False]},
    )
    found = read_rois(path)
    assert centers(path) == [CENTERS[0], CENTERS[2]]
    assert (found.kept_by, found.shape) == ("keep", SHAPE)
    assert centers(path, RoiReading(Kept(every=True))) == CENTERS


def test_cells_are_kept(tmp_path):
    iscell = np.array([[1, 0.9], [0, 0.1], [1, 0.8]])
    path = write_nwb(tmp_path / "a.nwb", pixel_masks(), columns={"iscell": iscell})
    assert centers(path) == [CENTERS[0], CENTERS[2]]
    assert [roi.index for roi in read_rois(path).rois] == [0, 2]


def test_one_of_several_tables_is_named(tmp_path):
    path = write_nwb(tmp_path / "a.nwb", pixel_masks(), n_tables=2)
    with pytest.raises(InputError, match="several plane segmentations, plane0, plane1"):
        read_rois(path)
    assert centers(path, RoiReading(segmentation="plane1")) == CENTERS
    with pytest.raises(InputError, match="no plane segmentation 'x', but plane0, plane1"):
        read_rois(path, RoiReading(segmentation="x"))


def test_bad_files_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(InputError, match="damaged, not complete"):
        read_rois(path)
    write_nwb(path, [], n_tables=0)
    with pytest.raises(InputError, match="no plane segmentation"):
        read_rois(path)
    import h5py

    write_nwb(path, pixel_masks())
    with h5py.File(path, "r+") as file:
        table = file["processing/ophys/ImageSegmentation/plane0"]
        table["pixel_mask_index"][-1] = 255
    with pytest.raises(InputError, match="other masks than ROIs"):
        read_rois(path)
