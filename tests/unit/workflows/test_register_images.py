"""Image files are registered, and what was found is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import tifffile

from beacons import BeaconMatcher, plane_of, scattered, turning
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.insight.registration_page import RegisteredPlanes
from napari_neurobridge.io.transforms.bigwarp import read_bigwarp
from napari_neurobridge.io.transforms.ngff_reader import read_ngff
from napari_neurobridge.models.model_folder import FEATURE_NET
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.spaces.transform_numbers import from_json
from napari_neurobridge.workflows.plane_files import PlaneFile
from napari_neurobridge.workflows.register_images import (
    RegistrationOutput,
    default_matcher,
    register_images,
    write_registration,
)

SIZE = 200
PLACES = scattered(45, SIZE)
TURN = turning(12, SIZE, 0.95)


def written(folder: Path, name: str, places: np.ndarray, size: int) -> PlaneFile:
    path = folder / f"{name}.tif"
    tifffile.imwrite(path, plane_of(places, (size, size)).values)
    return PlaneFile(path, 1.0)


def registered(folder: Path, matcher: BeaconMatcher, name: str = "fmost") -> RegisteredPlanes:
    source = written(folder, "site3", PLACES, SIZE)
    target = written(folder, name, TURN(PLACES) + 20.0, 240)
    return register_images(source, target, matcher=matcher, angles=(0.0,))


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> RegisteredPlanes:
    return registered(tmp_path_factory.mktemp("accepted"), BeaconMatcher(wrong=0.2))


def test_spaces_are_named_after_the_files(accepted, tmp_path) -> None:
    assert accepted.names == ("site3", "fmost")
    assert accepted.found.transform.target == "fmost"
    folder = tmp_path / "other"
    folder.mkdir()
    source = written(tmp_path, "plane", PLACES, SIZE)
    target = written(folder, "plane", PLACES + 5.0, SIZE)
    found = register_images(source, target, matcher=BeaconMatcher(), angles=(0.0,))
    assert found.names == ("plane (source)", "plane (target)")


def test_record_matches_and_page_are_written(accepted, tmp_path) -> None:
    files, transform = write_registration(accepted, tmp_path / "out")
    assert [path.name for path in files] == ["registration.json", "matches.csv", "quality.html"]
    assert transform is None
    assert sorted(tmp_path.glob("out/*")) == sorted(files)
    record = json.loads(files[0].read_text(encoding="utf-8"))
    mapped = from_json(json.dumps(record["transform"])).map_points(lifted(PLACES))
    np.testing.assert_allclose(mapped[:, 1:], TURN(PLACES) + 20.0, atol=2.0)
    with files[1].open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    matches = accepted.found.matches
    assert len(rows) == len(matches)
    for axis, name in enumerate("yx"):
        column = [float(row[f"target_{name}_um"]) for row in rows]
        np.testing.assert_array_equal(column, matches.target_um[:, axis])
    assert sum(int(row["agrees"]) for row in rows) == accepted.found.evidence.n_agreeing
    assert sum(int(row["verified"]) for row in rows) == accepted.found.evidence.n_verified


def test_the_map_leaves_for_itk_and_maps_alike_there(accepted, tmp_path) -> None:
    files, row = write_registration(accepted, tmp_path, RegistrationOutput("itk"))
    assert files[-1] == row.path
    read = SimpleITK.ReadTransform(str(row.path))
    there = [read.TransformPoint((x, y, 0.0))[::-1] for y, x in PLACES]
    expected = accepted.found.transform.map_points(lifted(PLACES))
    np.testing.assert_allclose(there, expected, atol=0.01)


def test_the_map_leaves_for_ngff(accepted, tmp_path) -> None:
    output = RegistrationOutput("ngff", "0.6")
    files, _ = write_registration(accepted, tmp_path, output)
    read = read_ngff(files[-1], source="site3", target="fmost")
    expected = accepted.found.transform.map_points(lifted(PLACES))
    np.testing.assert_allclose(read.map_points(lifted(PLACES)), expected, atol=0.01)


def test_what_ngff_05_cannot_say_is_refused_after_all_else_is_written(accepted, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        write_registration(accepted, tmp_path, RegistrationOutput("ngff"))
    assert caught.value.kind is ErrorKind.BEYOND_NGFF_05
    assert (tmp_path / "registration.json").is_file()


def test_agreeing_matches_leave_for_bigwarp(accepted, tmp_path) -> None:
    files, row = write_registration(accepted, tmp_path, RegistrationOutput("bigwarp"))
    landmarks = read_bigwarp(files[-1])
    matches = accepted.found.matches.take(accepted.found.agreeing)
    np.testing.assert_allclose(landmarks.fixed_um, matches.source_um)
    np.testing.assert_allclose(landmarks.moving_um, matches.target_um)
    assert row.kind == "landmarks"


def test_the_source_is_drawn_on_the_target(accepted, tmp_path) -> None:
    files, _ = write_registration(accepted, tmp_path, RegistrationOutput(warped=True))
    with tifffile.TiffFile(files[-1]) as tif:
        drawn = tif.asarray()
        assert 'PhysicalSizeX="1.0"' in tif.ome_metadata
    target = accepted.target.values
    assert drawn.shape == target.shape
    assert np.corrcoef(drawn.ravel(), target.ravel())[0, 1] > 0.8
    unregistered = accepted.source.values[:SIZE, :SIZE]
    assert np.corrcoef(unregistered.ravel(), target[:SIZE, :SIZE].ravel())[0, 1] < 0.3


def test_a_refusal_leaves_no_map(tmp_path) -> None:
    planes = registered(tmp_path, BeaconMatcher(wrong=1.0))
    output = RegistrationOutput("itk", warped=True)
    files, transform = write_registration(planes, tmp_path / "out", output)
    assert [path.name for path in files] == ["registration.json", "matches.csv", "quality.html"]
    assert transform is None
    record = json.loads(files[0].read_text(encoding="utf-8"))
    assert record["transform"] is None
    assert record["decision"]["accepted"] is False


def test_an_unknown_format_is_refused_before_anything_is_matched() -> None:
    with pytest.raises(InputError, match="there are ngff, itk, bigwarp"):
        RegistrationOutput("nifti")


def test_without_its_model_the_matcher_says_what_is_missing(monkeypatch) -> None:
    from napari_neurobridge.models import current

    monkeypatch.setitem(current._BUNDLED, FEATURE_NET, "absent-2d")
    default_matcher.cache_clear()
    with pytest.raises(InputError, match="no model 'absent-2d'"):
        default_matcher()


def test_the_bundled_matcher_is_loaded_once() -> None:
    default_matcher.cache_clear()
    assert default_matcher() is default_matcher()
