import csv
import gc
import math

import numpy as np
import pytest
import tifffile
import torch
from skimage.registration import phase_cross_correlation

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.projections import project_frames
from napari_neurobridge.io.volumes import inspect_image, open_volume
from napari_neurobridge.simulation.cloud import Morphology, Part, PointCloud, Somata
from napari_neurobridge.simulation.keyed import Key
from napari_neurobridge.simulation.optics.labels import TwoPhotonLabel, TwoPhotonLabelParams
from napari_neurobridge.simulation.recording.activity import ActivityParams
from napari_neurobridge.simulation.recording.footprints import Plane
from napari_neurobridge.simulation.recording.motion import MotionParams
from napari_neurobridge.simulation.recording.recorded_plane import (
    COUNTS,
    OFFSET,
    RecordedCells,
    RecordedPlane,
    RecordingParams,
    Surroundings,
)
from napari_neurobridge.simulation.recording.recording import simulate_recording
from napari_neurobridge.types import Projection

PLANE = Plane(30.0, (0.0, 0.0), (48, 56), 1.25)
STILL = MotionParams(jitter_um=0, drift_um=0, z_jitter_um=0, z_drift_um=0)
QUIET = RecordingParams(
    motion=STILL, neuropil=0, bleaching_per_min=0, neuropil_fluctuation=0, photons=1e9, read_noise=0
)
AXIAL_UM, LATERAL_UM = 3.0, 1.2


