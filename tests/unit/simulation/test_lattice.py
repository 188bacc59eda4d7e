import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_neurobridge.simulation.lattice import Boxes, Sampling

CPU = torch.device("cpu")
EVERYTHING = (slice(None), slice(None), slice(None))
START = st.integers(-5000, 5000)
STEP = st.floats(0.3, 3.0)
COARSE = st.sampled_from([1.0, 2.0, 2.5, 10.0])


def positions(boxes: Boxes, step_um):
    z, y, x = (boxes.index(axis).double() * step for axis, step in enumerate(step_um))
    return z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]


@given(
    start=st.tuples(START, START, START),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)),
    step=st.tuples(STEP, STEP, STEP),
    coarse=st.tuples(COARSE, COARSE, COARSE),
)
def test_a_linear_function_is_interpolated_exactly(start, shape, step, coarse):
    boxes = Boxes.of([start], shape)
    sampling = Sampling(boxes, step, coarse, device=CPU)
    slope = (0.5, -0.2, 0.3)

    def function(z, y, x):
        return slope[0] * z + slope[1] * y + slope[2] * x

    # Relative to the box, so that float32 has digits enough.
    origin = [first * fine for first, fine in zip(start, step, strict=True)]
    offset = function(*origin)
    nodes = (function(*positions(sampling.nodes, coarse)) - offset).float()
    wanted = (function(*positions(boxes, step)) - offset).float()
    assert torch.allclose(sampling(nodes, EVERYTHING), wanted, atol=1e-3)


def test_a_batch_gives_what_each_box_gives():
    starts = [(0, 3, -7), (5, -20, 11)]
    step, coarse = (2.0, 1.0, 0.65), (4.0, 2.0, 2.5)
    both = Sampling(Boxes.of(starts, (4, 20, 30)), step, coarse, device=CPU)
    values = torch.rand(both.nodes.batch_shape)
    together = both(values, EVERYTHING)
    for box, start in enumerate(starts):
        alone = Sampling(Boxes.of([start], (4, 20, 30)), step, coarse, device=CPU)
        assert alone.nodes.starts[0] == both.nodes.starts[box]
        assert torch.equal(alone(values[[box]], EVERYTHING)[0], together[box])


@pytest.mark.parametrize("batch, shape", [(1, (30, 400, 500)), (40, (15, 50, 50)), (2, (1, 1, 1))])
def test_pieces_hold_every_voxel_once(batch, shape):
    boxes = Boxes.of([(0, 0, 0)] * batch, shape)
    seen = torch.zeros(boxes.batch_shape)
    for piece in boxes.pieces(CPU):
        seen[piece] += 1
        assert boxes.part(piece).batch_shape == tuple(seen[piece].shape)
    assert torch.equal(seen, torch.ones_like(seen))


def test_permuted_boxes_match_permuted_tensors():
    boxes = Boxes.of([(1, 2, 3)], (4, 5, 6)).permuted((2, 0, 1))
    assert boxes == Boxes.of([(3, 1, 2)], (6, 4, 5))
