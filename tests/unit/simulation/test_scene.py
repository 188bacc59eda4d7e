import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.volumes import Volume, open_volume
from napari_neurobridge.simulation.levels import LEVELS
from napari_neurobridge.simulation.scene import SceneFiles, simulate_scene
from napari_neurobridge.spaces.orientation import Orientation

SIZE = (60.0, 160.0, 140.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> SceneFiles:
    return simulate_scene(tmp_path_factory.mktemp("scene"), seed=4, size_um=SIZE, level="easy")


def read_truth(scene: SceneFiles) -> list[dict[str, str]]:
    with scene.truth.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def positions(rows: list[dict[str, str]], side: str) -> np.ndarray:
    return np.array([[float(row[f"{side}_{axis}_um"]) for axis in "zyx"] for row in rows])


def open_side(scene: SceneFiles, side: str) -> Volume:
    return open_volume(getattr(scene, side), name=side)


def offset_of_blob(volume: Volume, center_um: np.ndarray) -> np.ndarray | None:
    """Return where the light around a position has its centre of mass; None near a border."""
    step = np.array(volume.voxel_size_um)
    reach = np.ceil(12.0 / step).astype(int)
    middle = np.round(center_um / step).astype(int)
    if (middle < reach).any() or (middle + reach >= volume.shape).any():
        return None
    start = middle - reach
    box = volume.read(tuple(start), tuple(middle + reach + 1))
    smooth = ndimage.gaussian_filter(box, 2.5 / step)
    grid = np.stack(np.indices(box.shape), axis=-1) + start
    near = np.linalg.norm(grid * step - center_um, axis=-1) < 10.0
    light = np.where(near, np.clip(smooth - np.median(box), 0, None), 0) ** 2
    centroid = (light[..., None] * grid * step).sum(axis=(0, 1, 2)) / light.sum()
    return np.asarray(centroid - center_um)


@pytest.mark.parametrize("side", ["two_photon", "fmost"])
def test_somata_in_the_images_lie_where_the_truth_says(scene, side):
    volume = open_side(scene, side)
    rows = [row for row in read_truth(scene) if row[f"in_{side}"] == "1"]
    offsets = [offset_of_blob(volume, center) for center in positions(rows, side)]
    found = np.array([offset for offset in offsets if offset is not None])
    assert len(found) >= 5
    assert np.median(np.linalg.norm(found, axis=1)) < 2.0
    # A shift common to all, such as half a voxel, would be a mistake in the coordinates.
    assert np.abs(np.median(found, axis=0)).max() < 0.8


@pytest.mark.parametrize("side", ["two_photon", "fmost"])
def test_somata_are_brighter_than_their_surroundings(scene, side):
    volume = open_side(scene, side)
    image = volume.read((0, 0, 0), volume.shape)
    smooth = ndimage.gaussian_filter(image, 2.5 / np.array(volume.voxel_size_um))
    rows = [row for row in read_truth(scene) if row[f"in_{side}"] == "1"]
    index = np.round(positions(rows, side) / volume.voxel_size_um).astype(int)
    at_somata = smooth[tuple(index.T)]
    assert (at_somata > np.percentile(smooth, 80)).mean() > 0.9


def test_files_say_what_they_are(scene):
    two_photon, fmost = open_side(scene, "two_photon"), open_side(scene, "fmost")
    assert two_photon.voxel_size_um == (2.0, 1.0, 1.0)
    assert two_photon.shape == (30, 160, 140)
    assert two_photon.dtype == np.uint16
    assert fmost.voxel_size_um == (2.0, 0.65, 0.65)
    assert fmost.dtype == np.uint16
    with tifffile.TiffFile(scene.two_photon) as tif:
        assert tif.is_ome and tif.series[0].axes == "ZYX"
    saved = scene.orientation_path.read_text(encoding="utf-8")
    assert Orientation.model_validate_json(saved) == scene.orientation


def test_table_counts_pairs_and_names_only_what_is_seen(scene):
    rows = read_truth(scene)
    assert len(rows) == scene.n_neurons
    both = [row for row in rows if row["in_two_photon"] == row["in_fmost"] == "1"]
    assert len(both) == scene.n_pairs > 5
    for side, prefix in (("two_photon", "tp"), ("fmost", "fm")):
        uids = [row[f"{side}_uid"] for row in rows if row[f"in_{side}"] == "1"]
        assert sorted(uids) == [f"{prefix}-{n:05d}" for n in range(1, len(uids) + 1)]
        assert all(row[f"{side}_uid"] == "" for row in rows if row[f"in_{side}"] == "0")
        extent = open_side(scene, side).extent_um
        inside = positions([row for row in rows if row[f"in_{side}"] == "1"], side)
        assert (inside >= 0).all() and (inside <= np.array(extent)).all()
    numbers = [(int(row["two_photon_uid"][3:]), int(row["fmost_uid"][3:])) for row in both]
    assert abs(np.corrcoef(np.array(numbers).T)[0, 1]) < 0.8


def test_table_and_deformation_agree_and_invert(scene):
    rows = read_truth(scene)
    in_vivo, ex_vivo = positions(rows, "two_photon"), positions(rows, "fmost")
    assert np.abs(scene.deformation.map_points(in_vivo) - ex_vivo).max() < 0.01
    assert np.abs(scene.deformation.inverse().map_points(ex_vivo) - in_vivo).max() < 0.01


def test_orientation_is_exact_in_axes_and_roughly_right_in_the_rest(scene):
    misfit = LEVELS["easy"].misfit
    sections = scene.orientation.axes[1]
    assert sections != "z"
    rest = np.linalg.inv(scene.orientation.linear()) @ scene.deformation.affine.linear
    assert np.linalg.det(rest) > 0
    assert np.abs(rest - np.eye(3)).max() < np.deg2rad(misfit.angle_deg) + 0.06
    rough = scene.orientation.to_affine(
        source="two_photon",
        target="fmost",
        source_center_um=open_side(scene, "two_photon").center_um,
        target_center_um=open_side(scene, "fmost").center_um,
    )
    rows = read_truth(scene)
    errors = rough.map_points(positions(rows, "two_photon")) - positions(rows, "fmost")
    assert np.linalg.norm(errors, axis=1).max() < 40


def test_same_seed_same_voxels_and_truth(scene, tmp_path):
    again = simulate_scene(tmp_path / "again", seed=4, size_um=SIZE, level="easy")
    assert again.truth.read_bytes() == scene.truth.read_bytes()
    assert again.orientation == scene.orientation
    for side in ("two_photon", "fmost"):
        volume = open_side(scene, side)
        images = [v.read((0, 0, 0), volume.shape) for v in (volume, open_side(again, side))]
        assert np.array_equal(*images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "nightmare"}, "no simulation level"),
        ({"size_um": (5.0, 100.0, 100.0)}, "at least 30"),
        ({"size_um": (float("nan"), 100.0, 100.0)}, "at least 30"),
    ],
)
def test_bad_requests_are_refused(tmp_path: Path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate_scene(tmp_path, seed=0, **arguments)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="is a file"):
        simulate_scene(tmp_path / "out", seed=0)


def test_cancelling_leaves_no_half_image(tmp_path):
    def report(done: int, total: int, message: str) -> None:
        if done:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        simulate_scene(tmp_path, seed=0, size_um=(40.0, 60.0, 60.0), level="easy", report=report)
    assert list(tmp_path.iterdir()) == []
