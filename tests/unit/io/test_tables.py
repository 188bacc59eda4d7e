import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points, write_points


@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 5), st.just(3)), elements=st.floats(-1e6, 1e6)
    )
)
def test_round_trip(tmp_path_factory, points):
    path = tmp_path_factory.mktemp("points") / "points.csv"
    uids = [f"00{index}" for index in range(len(points))]
    write_points(path, uids, points)
    read_uids, read = read_points(path)
    assert read_uids == uids
    assert np.array_equal(read, points)


def test_header_and_optional_uid(tmp_path):
    path = tmp_path / "points.csv"
    write_points(path, ["a"], [[1, 2, 3]])
    assert path.read_text().splitlines()[0] == "uid,z_um,y_um,x_um"
    path.write_text("x_um,note,z_um,y_um\n3,soma,1,2\n")
    uids, points = read_points(path)
    assert uids is None
    assert points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no table"),
        ("uid,z_um,y_um\na,1,2\n", "lacks the column x_um"),
        ("z_um,y_um,x_um\n1,two,3\n", "not a number"),
        ("z_um,y_um,x_um\n1,,3\n", "NaN"),
        ("uid,z_um,y_um,x_um\na,1,2,3\na,4,5,6\n", "twice"),
        ("uid,z_um,y_um,x_um\n,1,2,3\n", "without uid"),
    ],
)
def test_bad_tables(tmp_path, content, message):
    path = tmp_path / "points.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_points(path)


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_points(tmp_path / "none.csv")
