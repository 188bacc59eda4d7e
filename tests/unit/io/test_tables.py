import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tables import read_points, read_table, write_points

# What a field of a table can hold: separators, quotes and line ends included.
FIELDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(',;\t" ')
)


@given(
    points=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 5), st.just(3)), elements=st.floats(-1e6, 1e6)
    )
)
def test_round_trip(tmp_path_factory, points):
    path = tmp_path_factory.mktemp("points") / "points.csv"
    uids = [f"00{index}" for index in range(len(points))]
    write_points(path, uids, points)
    read_uids, read = read_points(path)
    assert read_uids == uids
    assert np.array_equal(read, points)


@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=5
        )
    ),
    separator=st.sampled_from(",;\t"),
)
def test_any_text_comes_back_whatever_separates_it(tmp_path_factory, rows, separator):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    columns = [f"column {index}" for index in range(len(rows[0]))]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, delimiter=separator, quoting=csv.QUOTE_ALL)
        writer.writerows([columns, *rows])
    table = read_table(path)
    assert table.columns == tuple(columns)
    assert table.rows == [[field.strip() for field in row] for row in rows]
    assert table.lines == list(range(2, len(rows) + 2))


@given(
    numbers=st.lists(
        st.decimals(-1000, 1000, places=2, allow_nan=False), min_size=3, max_size=12
    ).map(lambda values: values[: len(values) // 3 * 3]),
    separator=st.sampled_from(";\t"),
)
def test_decimal_commas_are_read_between_semicolons(tmp_path_factory, numbers, separator):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    texts = [str(number).replace(".", ",") for number in numbers]
    rows = [texts[start : start + 3] for start in range(0, len(texts), 3)]
    path.write_text(
        "\n".join(separator.join(row) for row in [["z_um", "y_um", "x_um"], *rows]),
        encoding="utf-8",
    )
    assert np.array_equal(read_points(path)[1].ravel(), np.array(numbers, dtype=float))


def test_header_and_optional_uid(tmp_path):
    path = tmp_path / "points.csv"
    write_points(path, ["a"], [[1, 2, 3]])
    assert path.read_text().splitlines()[0] == "uid,z_um,y_um,x_um"
    path.write_text("x_um,note,z_um,y_um\n3,soma,1,2\n")
    uids, points = read_points(path)
    assert uids is None
    assert points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("content", "points"),
    [
        # As a spreadsheet writes it where the comma is decimal.
        ("uid;z_um;y_um;x_um\r\na;1,5;2;3,25\r\n", [1.5, 2, 3.25]),
        ("uid\tz_um\ty_um\tx_um\na\t1.5\t2\t3.25\n", [1.5, 2, 3.25]),
        ('uid,z_um,y_um,x_um\na,"1,5",2,"3,25"\n', [1.5, 2, 3.25]),
        ("\ufeffuid, z_um, y_um, x_um\n\na, 1.5, +2, 3.25e0\n\n", [1.5, 2, 3.25]),
        # No number begins its thousands with 0.
        ("uid;z_um;y_um;x_um\na;0,500;2,125;3\n", [0.5, 2.125, 3]),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, content, points):
    path = tmp_path / "points.csv"
    path.write_text(content, encoding="utf-8", newline="")
    assert read_points(path) == (["a"], pytest.approx(np.array([points])))


HEADER = "uid,z_um,y_um,x_um\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no table of points: it is empty"),
        ("\n  \n", "it is empty"),
        (HEADER, "a header in line 1 and no rows"),
        ("uid,z_um,y_um\na,1,2\n", "lacks the column x_um"),
        ("uid,z_um,z_um,y_um,x_um\na,1,1,2,3\n", "line 1, names the column z_um twice"),
        ("z_um,y_um,x_um\n1,two,3\n", "line 2, says 'two', which is not a number, as y_um"),
        ("z_um,y_um,x_um\n1,,3\n", "line 2, says nothing as y_um"),
        ("z_um,y_um,x_um\n1,nan,3\n", "'nan', which is not a number"),
        ("z_um,y_um,x_um\n1,1e999,3\n", "'1e999', which is not a number"),
        ("z_um,y_um,x_um\n1,1_000,3\n", "'1_000', which is not a number"),
        (HEADER + "a,1,2,3\na,4,5,6\n", "line 3, names 'a' twice"),
        (HEADER + ",1,2,3\n", "line 2, has no uid"),
        # Decimal commas without quotes: pandas took the first fields for an index.
        (HEADER + "a,1,5,2,5,3,5\n", "line 2, has 7 fields where the header has 4; put"),
        (HEADER + "a,1,2,3\nb,1,2\n", "line 3, has 3 fields where the header has 4"),
        (HEADER + "a,1,2,3\nb,1,2,3,4\n", "line 3, has 5 fields where the header has 4"),
        (HEADER + "a,1,2,3\nb;1;2;3\n", "line 3.*separated by semicolons, the header by commas"),
        ("uid;z_um;y_um;x_um\na,1,2,3\n", "line 2.*separated by commas, the header by semicolons"),
        (HEADER + "a;1,5;2,5;3,5\n", "line 2, says"),
        ("uid,z_um;y_um;x_um\na,1;2;3\n", "line 1, separates its fields by commas and semicolons"),
        ("z_um;y_um;x_um\n1,5;2.5;3\n", "line 2, has a decimal comma, and other numbers a point"),
        ("z_um;y_um;x_um\n1;2;3\n1,500;2;3\n", "line 3, has a comma that may divide thousands"),
        ("z_um;y_um;x_um\n1,500,000;2;3\n", "not a number"),
        ('z_um,y_um,x_um\n"1,2,3\n', "line 2"),
        ('z_um,y_um,x_um\n"1"5,2,3\n', "line 2"),
    ],
)
def test_bad_tables_are_refused_with_the_line(tmp_path, content, message):
    path = tmp_path / "points.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_points(path)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_tables(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_points(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no table of points"):
        read_points(tmp_path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="no table of points"):
        read_points(binary)


def test_a_message_counts_lines_as_an_editor_does(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('uid,note\na,"two\nlines"\n\nb\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 5, has 1 field"):
        read_table(path)
