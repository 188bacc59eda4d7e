"""The benchmark of crops that are re-cut in the alignment's frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_neurobridge.benchmarks.tilt import TiltParameters, benchmark_tilt, draw_landmarks
from napari_neurobridge.errors import InputError

PLACES = np.random.default_rng(0).uniform(0, 1, (200, 3)) * [130.0, 260.0, 260.0]


class PixelEncoder:
    """The blurred crop itself as a unit vector."""

    name, hash = "pixels", "0123"

    def embed(self, crops):
        coarse = crops.reshape(len(crops), 25, 6, 25, 6).mean(axis=(2, 4)).reshape(len(crops), -1)
        coarse = coarse - coarse.mean(axis=1, keepdims=True)
        return coarse / np.linalg.norm(coarse, axis=1, keepdims=True)


@pytest.mark.parametrize("layout", ["spread", "plane", "corner"])
def test_landmarks_are_six_cells_laid_out_as_asked(layout):
    for seed in range(10):
        rows = draw_landmarks(PLACES, layout, np.random.default_rng(seed))
        assert len(set(rows.tolist())) == 6
        spread = np.ptp(PLACES[rows], axis=0)
        if layout == "plane":
            assert spread[0] < 20
        if layout == "corner":
            assert spread.max() < 130


@pytest.mark.slow
def test_a_scene_is_ranked_in_both_frames():
    torch.set_num_threads(1)
    result = benchmark_tilt(
        PixelEncoder(),
        TiltParameters(seeds=(100,), level="easy", degrees=(12.0,)),
        size_um=(60.0, 120.0, 120.0),
    )
    rows = {(row.turn, row.degrees, row.landmarks): row for row in result.results}
    assert {key[:2] for key in rows} == {("tilt", 0.0), ("tilt", 12.0), ("rotation", 12.0)}
    for (_, _, layout), row in rows.items():
        assert (row.aligned is None) == (layout == "all")
        if row.aligned is not None and row.shortlist_top1 is not None:
            # What is not listed cannot come first.
            assert row.shortlist_top1 <= row.oriented["10"]
            # Cells of the pairs are not asked about.
            assert row.n_queries <= rows["tilt", 0.0, "all"].n_queries
    turned = rows["rotation", 12.0, "spread"]
    assert turned.aligned["1"] > turned.oriented["1"]


def test_a_scene_is_needed():
    with pytest.raises(InputError, match="at least one scene"):
        benchmark_tilt(PixelEncoder(), TiltParameters(seeds=()))