def somata(centers, radius_um=6.0, seed=0):
    """Balls of points of density 1."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.tensor(centers, dtype=torch.float32)
    n, m = len(centers), 800
    direction = torch.nn.functional.normalize(torch.randn(n, m, 3, generator=generator), dim=2)
    share = torch.rand(n, m, 1, generator=generator) ** (1 / 3)
    volume = torch.full((n * m,), 4 / 3 * math.pi * radius_um**3 / m)
    morphology = Morphology(
        (centers[:, None] + radius_um * share * direction).flatten(0, 1),
        volume,
        torch.arange(n).repeat_interleave(m),
        torch.full((n * m,), Part.SOMA),
        share.flatten(),
    )
    return morphology, volume


def recorded(centers, *, spiking=None, active_only=None, **names):
    n = len(centers)
    return RecordedCells(
        [somata(centers)],
        torch.ones(n, dtype=torch.bool) if spiking is None else torch.tensor(spiking),
        torch.zeros(n, dtype=torch.bool) if active_only is None else torch.tensor(active_only),
        **names,
    )


def record(path, cells, *, n_frames=40, params=None, seed=1, plane=PLANE, **more):
    return simulate_recording(
        path,
        cells,
        plane,
        n_frames=n_frames,
        axial_sigma_um=AXIAL_UM,
        lateral_sigma_um=LATERAL_UM,
        params=params or RecordingParams(),
        key=Key.of(seed),
        **more,
    )


def scattered(count=12, seed=3):
    rng = np.random.default_rng(seed)
    return rng.uniform((24, 4, 4), (36, 56, 64), (count, 3)).tolist()


def counts(recording):
    return tifffile.imread(recording.files.movie).astype(np.float64)


def intensity(recording):
    return (counts(recording) - OFFSET) / COUNTS


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "plane.ome.tif"
    uids = [f"tp-{n}" if n % 2 else "" for n in range(12)]
    active_only = [n < 4 for n in range(12)]
    return record(path, recorded(scattered(), active_only=active_only, uids=uids), n_frames=45)


# --- what is written ----------------------------------------------------------------------


def test_the_file_says_what_it_is(recording):
    info = inspect_image(recording.files.movie)
    assert (info.axes, info.shape, info.dtype) == ("tyx", (45, 48, 56), "uint16")
    assert info.voxel_size_um == (1.0, 1.25, 1.25)
    assert info.format == "ome-tiff"
    with tifffile.TiffFile(recording.files.movie) as tif:
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["TimeIncrement"] == pytest.approx(1 / 15)
    assert pixels["TimeIncrementUnit"] == "s"


@pytest.mark.parametrize("projection", list(Projection))
def test_projections_are_those_of_the_movie(recording, projection):
    path = recording.files.projections[projection]
    assert path.name == f"plane_{projection}.ome.tif"
    assert inspect_image(path).voxel_size_um == (1.0, 1.25, 1.25)
    written = tifffile.imread(path)
    direct = project_frames([tifffile.imread(recording.files.movie)], projection)
    assert np.allclose(written, direct, rtol=1e-6, atol=1e-6)
    volume = open_volume(recording.files.movie, name="movie", projection=projection)
    assert volume.voxel_size_um == (1.0, 1.25, 1.25)
    assert np.allclose(volume.read((0, 0, 0), (1, 48, 56))[0], written, rtol=1e-6, atol=1e-6)
    # A volume closes its file when it is collected, which would warn in some later test.
    del volume
    gc.collect()


def test_truth_is_kept(recording):
    with np.load(recording.files.truth) as truth:
        assert truth["calcium"].shape == truth["spikes"].shape == (len(truth["cell"]), 45)
        assert np.array_equal(truth["motion_um"], recording.motion_um.numpy())
        assert np.array_equal(truth["spikes"], recording.activity.spikes.numpy())
        spikes = truth["spikes"].sum(axis=1)
    with recording.files.cells.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["cell"]) for row in rows] == recording.footprints.cell.tolist()
    assert [int(row["n_spikes"]) for row in rows] == spikes.tolist()
    centers = np.array(scattered())
    for row in rows:
        cell = int(row["cell"])
        where = [float(row[f"two_photon_{axis}_um"]) for axis in "zyx"]
        assert np.allclose(where, centers[cell], atol=0.6)
        assert row["two_photon_uid"] == (f"tp-{cell}" if cell % 2 else "")
        assert row["active_only"] == str(int(cell < 4))
        if abs(centers[cell, 0] - 30) < 5:
            assert row["soma_in_plane"] == "1"
            # A ball of density 1 that the plane cuts in a disk of about this area.
            assert 30 < float(row["light_um2"]) < math.pi * 36


def test_cells_beyond_the_plane_have_no_row(tmp_path):
    centers = [(30.0, 30.0, 30.0), (80.0, 30.0, 30.0), (30.0, 300.0, 30.0)]
    made = record(tmp_path / "a.ome.tif", recorded(centers), n_frames=3)
    assert made.footprints.cell.tolist() == [0]


@pytest.mark.parametrize("at_once", [1, 2, 7, 16, 45])
def test_same_key_same_movie_whatever_the_pieces(recording, tmp_path, at_once):
    active_only = [n < 4 for n in range(12)]
    cells = recorded(scattered(), active_only=active_only)
    again = record(tmp_path / "a.ome.tif", cells, n_frames=45, frames_at_once=at_once)
    assert np.array_equal(counts(again), counts(recording))


def test_a_long_recording_starts_like_a_short_one(recording, tmp_path):
    cells = recorded(scattered(), active_only=[n < 4 for n in range(12)])
    short = record(tmp_path / "a.ome.tif", cells, n_frames=10)
    assert np.array_equal(counts(short), counts(recording)[:10])


def test_another_key_another_movie(tmp_path):
    one, two = (
        counts(record(tmp_path / f"{seed}.ome.tif", recorded(scattered()), n_frames=3, seed=seed))
        for seed in (1, 2)
    )
    assert (one != two).mean() > 0.9


def test_cancelling_leaves_nothing_and_spoils_nothing(recording, tmp_path):
    def report(done, total, message):
        assert total == 40
        if done >= 20:
            raise Cancelled("stopped")

    old = tmp_path / "a.ome.tif"
    old.write_text("an older movie")
    for name in ("a", "b"):
        with pytest.raises(Cancelled):
            path = tmp_path / f"{name}.ome.tif"
            record(path, recorded(scattered()), frames_at_once=10, report=report)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]
    assert old.read_text() == "an older movie"


def test_progress_reaches_the_end(tmp_path):
    seen = []
    cells = recorded(scattered(3))
    record(
        tmp_path / "a.ome.tif",
        cells,
        n_frames=25,
        frames_at_once=10,
        report=lambda done, total, _: seen.append((done, total)),
    )
    assert seen == [(0, 25), (10, 25), (20, 25), (25, 25)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_frames": 1}, "at least 2 frames"),
        ({"plane": Plane(30.0, (0.0, 0.0), (8, 90))}, "at least 16 pixels"),
        ({"surroundings": Surroundings(transmission=torch.ones(3, 3))}, r"shape \(48, 56\)"),
        ({"surroundings": Surroundings(neuropil_room=torch.ones(56, 48))}, r"shape \(48, 56\)"),
    ],
)
def test_bad_requests_are_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        record(tmp_path / "a.ome.tif", recorded(scattered(1)), **arguments)
    assert not list(tmp_path.iterdir())


def test_a_movie_is_an_ome_tiff(tmp_path):
    with pytest.raises(InputError, match="name it"):
        record(tmp_path / "a.avi", recorded(scattered(1)))


# --- what it shows ------------------------------------------------------------------------


def expected_frames(cells, params, n_frames=3, plane=PLANE, **surroundings):
    sigma_um, key = (AXIAL_UM, LATERAL_UM), Key.of(1)
    around = Surroundings(**surroundings)
    scope = RecordedPlane(cells, plane, n_frames, sigma_um, params, key, around)
    return scope.expected(slice(0, n_frames)).double(), scope


def one_point(where, amount=1000.0):
    none = torch.zeros(1, dtype=torch.int64)
    point = torch.tensor([where], dtype=torch.float32)
    morphology = Morphology(point, torch.ones(1), none, none + Part.AXON, torch.zeros(1))
    silent = torch.zeros(1, dtype=torch.bool)
    return RecordedCells([(morphology, torch.tensor([amount]))], silent, silent)


@pytest.mark.parametrize("at", [(30.0, 35.0), (30.4, 35.9), (30.63, 34.37)])
@pytest.mark.parametrize("motion", [STILL, MotionParams(z_jitter_um=0, z_drift_um=0)])
def test_a_point_has_the_stated_lateral_spread_wherever_it_is(at, motion):
    params = QUIET.model_copy(update={"motion": motion})
    frames, scope = expected_frames(one_point((30.0, *at)), params, n_frames=4)
    pixels = [PLANE.pixel_um * torch.arange(n).double() for n in PLANE.shape]
    for frame, moved in zip(frames, scope.motion_um.double(), strict=True):
        for axis in (0, 1):
            profile = frame.sum(dim=1 - axis) / frame.sum()
            middle = (profile * pixels[axis]).sum()
            sigma = (profile * (pixels[axis] - middle) ** 2).sum().sqrt()
            assert middle == pytest.approx(at[axis] + float(moved[axis + 1]), abs=0.02)
            assert sigma == pytest.approx(LATERAL_UM, rel=0.05)


def test_motion_along_z_changes_brightness_as_the_axial_spread_does():
    motion = MotionParams(jitter_um=0, drift_um=0, z_jitter_um=1.5, z_drift_um=0)
    params = QUIET.model_copy(update={"motion": motion})
    frames, scope = expected_frames(one_point((32.0, 30.0, 35.0)), params, n_frames=60)
    light = frames.sum(dim=(1, 2))
    away = 2.0 + scope.motion_um[:, 0].double()
    model = torch.exp(-0.5 * (away / AXIAL_UM) ** 2)
    model *= 1000 / (AXIAL_UM * math.sqrt(2 * math.pi) * PLANE.pixel_um**2)
    assert ((light / model - 1).abs() < 0.05).all()


def test_motion_is_recovered_by_phase_correlation(tmp_path):
    motion = MotionParams(z_jitter_um=0, z_drift_um=0, jitter_um=1.0, drift_um=2.0)
    params = RecordingParams(motion=motion, photons=200.0)
    silent = [False] * 12
    cells = recorded(scattered(), spiking=silent)
    made = record(tmp_path / "a.ome.tif", cells, n_frames=12, params=params)
    frames = counts(made)
    for moved, frame in zip(made.motion_um[1:], frames[1:], strict=True):
        shift, _, _ = phase_cross_correlation(
            frame, frames[0], upsample_factor=20, normalization=None
        )
        truth = (moved - made.motion_um[0])[1:].numpy() / PLANE.pixel_um
        assert np.allclose(shift, truth, atol=0.35)


def test_cells_follow_their_calcium(tmp_path):
    params = QUIET.model_copy(update={"activity": ActivityParams(rate_hz=2)})
    centers = [(30.0, 20.0, 20.0), (30.0, 40.0, 50.0), (30.0, 20.0, 50.0)]
    cells = recorded(centers, spiking=[True, True, False])
    made = record(tmp_path / "a.ome.tif", cells, n_frames=200, params=params)
    frames = intensity(made)
    for cell, (_, y, x) in enumerate(centers):
        trace = frames[:, round(y / 1.25), round(x / 1.25)]
        relative = trace / trace.min() * (1 + made.activity.calcium[cell].min().item()) - 1
        assert np.allclose(relative, made.activity.calcium[cell], atol=0.05)
    assert made.activity.calcium[:2].amax() > 0.3


def test_a_cell_visible_only_when_active_is_not_in_the_mean(tmp_path):
    """It is below the grain of the neuropil there, and far above it where activity counts."""
    activity = ActivityParams(rate_sigma=0, coupling=0)
    params = RecordingParams(motion=STILL, activity=activity, photons=30)
    centers = [(30.0, 18.0, 18.0), (30.0, 18.0, 52.0), (30.0, 42.0, 35.0)]
    cells = recorded(centers, spiking=[True, True, False], active_only=[True, False, True])
    made = record(tmp_path / "a.ome.tif", cells, n_frames=1800, params=params)
    rows, columns = (PLANE.pixel_um * np.arange(n) for n in PLANE.shape)
    distance = [np.hypot(rows[:, None] - y, columns - x) for _, y, x in centers]
    background = np.min(distance, axis=0) > 11
    contrast = {}
    for projection in Projection:
        image = tifffile.imread(made.files.projections[projection])
        level, spread = image[background].mean(), image[background].std()
        contrast[projection] = [(image[d < 4].mean() - level) / spread for d in distance]
    assert made.activity.spikes[0].sum() > 3
    dark, resting, silent = contrast[Projection.MEAN]
    assert dark < 2 and resting > 5
    for projection in (Projection.MAX, Projection.STD, Projection.CORRELATION):
        dark, resting, silent = contrast[projection]
        assert dark > 4, projection
        assert abs(silent) < 2.5, projection


def test_noise_variance_follows_the_mean(tmp_path):
    params = RecordingParams(
        motion=STILL, bleaching_per_min=0, neuropil_fluctuation=0, photons=20.0, read_noise=0.05
    )
    cells = recorded(scattered(), spiking=[False] * 12)
    frames = intensity(record(tmp_path / "a.ome.tif", cells, n_frames=800, params=params))
    mean, variance = frames.mean(axis=0).ravel(), frames.var(axis=0).ravel()
    slope, level = np.polyfit(mean, variance, 1)
    assert slope == pytest.approx(1 / 20, rel=0.05)
    assert level == pytest.approx(0.05**2, rel=0.2)
    residual = frames - frames.mean(axis=0)
    beside = (residual[:, :, 1:] * residual[:, :, :-1]).mean() / residual.var()
    after = (residual[1:] * residual[:-1]).mean() / residual.var()
    assert abs(beside) < 0.01
    assert abs(after) < 0.01


def test_light_bleaches_by_the_stated_share_each_minute():
    params = QUIET.model_copy(update={"bleaching_per_min": 0.3})
    cells = recorded(scattered(), spiking=[False] * 12)
    frames, _ = expected_frames(cells, params, n_frames=901)
    assert frames[900].sum() / frames[0].sum() == pytest.approx(0.7, rel=1e-3)


def test_neuropil_has_the_stated_level_texture_and_fluctuation():
    plane = Plane(30.0, (0.0, 0.0), (160, 160), 2.0)
    params = QUIET.model_copy(
        update={"neuropil": 0.4, "neuropil_contrast": 0.2, "neuropil_fluctuation": 0.1}
    )
    frames, _ = expected_frames(one_point((99.0, 0.0, 0.0)), params, n_frames=600, plane=plane)
    assert frames.mean() == pytest.approx(0.4, rel=0.05)
    assert frames.mean(dim=(1, 2)).std() / 0.4 == pytest.approx(0.1, rel=0.4)
    still = frames.mean(dim=0)
    # Blurring takes a little off the finer grain.
    assert 0.14 < still.std() / still.mean() < 0.21


def test_vessels_darken_what_lies_there_and_move_with_it():
    transmission = torch.ones(PLANE.shape)
    transmission[:, 20:30] = 0.1
    params = RecordingParams(
        motion=MotionParams(jitter_um=0, z_jitter_um=0, z_drift_um=0, drift_um=4, drift_s=1),
        neuropil_contrast=0,
        neuropil_fluctuation=0,
    )
    frames, scope = expected_frames(
        one_point((99.0, 0.0, 0.0)), params, n_frames=30, transmission=transmission
    )
    columns = torch.arange(56).double()
    for frame, moved in zip(frames, scope.motion_um, strict=True):
        dark = frame.amax() - frame.mean(dim=0)
        middle = (dark * columns).sum() / dark.sum()
        expected = 24.5 + float(moved[2]) / PLANE.pixel_um
        if 8 < expected < 46:
            assert middle == pytest.approx(expected, abs=0.3)
    assert scope.motion_um[:, 2].std() > 2


def test_clutter_is_there_in_every_frame():
    clutter = PointCloud(torch.tensor([[30.0, 30.0, 35.0]]), torch.tensor([500.0]))
    params = QUIET.model_copy(update={"neuropil_fluctuation": 0.0})
    nobody = one_point((99.0, 0.0, 0.0))
    frames, _ = expected_frames(nobody, params, clutter=clutter)
    assert frames[0].argmax() == 24 * 56 + 28
    assert torch.equal(frames[0], frames[2])
    total = 500 / (AXIAL_UM * math.sqrt(2 * math.pi) * PLANE.pixel_um**2)
    assert frames[0].sum() == pytest.approx(total, rel=0.01)


def test_neuropil_leaves_room_for_bodies_that_shine():
    room = torch.ones(PLANE.shape)
    room[20:28, 24:32] = 0
    params = QUIET.model_copy(update={"neuropil": 0.3, "neuropil_contrast": 0.0})
    nobody = one_point((99.0, 0.0, 0.0))
    frames, _ = expected_frames(nobody, params, neuropil_room=room)
    assert frames[0, 23, 28] < 0.01
    assert frames[0, 10, 10] == pytest.approx(0.3)
    point = one_point((30.0, 23 * 1.25, 28 * 1.25))
    shining, _ = expected_frames(point, params, neuropil_room=room)
    alone, _ = expected_frames(point, QUIET)
    assert torch.allclose(shining, frames + alone, atol=1e-5)


def test_label_decides_who_is_dark_silent_or_active_only():
    params = TwoPhotonLabelParams(visible_fraction=0.4, active_only_fraction=0.5)
    n = 60
    centers = torch.rand(n, 3, generator=torch.Generator().manual_seed(0))
    centers = centers * torch.tensor([6.0, 50.0, 60.0]) + torch.tensor([27.0, 5.0, 5.0])
    some = torch.ones(n)
    label = TwoPhotonLabel(Somata(centers, 6 * some, some > 0, some), params, Key.of(5))
    cells = RecordedCells.labelled([somata(centers.tolist())[0]], label)
    _, scope = expected_frames(cells, QUIET, n_frames=400)
    silent = ~(label.visible | label.active_only)
    assert silent.any() and label.active_only.any()
    assert set(scope.footprints.cell.tolist()) == set((~silent).nonzero()[:, 0].tolist())
    assert scope.activity.spikes.any(dim=1).float().mean() > 0.6
    rest = scope.expected(slice(0, 400)).amin(dim=0)
    rows, columns = (centers[:, axis] / PLANE.pixel_um for axis in (1, 2))
    at = rest[rows.round().long(), columns.round().long()]
    assert at[label.visible].median() > 5 * at[label.active_only].median()
