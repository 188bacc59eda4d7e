"""Outlines as they lie in a project."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.rois.outline_file import Outlines, copy_outlines

VERTICES = npst.arrays(
    np.float32, st.tuples(st.integers(0, 5), st.just(3)), elements=st.floats(-100, 100, width=32)
)


def outlines(polygons: list[np.ndarray]) -> Outlines:
    n = len(polygons)
    return Outlines(
        [f"a {row}" for row in range(n)],
        np.arange(3.0 * n).reshape(n, 3),
        np.arange(float(n)),
        False,
        polygons,
    )


@given(st.lists(VERTICES, min_size=1, max_size=5))
def test_round_trip(tmp_path_factory, polygons):
    folder = tmp_path_factory.mktemp("rois")
    written = outlines(polygons)
    name = written.save(folder)
    assert outlines(polygons).save(folder) == name, "the same content is the same file"
    assert [path.name for path in folder.iterdir()] == [f"{name}.npz"]
    read = Outlines.load(folder, name)
    assert read.uids == written.uids
    assert np.array_equal(read.centers_um, written.centers_um)
    assert np.array_equal(read.sizes, written.sizes)
    assert read.solid is False
    assert len(read.outlines_um) == len(polygons)
    for found, polygon in zip(read.outlines_um, polygons, strict=True):
        assert np.array_equal(found, polygon)


def test_ten_thousand_outlines_are_a_small_file(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 32)
    circle = np.column_stack([np.zeros(32), 5 * np.cos(angle), 5 * np.sin(angle)])
    rng = np.random.default_rng(0)
    polygons = [circle + shift for shift in rng.uniform(0, 1000, (10_000, 1, 3))]
    name = outlines(polygons).save(tmp_path)
    assert (tmp_path / f"{name}.npz").stat().st_size < 5_000_000


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: b"", lambda c: c + b"x"])
def test_a_damaged_file_is_told(tmp_path, damage):
    name = outlines([np.zeros((3, 3))]).save(tmp_path)
    path = tmp_path / f"{name}.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        Outlines.load(tmp_path, name)
    with pytest.raises(InputError, match="missing"):
        Outlines.load(tmp_path, "0" * 16)


def test_only_what_is_missing_is_copied(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    names = [outlines([np.full((3, 3), n)]).save(here) for n in range(2)]
    outlines([np.full((3, 3), 0)]).save(there)
    (here / "notes.txt").write_text("no outline")
    copy_outlines(here, there)
    copy_outlines(tmp_path / "none", there)
    assert sorted(path.stem for path in there.iterdir()) == sorted(names)
