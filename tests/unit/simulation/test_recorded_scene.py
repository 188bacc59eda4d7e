"""The recording of a scene shows the tissue that its two volumes show."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy import ndimage

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.simulation.levels import Difficulty, level
from napari_neurobridge.simulation.neurons.sources import neuron_factory
from napari_neurobridge.simulation.recording.of_scene import middle_plane, record_scene
from napari_neurobridge.simulation.recording.recorded_plane import COUNTS, OFFSET
from napari_neurobridge.simulation.recording.recording_files import RecordingFiles
from napari_neurobridge.simulation.scene import ImageExtent, Scene
from napari_neurobridge.simulation.scene_files import SceneFiles, simulate_scene
from napari_neurobridge.types import Projection

SIZE = (50.0, 230.0, 220.0)
N_FRAMES = 60
STILL = {"jitter_um": 0.0, "drift_um": 0.0, "z_jitter_um": 0.0, "z_drift_um": 0.0}


def lively() -> Difficulty:
    """Small busy tissue, whose cells all fire, under a microscope that stands still."""
    easy = level("easy")
    activity = easy.recording.activity.model_dump()
    activity |= {"rate_hz": 4.0, "rate_sigma": 0.0, "active_only_rate": 1.0}
    return easy.changed(
        tissue={"density_per_mm3": 60_000.0},
        two_photon_label={
            "visible_fraction": 0.5,
            "active_only_fraction": 0.9,
            "brightness_sigma": 0.2,
        },
        two_photon={"jitter_um": (0.0, 0.0, 0.0), "drift_um": (0.0, 0.0, 0.0)},
        recording={"motion": STILL, "activity": activity},
    )


@pytest.fixture(scope="module")
def difficulty() -> Difficulty:
    return lively()


@pytest.fixture(scope="module")
def scene(difficulty: Difficulty, tmp_path_factory: pytest.TempPathFactory) -> SceneFiles:
    folder = tmp_path_factory.mktemp("scene")
    return simulate_scene(folder, seed=3, size_um=SIZE, level=difficulty, n_frames=N_FRAMES)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def position(row: dict[str, str]) -> np.ndarray:
    return np.array([float(row[f"two_photon_{axis}_um"]) for axis in "zyx"])


def projection(scene: SceneFiles, kind: Projection) -> np.ndarray:
    assert scene.recording is not None
    return tifffile.imread(RecordingFiles.beside(scene.recording).projections[kind])


def middle_of_stack(scene: SceneFiles) -> tuple[float, np.ndarray]:
    stack = tifffile.imread(scene.two_photon).astype(np.float64)
    index = len(stack) // 2
    return index * 2.0, stack[index]


def in_the_plane(scene: SceneFiles, flag: str, uids: frozenset[str] | None = None) -> np.ndarray:
    """Return y and x of cells whose soma the plane cuts near its centre, off the border."""
    depth, image = middle_of_stack(scene)
    rows = [row for row in rows_of(scene.truth) if row[flag] == "1"]
    places = [position(row) for row in rows if uids is None or row["two_photon_uid"] in uids]
    near = [p[1:] for p in places if abs(p[0] - depth) < 3]
    return np.array([p for p in near if (p > 10).all() and (p < np.array(image.shape) - 10).all()])


def contrast(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return how far discs of 6 µm about places lie above the image's median, in its spreads."""
    radius = 6
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (y**2 + x**2 <= radius**2).astype(np.float64)
    smooth = ndimage.convolve(image.astype(np.float64), disc / disc.sum())
    spread = np.percentile(smooth, 75) - np.percentile(smooth, 25)
    index = np.round(places).astype(int)
    return (smooth[index[:, 0], index[:, 1]] - np.median(smooth)) / spread


def test_the_recording_is_the_middle_plane_of_the_stack(scene: SceneFiles) -> None:
    assert scene.recording == scene.folder / "recording.ome.tif"
    with tifffile.TiffFile(scene.recording) as movie:
        assert movie.series[0].axes == "TYX"
        assert movie.series[0].shape == (N_FRAMES, 230, 220)
    files = RecordingFiles.beside(scene.recording)
    assert all(path.is_file() for path in (*files.projections.values(), files.truth, files.cells))


