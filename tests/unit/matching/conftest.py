"""A tiny project of two images, and an encoder that is a fixed projection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_neurobridge.models.model_folder import ModelCalibration
from napari_neurobridge.project.folder import DatasetSpec, Project
from napari_neurobridge.project.log.annotate import add_somata
from napari_neurobridge.types import Float32Array, Role, SomaSource

VOXEL_UM = (3.0, 2.0, 2.0)
SHAPE = (20, 90, 90)
N_SOMATA = {"two_photon": 6, "fmost": 9}


class FakeEncoder:
    """Block means of a crop as a unit vector; remembers how many crops it saw."""

    name = "fake"
    dim = 100
    calibration = ModelCalibration()

    def __init__(self, weights_hash: str = "0123456789ab") -> None:
        self.hash = weights_hash
        self.n_embedded = 0

    def embed(
        self, crops: Float32Array, *, report: Callable[[int, int, str], None] | None = None
    ) -> Float32Array:
        self.n_embedded += len(crops)
        blocks = crops.reshape(len(crops), 10, 15, 10, 15).mean(axis=(2, 4)).reshape(-1, 100)
        blocks = blocks - blocks.mean(axis=1, keepdims=True) + 1e-6
        if report is not None:
            report(len(crops), len(crops), "embedding crops")
        norms = np.linalg.norm(blocks, axis=1, keepdims=True)
        return (blocks / norms).astype(np.float32)


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two volumes with the same content, somata at random places of both."""
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 1000, SHAPE).astype(np.uint16)
    specs = []
    for name, role in (("two_photon", Role.IN_VIVO), ("fmost", Role.EX_VIVO)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, volume, metadata={"axes": "ZYX"})
        specs.append(
            DatasetSpec(name=name, role=role, uri=str(path), axes="zyx", voxel_size_um=VOXEL_UM)
        )
    made = Project.create(tmp_path / "mouse.neurobridge", specs)
    extent = (np.array(SHAPE) - 1) * VOXEL_UM
    for name, count in N_SOMATA.items():
        add_somata(made, name, rng.uniform(0, extent, (count, 3)), source=SomaSource.MANUAL)
    return made
