import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.io import projections
from napari_neurobridge.io.projections import ProjectedView, RunningProjections, project_frames
from napari_neurobridge.io.views import ChannelView
from napari_neurobridge.types import Projection


def _correlation(one, other):
    # Two frames may hold the same value, and what never varies correlates with nothing.
    return np.corrcoef(one, other)[0, 1] if np.ptp(one) > 0 and np.ptp(other) > 0 else 0.0


def local_correlation(frames):
    """Pearson's r of each pixel of (t, ..., y, x) with each neighbour, pair by pair."""
    if frames.ndim > 3:
        return np.stack([local_correlation(plane) for plane in frames.swapaxes(0, 1)])
    _, height, width = frames.shape
    result = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            rs = [
                _correlation(frames[:, y, x], frames[:, j, i])
                for j in range(max(y - 1, 0), min(y + 2, height))
                for i in range(max(x - 1, 0), min(x + 2, width))
                if (j, i) != (y, x)
            ]
            result[y, x] = np.mean(rs) if rs else 0
    return result


ORACLES = {
    Projection.MEAN: lambda f: f.mean(axis=0, dtype=np.float64),
    Projection.MAX: lambda f: f.max(axis=0),
    Projection.STD: lambda f: f.std(axis=0, dtype=np.float64),
    Projection.CORRELATION: lambda f: local_correlation(f.astype(np.float64)),
}


@pytest.mark.parametrize("projection", list(Projection))
@given(sizes=st.lists(st.integers(1, 7), min_size=2, max_size=6), seed=st.integers(0, 1000))
def test_pieces_do_not_matter(projection, sizes, seed):
    # A bright, steady background, on which a one-pass sum of squares loses its digits.
    rng = np.random.default_rng(seed)
    frames = (60_000 + rng.normal(0, 0.5, (sum(sizes), 3, 4))).astype(np.float32)
    pieces = np.split(frames, np.cumsum(sizes)[:-1])
    expected = ORACLES[projection](frames)
    assert np.allclose(project_frames(pieces, projection), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("projection", list(Projection))
def test_integers_do_not_overflow(projection):
    frames = np.full((300, 2, 2), 65535, dtype=np.uint16)
    frames[::2] = 1
    expected = ORACLES[projection](frames.astype(np.float64))
    assert np.allclose(project_frames([frames[:100], frames[100:]], projection), expected)


@pytest.mark.parametrize("projection", list(Projection))
def test_view_streams_and_projects_each_plane(projection, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 4000, (11, 3, 4, 5)).astype(np.uint16)
    monkeypatch.setattr(projections, "_FRAME_BYTES", 8 * 20 * 2)
    view = ProjectedView(ChannelView(zarr.array(frames), "tzyx"), 11, projection)
    assert view.dtype == np.float32
    assert np.allclose(view[1:3, :, 2], ORACLES[projection](frames)[1:3, :, 2], atol=1e-3)


def test_each_plane_is_projected_once():
    frames = zarr.array(np.ones((5, 2, 3, 3), dtype=np.float32))
    view = ProjectedView(ChannelView(frames, "tzyx"), 5, Projection.MEAN)
    assert view[0, 0, 0] == 1
    frames[:] = 7
    assert view[0, 1, 1] == 1
    assert view[1, 1, 1] == 7


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_correlation_of_few_pixels_uses_the_neighbours_there_are(shape):
    frames = np.random.default_rng(3).normal(size=(20, *shape))
    result = project_frames([frames[:7], frames[7:]], Projection.CORRELATION)
    assert np.allclose(result, local_correlation(frames), atol=1e-6)


@pytest.mark.parametrize("steady", [0.0, 0.1, 60_000.7])
def test_a_pixel_that_never_changes_correlates_with_nothing(steady):
    frames = np.random.default_rng(0).normal(steady, 1, (30, 3, 3))
    frames[:, :, 0] = steady
    result = project_frames([frames[:10], frames[10:13], frames[13:]], Projection.CORRELATION)
    assert np.array_equal(result[:, 0], np.zeros(3))
    assert (result[:, 2] != 0).all()
    frames[:] = steady
    flat = project_frames([frames[:10], frames[10:13], frames[13:]], Projection.CORRELATION)
    assert np.array_equal(flat, np.zeros((3, 3)))


def test_correlation_does_not_hide_nan():
    frames = np.random.default_rng(0).normal(size=(9, 5, 5))
    frames[4, 1, 1] = np.nan
    result = project_frames([frames], Projection.CORRELATION)
    assert np.isnan(result[:3, :3]).all()
    assert np.isfinite(result[3:]).all()


def test_all_projections_in_one_pass_are_those_made_alone():
    frames = np.random.default_rng(1).integers(0, 4000, (23, 6, 7)).astype(np.uint16)
    running = RunningProjections(Projection)
    for piece in np.array_split(frames, 5):
        running.add(piece)
    for projection in Projection:
        assert np.allclose(running.result(projection), project_frames([frames], projection))
