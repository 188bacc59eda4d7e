"""A plane or a stack is found in a whole volume, and what was found is written."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from beacons import LEVEL, BeaconPattern, discs_of
from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.transforms.bigwarp import read_bigwarp
from napari_neurobridge.matching.constellation.localise import LocalisationParams
from napari_neurobridge.matching.constellation.volume_search import VolumeSearchParams
from napari_neurobridge.registration.keypoints import Keypoints, PlanarImage
from napari_neurobridge.registration.optical_plane import optical_pose
from napari_neurobridge.spaces.orientation import Orientation
from napari_neurobridge.spaces.transform_numbers import from_json
from napari_neurobridge.workflows.plane_files import PlaneFile
from napari_neurobridge.workflows.register_images import RegistrationOutput
from napari_neurobridge.workflows.register_volume import (
    RegisteredVolume,
    VolumeFile,
    register_volume,
)
from napari_neurobridge.workflows.volume_registration_files import write_volume_registration

pytestmark = pytest.mark.slow

VOXEL = (2.0, 1.0, 1.0)
SHAPE = (100, 300, 300)
SIDE = 200
ORIENTATION = Orientation(axes="+z-y+x")
POSE = optical_pose(ORIENTATION.linear(), (0.0, 100.0, 100.0), (95.0, 160.0, 140.0), angle_deg=70.0)
RADIUS = 4.0


@dataclass(frozen=True)
class _Discs:
    found: Keypoints

    def somata(self, least_probability: float) -> Keypoints:
        return self.found


class DiscExtractor:
    """Stands for the feature network: sees discs, and no two as one."""

    def describe(self, image: PlanarImage) -> _Discs:
        places = list(discs_of(image).values())
        return _Discs(Keypoints.at(np.array(places).reshape(-1, 2)))


@dataclass
class DiscMatcher(BeaconPattern):
    """Stands for the matcher of somata."""

    extractor: DiscExtractor = field(default_factory=DiscExtractor)
    pairs: None = None


def balls() -> np.ndarray:
    """Return middles (N, 3) µm in the volume, one brightness each."""
    rng = np.random.default_rng(3)
    extent = (np.array(SHAPE) - 1) * VOXEL
    found: list[np.ndarray] = []
    for place in rng.uniform(6, extent - 6, (20_000, 3)):
        if all(np.linalg.norm(place - other) > 14 for other in found):
            found.append(place)
        if len(found) == 1500:
            break
    return np.array(found)


BALLS = balls()


def drawn(places_um: np.ndarray, shape: tuple[int, ...], voxel: tuple[float, ...]) -> np.ndarray:
    values = np.zeros(shape, dtype=np.float32)
    for number, place in enumerate(places_um):
        low = np.maximum(np.floor((place - RADIUS) / voxel).astype(int), 0)
        high = np.minimum(np.ceil((place + RADIUS) / voxel).astype(int) + 1, shape)
        if (high <= low).any():
            continue
        grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1) * voxel
        near = np.linalg.norm(grid - place, axis=-1) <= RADIUS
        values[tuple(map(slice, low, high))][near] = LEVEL + number
    return values


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("volume")
    paths = {name: folder / f"{name}.ome.tif" for name in ("fmost", "stack")}
    paths |= {name: folder / f"{name}.tif" for name in ("site3", "bare")}
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 1.0}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "ZYX"}
    volume = drawn(BALLS, SHAPE, VOXEL)
    metadata = {"axes": "ZYX", **sizes, **units}
    tifffile.imwrite(paths["fmost"], volume, ome=True, metadata=metadata)
    tifffile.imwrite(paths["bare"], volume, metadata={"axes": "ZYX"})
    here = POSE.inverse().map_points(BALLS)
    stack = drawn(here + np.array([20.0, 0.0, 0.0]), (21, SIDE, SIDE), VOXEL)
    tifffile.imwrite(paths["stack"], stack, ome=True, metadata=metadata)
    tifffile.imwrite(paths["site3"], stack[4:17].max(axis=0))
    return paths


@pytest.fixture(scope="module")
def found(files) -> RegisteredVolume:
    return register_volume(
        PlaneFile(files["site3"], 1.0),
        VolumeFile(files["fmost"]),
        orientation=ORIENTATION,
        matcher=DiscMatcher(),
    )


def off_um(found: RegisteredVolume, depth_um: float = 0.0) -> float:
    """Return how far the map is off in the plane, at most; depth is a slab's thickness unsure."""
    at = np.linspace(20, SIDE - 20, 5)
    nodes = np.stack(np.meshgrid([depth_um], at, at, indexing="ij"), axis=-1).reshape(-1, 3)
    true = POSE.map_points(nodes - (depth_um, 0, 0))
    assert found.found.transform is not None
    off = found.found.transform.map_points(nodes) - true
    assert np.abs(off[:, 0]).max() < 12
    return float(np.linalg.norm(off[:, 1:], axis=1).max())