def test_cells_that_are_visible_at_rest_lie_where_the_truth_says(scene: SceneFiles) -> None:
    mean = projection(scene, Projection.MEAN)
    places = in_the_plane(scene, "in_two_photon")
    assert len(places) >= 5
    here = contrast(mean, places)
    assert np.median(here) > 2
    # Half a soma beside it there is less light, whichever way.
    for shift in ((8, 0), (-8, 0), (0, 8), (0, -8)):
        assert np.median(contrast(mean, places + shift)) < np.median(here)


def test_recording_and_stack_show_the_same_structures(scene: SceneFiles) -> None:
    _, stack = middle_of_stack(scene)
    mean = projection(scene, Projection.MEAN).astype(np.float64)
    smooth = [ndimage.gaussian_filter(image, 1.0) for image in (stack, mean)]
    aligned = np.corrcoef(smooth[0].ravel(), smooth[1].ravel())[0, 1]
    shifted = [
        np.corrcoef(smooth[0].ravel(), np.roll(smooth[1], by, axis=axis).ravel())[0, 1]
        for axis in (0, 1)
        for by in (-3, 3)
    ]
    assert aligned > 0.6
    assert aligned > max(shifted)


def test_cells_dark_at_rest_appear_in_the_recording_alone(scene: SceneFiles) -> None:
    assert scene.recording is not None
    recorded = rows_of(RecordingFiles.beside(scene.recording).cells)
    busy = frozenset(row["two_photon_uid"] for row in recorded if int(row["n_spikes"]) >= 5)
    places = in_the_plane(scene, "only_when_active", busy)
    assert len(places) >= 3
    _, stack = middle_of_stack(scene)
    assert contrast(stack, places).max() < 0.5
    assert contrast(projection(scene, Projection.MAX), places).min() > 0.8
    assert contrast(projection(scene, Projection.CORRELATION), places).min() > 2


def test_tables_name_the_same_cells(scene: SceneFiles) -> None:
    assert scene.recording is not None
    truth = {row["two_photon_uid"]: row for row in rows_of(scene.truth) if row["two_photon_uid"]}
    recorded = rows_of(RecordingFiles.beside(scene.recording).cells)
    named = [row for row in recorded if row["two_photon_uid"]]
    assert len(named) > 10
    for row in named:
        known = truth[row["two_photon_uid"]]
        assert row["active_only"] == known["only_when_active"]
        # The points of a soma lie evenly about its centre.
        assert np.linalg.norm(position(row) - position(known)) < 0.1
    # Only cells outside the volume go without a name.
    extent = np.array([48.0, 229.0, 219.0])
    for row in recorded:
        where = position(row)
        if not row["two_photon_uid"] and np.isfinite(where).all():
            assert (where < 2).any() or (where > extent - 2).any()


def test_truth_has_a_row_for_each_cell_that_anything_shows(scene: SceneFiles) -> None:
    rows = rows_of(scene.truth)
    either = [row for row in rows if "1" in (row["in_two_photon"], row["in_fmost"])]
    assert len(either) == scene.n_neurons < len(rows)
    for row in rows:
        seen = "1" in (row["in_two_photon"], row["only_when_active"])
        assert (row["two_photon_uid"] != "") == seen
        assert not (row["in_two_photon"] == row["only_when_active"] == "1")


