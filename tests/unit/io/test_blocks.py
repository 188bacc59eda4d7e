import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.io.blocks import iter_blocks

_size = st.tuples(*[st.integers(1, 12)] * 3)


@given(shape=_size, block=_size, halo=st.tuples(*[st.integers(0, 5)] * 3))
def test_blocks_cover_everything_once_and_halos_stay_inside(shape, block, halo):
    volume = np.arange(np.prod(shape)).reshape(shape)
    seen = np.zeros(shape, dtype=int)
    for piece in iter_blocks(shape, block, halo):
        own = tuple(slice(a, b) for a, b in zip(piece.start, piece.stop, strict=True))
        outer = tuple(slice(a, b) for a, b in zip(piece.outer_start, piece.outer_stop, strict=True))
        seen[own] += 1
        assert np.array_equal(volume[outer][piece.inner], volume[own])
        for axis in range(3):
            assert piece.outer_start[axis] == max(0, piece.start[axis] - halo[axis])
            assert piece.outer_stop[axis] == min(shape[axis], piece.stop[axis] + halo[axis])
    assert (seen == 1).all()
