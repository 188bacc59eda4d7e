"""BigWarp's tables: as it saves them, there and back, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.transforms.bigwarp import (
    BigWarpLandmarks,
    read_bigwarp,
    write_bigwarp,
)

# The form of lines that BigWarp saves; the last is active in the moving image alone.
THREE = (
    '"Pt-0","true","18.5","22.25","0.75","101.5","108.75","2.5"\n'
    '"Pt-1","false","3.0","4.0","5.0","6.0","7.0","8.0"\n'
    '"Pt-2","false","1.0","2.0","3.0","Infinity","Infinity","Infinity"\n'
)


def test_axes_flags_and_missing_sides_are_understood(tmp_path):
    (tmp_path / "marks.csv").write_text(THREE)
    found = read_bigwarp(tmp_path / "marks.csv")
    assert found.names == ("Pt-0", "Pt-1", "Pt-2")
    assert found.active.tolist() == [True, False, False]
    assert found.moving_um[0].tolist() == [0.75, 22.25, 18.5]
    assert found.fixed_um[0].tolist() == [2.5, 108.75, 101.5]
    assert np.isinf(found.fixed_um[2]).all()
    assert found.complete.tolist() == [True, False, False]
    landmarks = found.to_landmarks()
    assert landmarks.source_um.tolist() == [[2.5, 108.75, 101.5]]
    assert landmarks.target_um.tolist() == [[0.75, 22.25, 18.5]]


def test_a_table_is_written_as_bigwarp_saved_it(tmp_path):
    (tmp_path / "marks.csv").write_text(THREE)
    write_bigwarp(tmp_path / "again.csv", read_bigwarp(tmp_path / "marks.csv"))
    assert (tmp_path / "again.csv").read_text() == THREE


@given(
    n_dimensions=st.sampled_from([2, 3]),
    places=npst.arrays(np.float64, (7, 6), elements=st.floats(-1e6, 1e6) | st.just(float("inf"))),
    active=npst.arrays(np.bool_, 7),
)
@settings(max_examples=50, deadline=None)
def test_every_table_comes_back(tmp_path_factory, n_dimensions, places, active):
    path = tmp_path_factory.mktemp("bigwarp") / "marks.csv"
    names = tuple(f"Pt-{row}" for row in range(7))
    given_ = BigWarpLandmarks(names, active, places[:, :n_dimensions], places[:, -n_dimensions:])
    found = read_bigwarp(write_bigwarp(path, given_))
    assert found.names == names
    assert found.n_dimensions == n_dimensions
    assert np.array_equal(found.active, active)
    assert np.array_equal(found.moving_um, given_.moving_um)
    assert np.array_equal(found.fixed_um, given_.fixed_um)


def test_two_dimensions_say_nothing_about_a_volume(tmp_path):
    (tmp_path / "flat.csv").write_text('"Pt-0","true","1.0","2.0","3.0","4.0"\n')
    found = read_bigwarp(tmp_path / "flat.csv")
    assert found.moving_um.tolist() == [[2, 1]]
    assert found.fixed_um.tolist() == [[4, 3]]
    with pytest.raises(InputError, match="do not say where they lie in a volume"):
        found.to_landmarks()


def test_a_side_in_mm_is_pointed_out():
    places = np.random.default_rng(0).uniform(0, 500, (5, 3))
    with pytest.raises(InputError, match="second side is 1000 times smaller"):
        BigWarpLandmarks.of_places(places / 1000, places).to_landmarks()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty"),
        ("uid,z_um,y_um,x_um\na,1,2,3\n", "line 1 has 4 fields"),
        (THREE + '"Pt-3","true","1.0"\n', "line 4, has 3 fields where the first line has 8"),
        (THREE + '"Pt-3","true","1.0","2.0","3.0","4.0\n', "is no table of BigWarp landmarks"),
        (THREE.replace("false", "maybe", 1), "line 2, says 'maybe'"),
        (THREE.replace("22.25", "22,25"), "line 1, says '22,25', which is not a number"),
        (THREE.replace("22.25", "NaN"), "line 1, says NaN"),
        ("name,active,mx,my,mz,fx,fy,fz\n" + THREE, "line 1, says 'active'"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path, text, sentence):
    (tmp_path / "marks.csv").write_text(text)
    with pytest.raises(InputError, match=sentence) as error:
        read_bigwarp(tmp_path / "marks.csv")
    assert "\n" not in str(error.value)


def test_missing_and_binary_files_are_told_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_bigwarp(tmp_path / "nothing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\x89HDF\xff\xfe")
    with pytest.raises(InputError, match="is no table of BigWarp landmarks"):
        read_bigwarp(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("moving", "fixed"),
    [([[1, 2, 3]], [[1, 2]]), ([[1, 2, 3]], [[1, 2, float("nan")]]), ([[1]], [[1]])],
)
def test_arrays_that_do_not_fit_are_refused(moving, fixed):
    with pytest.raises(InputError):
        BigWarpLandmarks.of_places(moving, fixed)
