import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.io import projections
from napari_neurobridge.io.projections import ProjectedView, project_frames
from napari_neurobridge.io.views import ChannelView
from napari_neurobridge.types import Projection

ORACLES = {
    Projection.MEAN: lambda f: f.mean(axis=0, dtype=np.float64),
    Projection.MAX: lambda f: f.max(axis=0),
    Projection.STD: lambda f: f.std(axis=0, dtype=np.float64),
}


@pytest.mark.parametrize("projection", list(Projection))
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6), seed=st.integers(0, 1000))
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