def test_a_plane_is_found_in_a_volume(found) -> None:
    assert found.found.decision.accepted, found.found.decision.reason
    assert found.names == ("site3", "fmost")
    assert off_um(found) < 3
    assert found.found.transform.source == "site3"
    assert found.found.transform.target == "fmost"
    # What is shown of the volume is shown as the source lies.
    source, target = found.planes.source.values, found.planes.target.values
    assert source.shape == target.shape
    assert np.corrcoef(source.ravel(), target.ravel())[0, 1] > 0.5


def test_matches_lie_in_both_spaces(found) -> None:
    here, there = found.found.places_um
    agreeing = found.found.check.agreeing
    assert agreeing.sum() >= 20
    off = POSE.map_points(here[agreeing]) - there[agreeing]
    assert np.median(np.linalg.norm(off[:, 1:], axis=1)) < 2


def test_a_stack_is_found_too(files) -> None:
    found = register_volume(
        PlaneFile(files["stack"]),
        VolumeFile(files["fmost"]),
        orientation=ORIENTATION,
        matcher=DiscMatcher(),
    )
    assert found.found.decision.accepted, found.found.decision.reason
    assert found.found.depth_um == pytest.approx(20.0, abs=2)
    assert off_um(found, 20.0) < 3


def test_record_matches_page_and_map_are_written(found, tmp_path) -> None:
    output = RegistrationOutput("itk", warped=True)
    files, transform = write_volume_registration(found, tmp_path / "out", output)
    assert [path.name for path in files][:4] == [
        "registration.json", "matches.csv", "quality.html", "target-on-source.ome.tif",
    ]  # fmt: skip
    assert all(path.exists() for path in files)
    assert (transform.source, transform.target) == ("site3", "fmost")
    record = json.loads(files[0].read_text(encoding="utf-8"))
    assert record["decision"]["accepted"] is True
    stored = from_json(json.dumps(record["transform"]))
    place = np.array([[0.0, 50.0, 60.0]])
    np.testing.assert_allclose(
        stored.map_points(place), found.found.transform.map_points(place), atol=1e-6
    )
    with files[1].open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    there = found.found.places_um[1]
    column = [float(row["target_z_um"]) for row in rows]
    np.testing.assert_allclose(column, there[:, 0])
    assert tifffile.imread(files[3]).shape == (SIDE, SIDE)


def test_agreeing_matches_leave_as_landmarks_in_space(found, tmp_path) -> None:
    files, _ = write_volume_registration(found, tmp_path, RegistrationOutput("bigwarp"))
    landmarks = read_bigwarp(files[-1])
    here, there = (places[found.found.check.agreeing] for places in found.found.places_um)
    np.testing.assert_allclose(landmarks.fixed_um, here)
    np.testing.assert_allclose(landmarks.moving_um, there)


def test_another_field_is_refused_and_leaves_no_map(files, tmp_path) -> None:
    rng = np.random.default_rng(8)
    other = tmp_path / "other.tif"
    places = np.column_stack([np.zeros(70), rng.uniform(8, SIDE - 8, (70, 2))])
    tifffile.imwrite(other, drawn(places, (1, SIDE, SIDE), VOXEL)[0])
    found = register_volume(
        PlaneFile(other, 1.0),
        VolumeFile(files["fmost"]),
        orientation=ORIENTATION,
        matcher=DiscMatcher(),
        params=LocalisationParams(search=VolumeSearchParams(rounds=1)),
    )
    assert not found.found.decision.accepted
    assert found.found.transform is None
    written, transform = write_volume_registration(
        found, tmp_path / "out", RegistrationOutput("itk", warped=True)
    )
    assert transform is None
    assert {path.name for path in written} <= {
        "registration.json", "matches.csv", "quality.html",
    }  # fmt: skip
    record = json.loads(written[0].read_text(encoding="utf-8"))
    assert record["transform"] is None
    assert record["decision"]["accepted"] is False


def test_what_the_planes_do_not_bear_out_is_refused(found) -> None:
    refused = found.found.check.decision.model_copy(update={"accepted": False, "reason": "No."})
    doubted = replace(found.found, check=replace(found.found.check, decision=refused))
    assert found.found.localisation.decision.accepted
    assert doubted.decision.reason == "No."
    assert doubted.transform is None


def test_a_volume_without_a_voxel_size_asks_for_it(files) -> None:
    with pytest.raises(InputError) as caught:
        register_volume(
            PlaneFile(files["site3"], 1.0), VolumeFile(files["bare"]), matcher=DiscMatcher()
        )
    assert caught.value.kind is ErrorKind.NO_TARGET_VOXEL_SIZE
