"""Detecting the somata of a project's images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_neurobridge.detection.segment import SegmentParams
from napari_neurobridge.errors import InputError
from napari_neurobridge.io.ome_zarr import write_ome_zarr
from napari_neurobridge.models import current
from napari_neurobridge.models.model_folder import SEGMENTER
from napari_neurobridge.types import Role
from napari_neurobridge.workflows.detect import detect_dataset
from napari_neurobridge.workflows.setup import DatasetSource, create_project

CENTERS_UM = np.array([[20.0, 30, 30], [24.0, 70, 60], [40.0, 40, 90]])


@pytest.fixture
def project(tmp_path: Path):
    """Hold a two-photon stack with three somata, and an fMOST one."""
    grid = np.stack(np.indices((30, 120, 120)), axis=-1) * (2.0, 1.0, 1.0)
    image = np.zeros((30, 120, 120))
    for center in CENTERS_UM:
        image[np.linalg.norm(grid - center, axis=-1) < 7.5] = 1
    image = gaussian_filter(image, (1.2, 0.8, 0.8)) * 200 + 50
    image += np.random.default_rng(0).normal(0, 5, image.shape)
    path = write_ome_zarr(tmp_path / "a.zarr", image.astype(np.uint16), voxel_size_um=(2, 1, 1))
    sources = [
        DatasetSource("two_photon", Role.IN_VIVO, image=path),
        DatasetSource("fmost", Role.EX_VIVO, image=path),
    ]
    return create_project(tmp_path / "p.neurobridge", sources)


def test_the_segmenter_records_what_it_finds_and_who_it_is(project) -> None:
    assert detect_dataset(project, "two_photon", SegmentParams(), annotator="a") == 3
    somata = project.state().somata["two_photon"].values()
    places = np.array([soma.center_um for soma in somata])
    away = np.linalg.norm(places[:, None] - CENTERS_UM, axis=-1)
    assert (away.min(axis=0) < 3).all()
    assert project.state().detected_with["two_photon"]["min_distance_um"] == 8.0


def test_both_methods_find_bright_somata(project) -> None:
    assert detect_dataset(project, "fmost") == detect_dataset(project, "fmost", SegmentParams())


def test_a_segmenter_that_is_missing_is_told(project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(current._BUNDLED, SEGMENTER, "absent-2d")
    with pytest.raises(InputError, match="absent-2d"):
        detect_dataset(project, "fmost", SegmentParams())
    assert len(project.state().somata["fmost"]) == 0
