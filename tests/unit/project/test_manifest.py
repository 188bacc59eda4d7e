"""What ``project.toml`` keeps: statements of people apart from what files and defaults say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.project.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    DatasetSpec,
    Manifest,
    read_manifest,
    write_manifest,
)
from napari_neurobridge.spaces import Orientation
from napari_neurobridge.types import Role

SCHEMA_1 = """
schema_version = 1
software_version = "0.3.0"
created = 2026-11-01T12:00:00Z

[[datasets]]
name = "two_photon"
role = "in_vivo"
uri = "../a.tif"
axes = "zyx"
voxel_size_um = [2.0, 1.0, 1.0]

[datasets.orientation]
axes = "+z+y+x"
angle_deg = 0.0
expansion = 1.0
shift_um = [0.0, 0.0, 0.0]

[[datasets]]
name = "fmost"
role = "ex_vivo"
{orientation}
"""


def written(folder: Path, orientation: Orientation | None) -> DatasetSpec:
    spec = DatasetSpec(name="fmost", role=Role.EX_VIVO, orientation=orientation)
    write_manifest(folder, Manifest.new([spec]))
    return read_manifest(folder).datasets[0]


@pytest.mark.parametrize(
    "orientation", [None, Orientation(), Orientation(axes="+y+z-x", angle_deg=4)]
)
def test_what_was_stated_is_read_back_and_nothing_else(tmp_path, orientation) -> None:
    assert written(tmp_path, orientation).orientation == orientation


def test_nothing_stated_acts_as_the_same_axes(tmp_path) -> None:
    spec = written(tmp_path, None)
    assert spec.used_orientation == Orientation()
    assert np.array_equal(spec.linear(), np.eye(3))
    turned = Orientation(axes="+y+z-x", angle_deg=4, expansion=0.8)
    assert np.array_equal(written(tmp_path, turned).linear(), turned.linear())


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", None),
        ("[datasets.orientation]", None),
        ('[datasets.orientation]\naxes = "zyx"\nangle_deg = 0', None),
        ("[datasets.orientation]\nangle_deg = 10", Orientation(angle_deg=10)),
        ('[datasets.orientation]\naxes = "+y+z-x"', Orientation(axes="+y+z-x")),
    ],
)
def test_a_default_orientation_of_an_older_program_was_not_stated(tmp_path, table, expected):
    text = SCHEMA_1.format(orientation=table)
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
    manifest = read_manifest(tmp_path)
    two_photon, fmost = manifest.datasets
    assert two_photon.orientation is None
    assert fmost.orientation == expected
    assert two_photon.used_voxel_size_um == (2.0, 1.0, 1.0)
    write_manifest(tmp_path, manifest)
    again = read_manifest(tmp_path)
    assert (again.schema_version, again.datasets) == (SCHEMA_VERSION, manifest.datasets)


@pytest.mark.parametrize("version", ["0", "true", '"1"', "1.0", "-1"])
def test_a_damaged_schema_version_is_one_sentence(tmp_path, version) -> None:
    text = SCHEMA_1.format(orientation="").replace(
        "schema_version = 1", f"schema_version = {version}"
    )
    (tmp_path / MANIFEST_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="damaged: schema_version"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "table", ['[datasets.orientation]\naxes = "zzz"', 'orientation = "same"', "orientation = 3"]
)
def test_a_damaged_orientation_is_one_sentence(tmp_path, table) -> None:
    (tmp_path / MANIFEST_NAME).write_text(SCHEMA_1.format(orientation=table), encoding="utf-8")
    with pytest.raises(InputError, match="is damaged") as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)
