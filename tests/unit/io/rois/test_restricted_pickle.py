"""Nothing that a file names is run, whatever it names."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fixtures.rois import save_objects
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.restricted_pickle import read_npy

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from([np.float32(1.5), np.int64(-3), np.bool_(True)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)
ARRAYS = npst.arrays(
    st.sampled_from([np.dtype(code) for code in ("<f4", ">f8", "<i2", "?", "<U3", "|S4", "<c8")]),
    npst.array_shapes(max_dims=3, max_side=4),
)


class Creates:
    """What an attacker puts into a file: unpickled, it makes another one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def objects(*values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


@given(values=st.lists(PLAIN, max_size=3), array=ARRAYS, protocol=st.sampled_from([2, 3, 4]))
def test_what_programs_store_comes_back(tmp_path_factory, values, array, protocol):
    path = tmp_path_factory.mktemp("npy") / "stat.npy"
    save_objects(path, objects({"values": values, "array": array}), protocol)
    (found,) = read_npy(path, objects=True)
    assert found["values"] == values
    expected = np.load(path, allow_pickle=True)[0]["array"]
    assert (found["array"].dtype, found["array"].shape) == (expected.dtype, array.shape)
    assert found["array"].tobytes() == expected.tobytes()


def test_numbers_need_no_pickle(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3))
    assert read_npy(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("ignore_others", [False, True])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_code_in_a_file_is_not_run(tmp_path, protocol, ignore_others):
    made, path = tmp_path / "made", tmp_path / "stat.npy"
    save_objects(path, objects({"ypix": Creates(made)}), protocol)
    if ignore_others:
        read_npy(path, objects=True, ignore_others=True)
    else:
        with pytest.raises(InputError, match=r"stat\.npy holds the object .*mkdir"):
            read_npy(path, objects=True)
    assert not made.exists()
    np.load(path, allow_pickle=True)
    assert made.exists(), "the same file does run in NumPy's own reader"


# Each asks for something that plain arrays never need.
HOSTILE = {
    "builtins": b"cbuiltins\neval\n(S'1'\ntR.",
    "os.system": b"cos\nsystem\n(S'true'\ntR.",
    "attribute of numpy": b"cnumpy\nload\n(S'x'\ntR.",
    "numpy by a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x09core.load\x93.",
    "changed function": b"cnumpy\ndtype\n}(S'__doc__'\nS'x'\nub.",
    "class made directly": b"\x80\x02cnumpy\ndtype\n(S'f8'\nt\x81.",
    "huge array": b"cnumpy.core.multiarray\n_reconstruct\n"
    b"(cnumpy\nndarray\n(J\xff\xff\xff\x7ftS'b'\ntR.",
    "array of types": b"cnumpy\ndtype\n((lS'f8'\natR.",
    "extension": b"\x82\x01.",
    "instance": b"(S'x'\nios\nsystem\n.",
    "persistent": b"Pname\n.",
    "no end": b"(lp0\n",
    "nothing": b"",
    "memo of 2^31": b"]r\xff\xff\xff\x7f.",
    "text of 2^62 bytes": b"\x8d\xff\xff\xff\xff\xff\xff\xff\x3f.",
}


@pytest.mark.parametrize("stream", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_a_sentence(tmp_path, stream):
    path = tmp_path / "stat.npy"
    save_objects(path, objects())
    header = path.read_bytes().split(b"\n")[0] + b"\n"
    path.write_bytes(header + stream)
    with pytest.raises(InputError, match=r"stat\.npy (holds|is damaged)") as caught:
        read_npy(path, objects=True)
    assert "\n" not in str(caught.value)


def test_damaged_types_and_arrays_do_not_reach_numpy(tmp_path):
    path = tmp_path / "stat.npy"
    save_objects(path, objects({"a": np.arange(3, dtype="<i4")}), 2)
    whole = path.read_bytes()
    before = np.dtype("i4").byteorder
    for wrong in (
        whole.replace(b"K\x03\x85", b"K\x09\x85"),  # another shape
        whole.replace(b"U\x01<", b"U\x01>").replace(b"X\x01\x00\x00\x00<", b"X\x01\x00\x00\x00x"),
        whole[:-20] + b".",
    ):
        if wrong == whole:
            continue
        path.write_bytes(wrong)
        with pytest.raises(InputError):
            read_npy(path, objects=True)
    assert np.dtype("i4").byteorder == before


def test_what_is_not_needed_may_be_ignored(tmp_path):
    values = {"Ly": 512, "path": PurePosixPath("/a/b"), "when": np.datetime64("2024-01-01")}
    np.save(tmp_path / "ops.npy", values)  # type: ignore[arg-type]
    found = read_npy(tmp_path / "ops.npy", objects=True, ignore_others=True).item()
    assert found["Ly"] == 512
    assert not isinstance(found["path"], PurePosixPath)


def test_objects_are_refused_where_numbers_are_expected(tmp_path):
    save_objects(tmp_path / "iscell.npy", objects(1, 2))
    with pytest.raises(InputError, match="objects, where numbers are expected"):
        read_npy(tmp_path / "iscell.npy")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x93NUMPY\x09\x00x"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match="damaged, or no NumPy file"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(InputError, match="no file"):
        read_npy(tmp_path / "none.npy")


def test_a_header_that_promises_too_much_makes_no_room_for_it(tmp_path):
    path = tmp_path / "iscell.npy"
    with path.open("wb") as handle:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**34, 2)}
        np.lib.format.write_array_header_1_0(handle, header)
    with pytest.raises(InputError, match="damaged"):
        read_npy(path)