def test_vessels_are_dark_where_the_stack_has_them(difficulty: Difficulty, tmp_path: Path) -> None:
    # No cells and no clutter: what is left is neuropil, and vessels that let no light pass.
    bare = difficulty.changed(
        two_photon_label={"visible_fraction": 0.0, "active_only_fraction": 0.0},
        two_photon_clutter={"puncta_per_mm3": 0.0, "fibres_m_per_mm3": 0.0},
        two_photon={"absorption_per_um": 0.0},
        recording={"photons": 1e6, "read_noise": 0.0, "neuropil_contrast": 0.0},
    )
    scene = Scene(bare, SIZE, 3, neuron_factory(bare.morphology))
    recording = record_scene(tmp_path / "r.ome.tif", scene, n_frames=2)
    image = (tifffile.imread(recording.files.movie)[0] - OFFSET) / COUNTS
    neuropil = np.percentile(image, 90)
    depth = middle_plane(scene.two_photon).depth_um
    low = torch.tensor([depth - 1.0, 10.0, 10.0])
    high = torch.tensor([depth + 1.0, 220.0, 210.0])
    blood = scene.sides[0].specimen.lumen(low, high).position_um
    blood = blood[((blood >= low) & (blood <= high)).all(dim=1)].round().long().numpy()
    assert len(blood) > 50
    in_blood, spread = image[blood[:, 1], blood[:, 2]], image.std()
    assert spread > 0.02 * neuropil
    assert np.median(in_blood) < 0.8 * neuropil


@pytest.mark.parametrize(
    ("voxel_um", "shape"),
    [((2.0, 1.0, 1.0), (40, 50)), ((4.0, 1.5, 1.5), (40, 50)), ((2.0, 1.0, 2.0), (40, 99))],
)
def test_the_plane_covers_the_field_with_square_pixels(
    voxel_um: tuple[float, float, float], shape: tuple[int, int]
) -> None:
    volume = ImageExtent((21, 40, 50), voxel_um)
    plane = middle_plane(volume)
    assert plane.shape == shape
    assert plane.depth_um == 10 * voxel_um[0]
    last = (np.array(plane.shape) - 1) * plane.pixel_um
    assert np.allclose(last, volume.extent_um[1:], atol=plane.pixel_um / 2)


def test_the_same_seed_gives_the_same_movie_and_the_same_stack_without_one(
    difficulty: Difficulty, tmp_path: Path
) -> None:
    some = [
        simulate_scene(
            tmp_path / name, seed=1, size_um=(30.0, 40.0, 40.0), level=difficulty, n_frames=frames
        )
        for name, frames in (("a", 4), ("b", 4), ("c", 0))
    ]
    movies = [tifffile.imread(files.recording) for files in some[:2]]
    assert np.array_equal(*movies)
    assert some[2].recording is None
    assert len({files.truth.read_bytes() for files in some}) == 1
    stacks = [tifffile.imread(files.two_photon) for files in some]
    assert np.array_equal(stacks[0], stacks[2])


def test_a_new_scene_takes_the_old_recording_away(difficulty: Difficulty, tmp_path: Path) -> None:
    request = {"size_um": (30.0, 40.0, 40.0), "level": difficulty}
    simulate_scene(tmp_path, seed=1, n_frames=3, **request)
    other = tmp_path / "recording_of_mine.ome.tif"
    other.write_bytes(b"")
    simulate_scene(tmp_path, seed=2, **request)
    assert list(tmp_path.glob("recording*")) == [other]


@pytest.mark.parametrize("n_frames", [1, -2])
def test_a_recording_of_no_length_is_refused_before_any_work(tmp_path: Path, n_frames: int) -> None:
    with pytest.raises(InputError, match="at least 2 frames"):
        simulate_scene(tmp_path / "out", seed=1, n_frames=n_frames)
    assert not (tmp_path / "out").exists()


def test_cancelling_while_recording_leaves_whole_files_only(
    difficulty: Difficulty, tmp_path: Path
) -> None:
    messages: list[str] = []

    def report(done: int, total: int, message: str) -> None:
        messages.append(message)
        if done and message == "simulating a recording":
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        simulate_scene(
            tmp_path,
            seed=1,
            size_um=(30.0, 40.0, 40.0),
            level=difficulty,
            n_frames=8,
            report=report,
        )
    assert messages[-1] == "simulating a recording"
    assert {path.name for path in tmp_path.iterdir()} == {"two_photon.ome.tif", "fmost.ome.zarr"}
