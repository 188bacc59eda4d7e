import numpy as np
import pytest
import zarr

from napari_neurobridge.io.views import ChannelView


@pytest.fixture
def stored():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 1000, (2, 3, 4, 5, 6)).astype(np.uint16)
    return values, zarr.array(values, chunks=(1, 1, 2, 3, 4))


def test_channel_and_time_are_fixed(stored):
    values, array = stored
    view = ChannelView(array, "tczyx", channel=2, time=1)
    assert view.shape == (4, 5, 6)
    assert view.chunks == (2, 3, 4)
    assert view.size == 120
    assert np.array_equal(np.asarray(view), values[1, 2])


@pytest.mark.parametrize(
    "key",
    [
        np.s_[1],
        np.s_[np.int64(-1)],
        np.s_[1:3, 2],
        np.s_[..., 4],
        np.s_[:, ::2, 1:6:3],
        np.s_[::-1, 3:3],
        np.s_[2, 3, 4],
        np.s_[-3:-1, ..., :2],
    ],
)
def test_basic_indexing_is_that_of_numpy(stored, key):
    values, array = stored
    assert np.array_equal(ChannelView(array, "tczyx", channel=1)[key], values[0, 1][key])


def test_axes_in_any_order(stored):
    values, array = stored
    view = ChannelView(array, "xctzy", channel=2, time=1)
    assert np.array_equal(view[...], values[:, 2, 1].transpose(1, 2, 0))


def test_a_plane_gets_a_z_axis():
    plane = np.arange(6.0).reshape(2, 3)
    view = ChannelView(zarr.array(plane), "yx")
    assert view.shape == (1, 2, 3)
    assert np.array_equal(view[0], plane)


def test_too_many_axes(stored):
    with pytest.raises(IndexError, match="3 axes"):
        ChannelView(stored[1], "tczyx")[0, 0, 0, 0]


def test_out_of_bounds(stored):
    with pytest.raises(IndexError):
        ChannelView(stored[1], "tczyx")[4]
