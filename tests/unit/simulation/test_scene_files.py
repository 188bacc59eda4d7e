import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.crops import CropSpec, extract_crops, normalize_crops
from napari_neurobridge.io.morphology import read_swc
from napari_neurobridge.io.volumes import Volume, open_volume
from napari_neurobridge.simulation import scene_files
from napari_neurobridge.simulation.cutting import cut_crops
from napari_neurobridge.simulation.levels import level
from napari_neurobridge.simulation.neurons.reconstructions import ReconstructedNeurons
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.render import Box
from napari_neurobridge.simulation.scene import Scene
from napari_neurobridge.simulation.scene_files import SceneFiles, simulate_scene
from napari_neurobridge.spaces.orientation import Orientation

SEED, SIZE = 4, (60.0, 110.0, 120.0)
SMALL = (32.0, 40.0, 36.0)
SIDES = ("two_photon", "fmost")
# Small enough to lie within small volumes.
SPEC = CropSpec(size_um=40.0, pixels=50, slab_um=12.0)
# Some that only a recording shows, and a stack whose planes move.
LEVEL = level("easy").changed(
    two_photon_label={"visible_fraction": 0.7, "active_only_fraction": 0.5},
    two_photon={"jitter_um": (0.2, 0.3, 0.3), "drift_um": (0.5, 1.0, 1.0)},
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> SceneFiles:
    return simulate_scene(tmp_path_factory.mktemp("scene"), seed=SEED, size_um=SIZE, level=LEVEL)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(LEVEL, SIZE, SEED, neuron_factory(LEVEL.morphology))


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def positions(rows: list[dict[str, str]], side: str) -> np.ndarray:
    return np.array([[float(row[f"{side}_{axis}_um"]) for axis in "zyx"] for row in rows])


def open_side(files: SceneFiles, side: str) -> Volume:
    return open_volume(getattr(files, side), name=side)


@pytest.mark.parametrize("which", [0, 1], ids=SIDES)
def test_a_crop_of_a_stored_volume_is_the_crop_of_the_picture(files, scene, which):
    volume, side = open_side(files, SIDES[which]), scene.sides[which]
    low = np.array((SPEC.slab_um, SPEC.size_um, SPEC.size_um)) / 2 + 3.0
    centers = np.random.default_rng(0).uniform(low, volume.extent_um - low, (8, 3))
    stored = extract_crops(volume, centers, spec=SPEC)

    voxel = np.array(side.camera.voxel_um)
    first = np.floor((centers.min(axis=0) - low) / voxel).astype(int)
    shape = np.ceil((centers.max(axis=0) + low) / voxel).astype(int) + 1 - first
    box = Box(tuple(first.tolist()), tuple(shape.tolist()), side.camera.voxel_um)
    unlimited = torch.full((len(centers), 2, 3), torch.inf)
    picture = side.photograph(box)
    direct, inside = cut_crops(picture, box, torch.from_numpy(centers).float(), unlimited, SPEC)
    assert inside.all()
    # A grey level of the file is a thousandth, and is worth more in a crop of little contrast.
    contrast = np.diff(np.percentile(direct.numpy(), (1, 99.7), axis=(1, 2)), axis=0)[0]
    errors = np.abs(stored - normalize_crops(direct.numpy())).max(axis=(1, 2))
    assert (errors < 2e-3 / contrast).all()
    assert contrast.min() > 0.1


def test_files_say_what_they_are(files, scene):
    for side, volume in zip(SIDES, (scene.two_photon, scene.fmost), strict=True):
        stored = open_side(files, side)
        assert stored.voxel_size_um == pytest.approx(volume.voxel_um)
        assert stored.shape == volume.shape
        assert stored.dtype == np.uint16
    with tifffile.TiffFile(files.two_photon) as tif:
        assert tif.is_ome
        assert tif.series[0].axes == "ZYX"
    saved = files.orientation_path.read_text(encoding="utf-8")
    assert Orientation.model_validate_json(saved) == files.orientation == scene.orientation
    assert {path.name for path in files.folder.iterdir()} == {
        "two_photon.ome.tif",
        "fmost.ome.zarr",
        "orientation.json",
        "truth.csv",
        "vessels.csv",
    }


def test_the_table_is_the_truth(files, scene):
    rows, truth = read_table(files.truth), scene.truth()
    known = truth.in_two_photon | truth.in_fmost | truth.only_when_active
    assert len(rows) == known.sum()
    for side, where in zip(SIDES, (truth.two_photon_um, truth.fmost_um), strict=True):
        np.testing.assert_allclose(positions(rows, side), where[known], atol=6e-4)
    for column in ("in_two_photon", "in_fmost", "only_when_active"):
        expected = getattr(truth, column)[known].astype(int).astype(str)
        assert [row[column] for row in rows] == expected.tolist()
    assert files.n_neurons == (truth.in_two_photon | truth.in_fmost).sum()
    assert files.n_pairs == (truth.in_two_photon & truth.in_fmost).sum() > 3


def test_uids_are_unique_shuffled_and_only_of_what_is_seen(files):
    rows = read_table(files.truth)
    seen = {
        "two_photon": [
            row["in_two_photon"] == "1" or row["only_when_active"] == "1" for row in rows
        ],
        "fmost": [row["in_fmost"] == "1" for row in rows],
    }
    order = {}
    for side, prefix in (("two_photon", "tp"), ("fmost", "fm")):
        uids = [row[f"{side}_uid"] for row in rows]
        assert [bool(uid) for uid in uids] == seen[side]
        named = [uid for uid in uids if uid]
        assert sorted(named) == [f"{prefix}-{n:05d}" for n in range(1, len(named) + 1)]
        assert named != sorted(named)
        order[side] = np.array([int(uid[3:]) if uid else 0 for uid in uids])
    assert any(row["only_when_active"] == "1" for row in rows)
    # Neither the other side's number nor the place in the table tells a cell's number.
    both = (order["two_photon"] > 0) & (order["fmost"] > 0)
    numbers = np.array([order["two_photon"][both], order["fmost"][both], np.flatnonzero(both)])
    assert np.abs(np.corrcoef(numbers)[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(both.sum())


def test_the_transform_maps_the_table_of_one_side_to_the_other(files):
    rows = read_table(files.truth)
    in_vivo, ex_vivo = positions(rows, "two_photon"), positions(rows, "fmost")
    # Both are written to a nanometre.
    assert np.abs(files.transform.map_points(in_vivo) - ex_vivo).max() < 2e-3
    assert np.abs(files.transform.inverse().map_points(ex_vivo) - in_vivo).max() < 2e-3


def test_vessels_are_those_that_both_volumes_hold(files, scene):
    rows = read_table(files.vessels)
    assert len(rows) > 3
    for side, points in zip(SIDES, scene.branch_points_um(), strict=True):
        np.testing.assert_allclose(positions(rows, side), points, atol=6e-4)


def test_same_seed_same_files_however_they_are_cut(files, tmp_path, monkeypatch):
    monkeypatch.setattr(scene_files, "_VOXELS_AT_ONCE", 200_000)
    calls = []
    again = simulate_scene(
        tmp_path, seed=SEED, size_um=SIZE, level=LEVEL, report=lambda *what: calls.append(what)
    )
    assert len(calls) > 6
    assert again.truth.read_bytes() == files.truth.read_bytes()
    assert again.vessels.read_bytes() == files.vessels.read_bytes()
    assert again.orientation == files.orientation
    for side in SIDES:
        volume = open_side(files, side)
        first, second = (
            v.read((0, 0, 0), volume.shape).astype(int) for v in (volume, open_side(again, side))
        )
        # Rounding to a grey level may fall to either side where sums are made in another order.
        assert np.abs(first - second).max() <= 1
        assert (first != second).mean() < 1e-2


def test_another_seed_another_scene(tmp_path):
    one, other = (
        simulate_scene(tmp_path / str(seed), seed=seed, size_um=SMALL, level="easy")
        for seed in (0, 1)
    )
    assert one.truth.read_bytes() != other.truth.read_bytes()


def test_progress_is_told_from_nothing_to_all(tmp_path):
    said = []
    simulate_scene(
        tmp_path, seed=0, size_um=SMALL, level="easy", report=lambda *what: said.append(what)
    )
    done, total, messages = zip(*said, strict=True)
    assert done[0] == 0
    assert done[-1] == total[-1] == total[0]
    assert list(done) == sorted(done)
    assert set(messages) == {"simulating a scene"}


def test_an_earlier_scene_is_replaced(tmp_path):
    simulate_scene(tmp_path, seed=0, size_um=SMALL, level="easy")
    (tmp_path / "notes.txt").write_text("of the user")
    later = simulate_scene(tmp_path, seed=1, size_um=(34.0, 36.0, 38.0), level="easy")
    assert open_side(later, "two_photon").shape == (17, 36, 38)
    assert (tmp_path / "notes.txt").read_text() == "of the user"
    assert len(list(tmp_path.iterdir())) == 6


SWC = """1 1 0 0 0 6 -1
2 4 0 -60 0 1 1
3 3 40 10 0 0.6 1
4 2 0 40 20 0.3 1
5 2 0 90 30 0.3 4
"""


def test_real_neurons_can_fill_the_tissue(tmp_path, monkeypatch):
    path = tmp_path / "neuron.swc"
    path.write_text(SWC)
    neuron = read_swc(path)
    drawn = []
    grow = ReconstructedNeurons.grow
    monkeypatch.setattr(
        ReconstructedNeurons,
        "grow",
        lambda self, cells: drawn.append(len(cells)) or grow(self, cells),
    )
    images = []
    for name, morphologies in (("real", [neuron]), ("by rules", [])):
        files = simulate_scene(
            tmp_path / name, seed=0, size_um=SMALL, level="easy", morphologies=morphologies
        )
        images.append(open_side(files, "fmost").read((0, 0, 0), (20, 80, 80)))
        assert bool(drawn) == bool(morphologies)
        drawn.clear()
    # The same cells in the same places, in other shapes.
    tables = [read_table(tmp_path / name / "truth.csv") for name in ("real", "by rules")]
    assert tables[0] == tables[1]
    assert len(tables[0]) > 0
    assert not np.array_equal(*images)
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": "nightmare"}, "no simulation level 'nightmare'"),
        ({"size_um": (5.0, 100.0, 100.0)}, "three sizes of 30 to 2000 µm"),
        ({"size_um": (float("nan"), 100.0, 100.0)}, "three sizes of 30 to 2000 µm"),
        ({"size_um": (100.0, 100.0)}, "three sizes of 30 to 2000 µm"),
        (
            {"level": level("easy").changed(tissue={"density_per_mm3": 5e5}), "size_um": SMALL},
            "500000 somata per mm³",
        ),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate_scene(tmp_path / "out", seed=0, **arguments)
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match="is a file"):
        simulate_scene(tmp_path / "out", seed=0)


@pytest.mark.parametrize("after", [0, 1])
def test_cancelling_leaves_no_half_image_and_no_table_of_another_scene(tmp_path, after):
    for name in ("truth.csv", "vessels.csv", "orientation.json"):
        (tmp_path / name).write_text("of an earlier scene")

    def report(done: int, total: int, message: str) -> None:
        if done > after:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        simulate_scene(tmp_path, seed=0, size_um=SMALL, level="easy", report=report)
    # The first image is whole once the second has begun.
    left = {0: set(), 1: {"two_photon.ome.tif"}}
    assert {path.name for path in tmp_path.iterdir()} == left[after]
