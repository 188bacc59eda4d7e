"""ROIs of suite2p, in files with its fields and types."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.rois import disks, save_objects, write_suite2p
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.rois.read import RoiReading, holds_rois, read_rois
from napari_neurobridge.io.rois.suite2p import Kept

SHAPE = (64, 80)
MASKS = disks([(10, 12), (30, 60), (50, 20)], 5, SHAPE)


def test_cells_are_kept_with_their_own_numbers(tmp_path):
    plane = write_suite2p(
        tmp_path / "suite2p" / "plane0", MASKS, iscell=[0.9, 0.1, 0.6], shape=SHAPE
    )
    for path in (plane, plane / "stat.npy", tmp_path, tmp_path / "suite2p"):
        found = read_rois(path)
        assert [roi.uid for roi in found.rois] == ["s2p-p0-00000", "s2p-p0-00002"]
    assert [roi.index for roi in found.rois] == [0, 2]
    assert (found.index_base, found.n_in_file, found.kept_by) == (0, 3, "iscell")
    assert found.shape == SHAPE
    assert holds_rois(plane)
    for roi, (y, x) in zip(found.rois, (MASKS[0], MASKS[2]), strict=True):
        light = np.linspace(1, 2, len(y)).astype(np.float32)
        assert roi.center_px == pytest.approx(
            [0, np.average(y, weights=light), np.average(x, weights=light)]
        )
        assert roi.size_px == len(y)
        outline = roi.outline_px[:, 1:]
        assert np.array_equal(outline[0], outline[-1])
        assert np.abs(outline.min(axis=0) - [y.min() - 0.5, x.min() - 0.5]).max() < 1e-9


def test_another_choice_of_cells(tmp_path):
    write_suite2p(tmp_path, MASKS, iscell=[0.9, 0.1, 0.6])
    every = read_rois(tmp_path, RoiReading(Kept(every=True)))
    assert [roi.index for roi in every.rois] == [0, 1, 2]
    likely = read_rois(tmp_path, RoiReading(Kept(min_probability=0.6)))
    assert [roi.index for roi in likely.rois] == [0]
    assert likely.kept_by == "iscell probability > 0.6"
    with pytest.raises(InputError, match="choose one"):
        Kept(every=True, min_probability=0.5)
    with pytest.raises(InputError, match="all of its 3 ROIs are left out"):
        read_rois(tmp_path, RoiReading(Kept(min_probability=0.95)))


def test_several_planes_are_imported_one_by_one(tmp_path):
    for plane in (0, 1):
        write_suite2p(tmp_path / f"plane{plane}", MASKS, iscell=[1, 1, 1])
    with pytest.raises(InputError, match="holds 2 planes"):
        read_rois(tmp_path)
    assert read_rois(tmp_path / "plane1").rois[0].uid == "s2p-p1-00000"


def test_bad_folders_are_refused_in_a_sentence(tmp_path):
    def refusal(reading: RoiReading | None = None) -> InputError:
        with pytest.raises(InputError) as caught:
            read_rois(tmp_path, reading)
        assert "\n" not in str(caught.value)
        return caught.value

    assert "no known file of ROIs" in str(refusal())
    write_suite2p(tmp_path, MASKS)
    assert refusal().kind is ErrorKind.NOT_CLASSIFIED
    np.save(tmp_path / "iscell.npy", np.ones((2, 2)))
    assert "does not fit the 3 ROIs" in str(refusal())
    write_suite2p(tmp_path, MASKS, iscell=[1, 1, 1], shape=(30, 80))
    assert "'s2p-00001'" in str(refusal())
    assert "outside its image of 30 × 80 pixels" in str(refusal())
    (tmp_path / "ops.npy").unlink()
    write_suite2p(tmp_path, [], iscell=[])
    assert "does not fit" in str(refusal()) or "holds no cell" in str(refusal())


BAD_ROIS = {
    "no pixels": ({"ypix": np.zeros(0, int), "xpix": np.zeros(0, int)}, "covers no pixel"),
    "negative": ({"ypix": np.array([-2]), "xpix": np.array([3])}, "before the first one"),
    "halves": ({"ypix": np.array([1.5]), "xpix": np.array([3.0])}, "no whole numbers"),
    "not finite": ({"ypix": np.array([np.nan]), "xpix": np.array([3.0])}, "that no image has"),
    "huge": ({"ypix": np.array([0, 2**40]), "xpix": np.array([0, 1])}, "that no image has"),
    "far apart": ({"ypix": np.array([0, 2**20]), "xpix": np.array([0, 2**20])}, "than any cell"),
    "lengths": ({"ypix": np.arange(3), "xpix": np.arange(2)}, "no ypix and xpix"),
    "absent": ({"ypix": np.arange(3)}, "no ypix and xpix"),
    "text": ({"ypix": np.array(["a"]), "xpix": np.array(["b"])}, "no list of pixels"),
    "dark": (
        {"ypix": np.arange(2), "xpix": np.arange(2), "lam": np.zeros(2)},
        "no positive numbers",
    ),
    "weights": (
        {"ypix": np.arange(2), "xpix": np.arange(2), "lam": np.ones(3)},
        "other weights than pixels",
    ),
}


@pytest.mark.parametrize(("roi", "message"), BAD_ROIS.values(), ids=BAD_ROIS)
def test_bad_rois_are_refused_in_a_sentence(tmp_path, roi, message):
    stat = np.empty(1, dtype=object)
    stat[0] = roi
    save_objects(tmp_path / "stat.npy", stat)
    np.save(tmp_path / "iscell.npy", np.ones((1, 2)))
    with pytest.raises(InputError, match=message) as caught:
        read_rois(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_stat_of_other_objects_runs_nothing(tmp_path):
    class Creates:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    write_suite2p(tmp_path, MASKS, iscell=[1, 1, 1])
    for name in ("stat.npy", "ops.npy", "iscell.npy"):
        kept = (tmp_path / name).read_bytes() if (tmp_path / name).exists() else None
        values = np.empty(1, dtype=object)
        values[0] = Creates()
        save_objects(tmp_path / name, values)
        if name == "ops.npy":  # whatever it holds is left out
            assert read_rois(tmp_path).shape is None
        else:
            with pytest.raises(InputError, match=f"{name} holds"):
                read_rois(tmp_path)
        if kept is not None:
            (tmp_path / name).write_bytes(kept)
    assert not (tmp_path / "made").exists()


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_folder_is_refused_or_read(tmp_path_factory, data):
    folder = write_suite2p(
        tmp_path_factory.mktemp("plane"), MASKS, iscell=[0.9, 0.1, 0.6], shape=SHAPE
    )
    path = folder / data.draw(st.sampled_from(["stat.npy", "iscell.npy", "ops.npy"]))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    length = data.draw(st.integers(0, 4))
    path.write_bytes(whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + length :])
    try:
        found = read_rois(folder)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert 1 <= len(found.rois) <= 3
