"""The brightness of one place of a recording over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.io.traces import activity_trace
from napari_neurobridge.io.volumes import Volume, open_volume
from napari_neurobridge.types import Projection

VOXEL = (1.0, 2.0, 2.0)


@pytest.fixture
def frames() -> np.ndarray:
    """600 frames, in which one cell at rows 10 and columns 20 flashes."""
    rng = np.random.default_rng(0)
    frames = rng.integers(90, 110, (600, 30, 40)).astype(np.uint16)
    y, x = np.mgrid[:30, :40]
    cell = np.hypot(2.0 * (y - 10), 2.0 * (x - 20)) <= 5.0
    frames[300:320, cell] += 300
    return frames


def _open(folder: Path, frames: np.ndarray) -> Volume:
    tifffile.imwrite(folder / "site.tif", frames, metadata={"axes": "TYX"}, imagej=True)
    return open_volume(folder / "site.tif", name="site", axes="tyx", voxel_size_um=VOXEL)


def test_a_trace_is_the_relative_change_of_the_discs_mean(tmp_path, frames) -> None:
    trace = activity_trace(_open(tmp_path, frames), (0.0, 20.0, 40.0))
    y, x = np.mgrid[:30, :40]
    cell = np.hypot(2.0 * (y - 10), 2.0 * (x - 20)) <= 5.0
    mean = np.array([frame[cell].mean() for frame in frames])
    baseline = np.percentile(mean, 20)
    assert trace.relative
    np.testing.assert_allclose(trace.values, mean / baseline - 1.0, rtol=1e-5, atol=1e-6)
    assert trace.values[305] > 2.5
    assert abs(trace.values[100]) < 0.2


def test_dark_recordings_keep_their_grey_values(tmp_path, frames) -> None:
    frames[:, :, :] = 0
    frames[10] = 7
    trace = activity_trace(_open(tmp_path, frames), (0.0, 20.0, 40.0))
    assert not trace.relative
    assert (trace.values[10], trace.values[11]) == (7.0, 0.0)


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (0.0, 58.0, 78.0), (0.0, 31.0, 41.0)])
def test_places_at_the_border_and_between_pixels_have_a_trace(tmp_path, frames, place) -> None:
    volume = _open(tmp_path, frames)
    assert np.isfinite(activity_trace(volume, place).values).all()
    assert np.isfinite(activity_trace(volume, place, diameter_um=0.1).values).all()


def test_what_has_no_trace_is_said(tmp_path, frames) -> None:
    volume = _open(tmp_path, frames)
    with pytest.raises(InputError, match="outside"):
        activity_trace(volume, (0.0, 200.0, 40.0))
    still = Volume([frames[:1]], name="still", voxel_size_um=VOXEL)
    with pytest.raises(InputError, match="no recording"):
        activity_trace(still, (0.0, 20.0, 40.0))
    assert still.by(Projection.MAX) is still


def test_reading_can_be_stopped(tmp_path, frames) -> None:
    told: list[tuple[int, int]] = []

    def report(done: int, total: int, message: str) -> None:
        told.append((done, total))
        if done:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        activity_trace(_open(tmp_path, frames), (0.0, 20.0, 40.0), report=report)
    assert told == [(0, 600), (256, 600)]


def test_a_recording_can_be_seen_by_each_projection(tmp_path, frames) -> None:
    volume = _open(tmp_path, frames)
    assert volume.by(Projection.MEAN) is volume
    for projection, expected in (
        (Projection.MAX, frames.max(axis=0)),
        (Projection.STD, frames.std(axis=0)),
    ):
        seen = volume.by(projection)
        np.testing.assert_allclose(seen.read((0, 0, 0), (1, 30, 40))[0], expected, rtol=1e-4)
        assert seen.recording is volume.by(projection).recording, "computed once"
        assert seen.voxel_size_um == VOXEL
