"""ROIs as ImageJ stores them, written by roifile."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roifile import ROI_TYPE, ImagejRoi, roiwrite

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois import imagej
from napari_neurobridge.io.rois.imagej import polygon_area, read_imagej
from napari_neurobridge.io.rois.read import read_rois


def square(x: float, y: float, side: float, name: str = "") -> ImagejRoi:
    roi = ImagejRoi.frompoints([(x, y), (x + side, y), (x + side, y + side), (x, y + side)])
    roi.name = name
    return roi


@given(
    boxes=st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(1, 40)),
        min_size=1,
        max_size=6,
    )
)
def test_areas_come_back_where_their_pixels_lie(tmp_path_factory, boxes):
    path = tmp_path_factory.mktemp("rois") / "RoiSet.zip"
    roiwrite(path, [square(x, y, side, f"cell {n}") for n, (x, y, side) in enumerate(boxes)])
    found = read_imagej(path)
    assert [roi.uid for roi in found.rois] == [f"cell {n}" for n in range(len(boxes))]
    for roi, (x, y, side) in zip(found.rois, boxes, strict=True):
        # The square covers the pixels x to x + side - 1, whose middle is here.
        assert roi.center_px == pytest.approx([0, y + (side - 1) / 2, x + (side - 1) / 2])
        assert roi.size_px == pytest.approx(side**2)
        assert np.array_equal(roi.outline_px[0], roi.outline_px[-1]), "closed"
        assert roi.outline_px.min(axis=0) == pytest.approx([0, y - 0.5, x - 0.5])


def test_ovals_points_and_one_file(tmp_path):
    oval = ImagejRoi(roitype=ROI_TYPE.OVAL, left=10, top=20, right=30, bottom=40, n_coordinates=0)
    (tmp_path / "one.roi").write_bytes(oval.tobytes())
    (roi,) = read_imagej(tmp_path / "one.roi").rois
    assert roi.uid == "one"
    assert roi.center_px == pytest.approx([0, 29.5, 19.5], abs=0.1)
    assert roi.size_px == pytest.approx(np.pi * 100, rel=0.02)

    points = ImagejRoi.frompoints(np.array([[3, 4], [30, 40]], dtype=np.int32))
    points.roitype = ROI_TYPE.POINT
    (tmp_path / "points.roi").write_bytes(points.tobytes())
    found = read_imagej(tmp_path / "points.roi").rois
    assert [roi.uid for roi in found] == ["points-1", "points-2"]
    assert [roi.center_px.tolist() for roi in found] == [[0, 4, 3], [0, 40, 30]]
    assert not any(roi.size_px or len(roi.outline_px) for roi in found)


def test_planes_are_told_from_mere_positions(tmp_path):
    rois = [square(5, 5, 4, "a"), square(20, 5, 4, "b")]
    for roi, plane in zip(rois, (3, 7), strict=True):
        roi.position = plane
    roiwrite(tmp_path / "stack.zip", rois)
    found = read_imagej(tmp_path / "stack.zip")
    assert not found.planes_known
    assert found.stack_positions == [2, 6]
    for roi, plane in zip(rois, (3, 7), strict=True):
        roi.z_position, roi.position = plane, 0
    roiwrite(tmp_path / "hyper.zip", rois)
    found = read_imagej(tmp_path / "hyper.zip")
    assert found.planes_known
    assert [roi.center_px[0] for roi in found.rois] == [2, 6]
    assert [roi.outline_px[:, 0].tolist() for roi in found.rois] == [[2] * 5, [6] * 5]
    assert not found.solid


@given(st.integers(3, 12), st.floats(0.5, 50), st.floats(-100, 100))
def test_polygon_area_of_regular_polygons(n, radius, shift):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    corners = radius * np.column_stack([np.sin(angle), np.cos(angle)]) + shift
    area, middle = polygon_area(corners)
    assert area == pytest.approx(n / 2 * radius**2 * np.sin(2 * np.pi / n))
    assert middle == pytest.approx([shift, shift], abs=1e-6)


def zip_of(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def with_type(kind: ROI_TYPE) -> bytes:
    roi = ImagejRoi.frompoints([(1, 1), (5, 9)])
    roi.roitype = kind
    return bytes(roi.tobytes())


SQUARE = square(5, 5, 4).tobytes()
BAD = {
    "nothing in it": ({}, "holds no .roi file"),
    "something else": ({"notes.txt": b"no ROI"}, "holds no .roi file"),
    "one large file": ({"a.roi": bytes(2**24 + 1)}, "larger than any ROI"),
    "a name twice": ({"here/a.roi": SQUARE, "there/a.roi": SQUARE}, "names the ROI 'a' 2 times"),
    "a short ROI": ({"a.roi": SQUARE[:66]}, "ROI 'a' .* is damaged"),
    "text": ({"a.roi": b"not a ROI at all" * 9}, "ROI 'a' .* is damaged"),
    "a line": ({"a.roi": with_type(ROI_TYPE.POLYLINE)}, "neither an area nor a point"),
    "an area without width": ({"a.roi": with_type(ROI_TYPE.POLYGON)}, "covers no area"),
}


@pytest.mark.parametrize(("members", "message"), BAD.values(), ids=BAD)
def test_bad_sets_are_refused_in_a_sentence(tmp_path, members, message):
    zip_of(tmp_path / "set.zip", members)
    with pytest.raises(InputError, match=message) as caught:
        read_rois(tmp_path / "set.zip")
    assert "\n" not in str(caught.value)


def test_sets_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(imagej, "MOST_BYTES", 2 * len(SQUARE))
    zip_of(tmp_path / "set.zip", {f"{name}.roi": SQUARE for name in "abc"})
    with pytest.raises(InputError, match="unpacks to more than any set of ROIs"):
        read_imagej(tmp_path / "set.zip")


@given(st.data())
def test_a_damaged_set_is_refused_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("rois") / "set.zip"
    roiwrite(path, [square(5, 5, 4, "a"), square(9, 9, 4, "b")])
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:place] + data.draw(st.binary(min_size=1, max_size=4)) + whole[place + 1 :]
    path.write_bytes(damaged)
    try:
        read_rois(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_names_with_paths_leave_the_disk_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("../../evil.roi", square(5, 5, 4).tobytes())
    assert [roi.uid for roi in read_imagej(tmp_path / "set.zip").rois] == ["evil"]
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]
