"""Label images, against regionprops of scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from skimage.measure import regionprops

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.read import RoiReading, read_rois


@given(
    labels=npst.arrays(
        np.uint16, st.sampled_from([(6, 9), (4, 6, 9)]), elements=st.sampled_from([0, 0, 1, 2, 40])
    )
)
def test_centres_and_sizes_are_those_of_regionprops(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "labels.tif"
    axes = "ZYX"[-labels.ndim :]
    tifffile.imwrite(path, labels, metadata={"axes": axes})
    expected = regionprops(labels)
    try:
        found = read_rois(path, RoiReading(axes=axes.lower()))
    except InputError as error:
        assert len(expected) <= 1
        assert "holds no label" in str(error) or "one value for all cells" in str(error)
        return
    assert [roi.index for roi in found.rois] == [region.label for region in expected]
    for roi, region in zip(found.rois, expected, strict=True):
        assert roi.center_px[-labels.ndim :] == pytest.approx(region.centroid)
        assert roi.size_px == region.area
        assert roi.uid == f"label-{region.label:05d}"
    assert found.shape == labels.shape
    assert found.planes_known == (labels.ndim == 3)


def test_the_voxel_size_of_the_file_is_read(tmp_path):
    labels = np.zeros((3, 8, 8), dtype=np.uint16)
    labels[1, 2:4, 2:4] = 5
    tifffile.imwrite(
        tmp_path / "a.tif", labels, imagej=True, resolution=(2, 4),
        metadata={"axes": "ZYX", "spacing": 3.0, "unit": "um"},
    )  # fmt: skip
    assert read_rois(tmp_path / "a.tif").voxel_size_um == (3.0, 0.25, 0.5)


def test_bad_images_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "labels.tif"

    def refusal() -> InputError:
        with pytest.raises(InputError) as caught:
            read_rois(path)
        assert "\n" not in str(caught.value)
        return caught.value

    tifffile.imwrite(path, np.zeros((8, 8), dtype=np.uint16), metadata={"axes": "YX"})
    assert "no label: all of it is 0" in str(refusal())
    tifffile.imwrite(path, np.ones((8, 8), dtype=np.float32), metadata={"axes": "YX"})
    assert "no whole numbers" in str(refusal())
    tifffile.imwrite(path, np.full((8, 8), -1, dtype=np.int16), metadata={"axes": "YX"})
    assert "negative numbers" in str(refusal())
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[1, 1] = mask[6, 6] = 255
    tifffile.imwrite(path, mask, metadata={"axes": "YX"})
    assert "one value for all cells" in str(refusal())
    tifffile.imwrite(path, np.ones((4, 8, 8), dtype=np.uint8), metadata={"axes": "TYX"})
    assert "several images along 't'" in str(refusal())
    tifffile.imwrite(path, np.ones((4, 8, 8), dtype=np.uint8))
    assert refusal().kind is ErrorKind.UNKNOWN_AXES
    path.write_bytes(b"no TIFF")
    assert "is no TIFF image" in str(refusal())


def test_unknown_files_are_named(tmp_path):
    (tmp_path / "cells.docx").write_text("")
    with pytest.raises(InputError, match=r"cells\.docx is no known file of ROIs"):
        read_rois(tmp_path / "cells.docx")
    with pytest.raises(InputError, match="no file or folder"):
        read_rois(tmp_path / "gone.zip")
