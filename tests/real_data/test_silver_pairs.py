"""The whole job on a part of two real volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from napari_neurobridge.benchmarks.silver_pairs import SilverPairsParameters, benchmark_silver_pairs
from napari_neurobridge.workflows.index import load_encoder

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

VOXEL_UM = np.array([1.68, 1.84, 1.84])
SHAPE = (110, 140, 150)
FIRST_VOXEL = {"fixed": np.array([25, 60, 220]), "moving": np.array([24, 46, 178])}


@pytest.fixture
def block(shared_data: Path, tmp_path: Path) -> Path:
    """The same piece of tissue cut out of both rounds, with the pairs inside it."""
    source = shared_data / "easi_fish"
    pairs = pd.read_csv(source / "silver_pairs.csv")
    inside = pd.Series(True, index=pairs.index)
    for name, first in FIRST_VOXEL.items():
        stop = first + SHAPE
        part = tifffile.imread(source / f"{name}.tif")[tuple(map(slice, first, stop))]
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            part,
            imagej=True,
            resolution=(1 / VOXEL_UM[2], 1 / VOXEL_UM[1]),
            metadata={"axes": "ZYX", "spacing": VOXEL_UM[0], "unit": "um"},
        )
        columns = [f"{name}_{axis}_um" for axis in "zyx"]
        pairs[columns] -= first * VOXEL_UM
        inside &= (pairs[columns] > 20).all(axis=1)
        inside &= (pairs[columns] < np.array(part.shape) * VOXEL_UM - 20).all(axis=1)
    pairs[inside].to_csv(tmp_path / "pairs.csv", index=False)
    return tmp_path


def test_the_whole_job_runs_on_real_volumes(block: Path, tmp_path: Path) -> None:
    result = benchmark_silver_pairs(
        load_encoder(None, "compact"),
        SilverPairsParameters(
            two_photon=block / "fixed.tif",
            fmost=block / "moving.tif",
            pairs=block / "pairs.csv",
            n=20,
        ),
        folder=tmp_path / "real.neurobridge",
    )
    assert result.n_queries == 20
    assert result.n_gallery > 50
    assert result.n_detected >= 12, "most silver partners are found as somata"
    assert result.topk["1"] <= result.topk["10"] <= result.topk["50"] <= result.n_detected / 20
    assert result.topk["10"] > result.chance["10"], "better than a random order"
