"""Assignments in the layouts that CellReg, ROICaT and Track2p write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from fixtures.rois import save_objects, write_cellreg, write_roicat, write_track2p
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.tracking import CountedRows, read_tracking

ROWS = [[0, 2], [1, -1], [-1, 0], [3, 1]]


@pytest.mark.parametrize("hdf5", [True, False])
def test_cellreg_counts_from_one(tmp_path, hdf5):
    found = read_tracking(write_cellreg(tmp_path / "cellRegistered.mat", ROWS, hdf5=hdf5))
    assert found.rows.tolist() == ROWS
    assert (found.program, found.counted) == ("CellReg", None)
    pairs, scores = found.pairs(0, 1)
    assert pairs.tolist() == [[0, 2], [3, 1]]
    assert scores == pytest.approx([0.5, 0.9])
    assert found.pairs(1, 0)[0].tolist() == [[2, 0], [1, 3]]


def test_roicat_labels_each_roi(tmp_path):
    path = write_roicat(
        tmp_path / "x.ROICaT.tracking.results_clusters.json", [[7, 3, -1, 4], [4, -1, 7]]
    )
    found = read_tracking(path)
    assert (found.program, found.counted) == ("ROICaT", CountedRows.FILE)
    pairs, scores = found.pairs(0, 1)
    assert sorted(pairs.tolist()) == [[0, 2], [3, 0]]
    assert scores == [None, None]


@pytest.mark.parametrize(
    ("threshold", "rule"),
    [
        (None, "iscell"),
        (0.5, "iscell probability > 0.5"),
        (np.float64(0.25), "iscell probability > 0.25"),
    ],
)
def test_track2p_counts_the_cells_that_it_kept(tmp_path, threshold, rule):
    path = write_track2p(tmp_path, [[0, 2, None], [1, None, None], [5, 3, 4]], threshold=threshold)
    found = read_tracking(path)
    assert (found.program, found.plane, found.kept_by) == ("Track2p", 0, rule)
    assert found.counted is CountedRows.KEPT
    assert found.pairs(0, 1)[0].tolist() == [[0, 2], [5, 3]]
    (tmp_path / "track_ops.npy").unlink()
    assert read_tracking(path).counted is None


def test_sessions_have_to_exist(tmp_path):
    found = read_tracking(write_cellreg(tmp_path / "c.mat", ROWS))
    with pytest.raises(InputError, match="holds 2 sessions, counted from 0; there is no session 2"):
        found.pairs(0, 2)
    with pytest.raises(InputError, match="cannot both be session 1"):
        found.pairs(1, 1)
    with pytest.raises(InputError, match="no cell of both session"):
        read_tracking(write_cellreg(tmp_path / "c.mat", [[0, -1], [-1, 0]])).pairs(0, 1)


def test_bad_files_are_refused_in_a_sentence(tmp_path):
    def refusal(path: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_tracking(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no file" in refusal(tmp_path / "none.mat")
    (tmp_path / "notes.txt").write_text("")
    assert "no known file of assignments" in refusal(tmp_path / "notes.txt")
    mat = tmp_path / "c.mat"
    mat.write_bytes(b"no MATLAB")
    assert "no MATLAB file" in refusal(mat)
    mat.write_bytes(write_cellreg(mat, ROWS).read_bytes()[:900])
    assert "c.mat" in refusal(mat)
    savemat(mat, {"other": np.ones(3)})
    assert "no cell_to_index_map" in refusal(mat)
    assert "to two cells" in refusal(write_cellreg(mat, [[0, 1], [0, 2]]))
    assert "or none that can be" in refusal(write_cellreg(mat, [[-5, 1], [0, 2]]))
    assert "two or more sessions" in refusal(write_cellreg(mat, [[0], [1]]))
    path = tmp_path / "x.json"
    for text in (
        "{",
        "[]",
        '{"labels_bySession": [["a"]]}',
        '{"labels_bySession": 3}',
        "[" * 10**5,
    ):
        path.write_text(text)
        assert "x.json" in refusal(path)
    assert "two ROIs of session 0 to cell 3" in refusal(write_roicat(path, [[3, 3], [3]]))
    path = tmp_path / "plane0_match_mat.npy"
    for rows in ([["a", 1]], [[0.5, 1]], [[{}, 1]]):
        save_objects(path, np.array(rows, dtype=object))
        assert "no numbers of cells" in refusal(path)
    save_objects(path, np.array([1, None], dtype=object))
    assert "no matrix of matches" in refusal(path)
