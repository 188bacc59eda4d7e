"""Transforms one after the other, as one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine, SpaceGraph
from napari_neurobridge.spaces.chain import Chain, map_tensor
from strategies import affines, points


class Squeezed:
    """Not affine, and without a way of its own to map tensors."""

    def __init__(self, source: str, target: str, power: float) -> None:
        self.source, self.target, self.power = source, target, power

    def map_points(self, points):
        return np.sign(points) * np.abs(points) ** self.power

    def inverse(self):
        return Squeezed(self.target, self.source, 1 / self.power)


def shift(source: str, target: str, z_um: float = 1.0) -> Affine:
    return Affine.from_linear(np.eye(3), (z_um, 0.0, 0.0), source=source, target=target)


@given(affines("a", "b"), affines("b", "c"), points())
def test_chain_applies_the_first_step_first(first, second, array):
    chain = Chain((first, second))
    assert (chain.source, chain.target) == ("a", "c")
    np.testing.assert_array_equal(
        chain.map_points(array), second.map_points(first.map_points(array))
    )


def test_inverse_goes_back_through_all_steps():
    chain = Chain((shift("a", "b", 3.0), Squeezed("b", "c", 3.0), shift("c", "d", -2.0)))
    array = np.random.default_rng(0).uniform(-5, 5, (20, 3))
    back = chain.inverse()
    assert (back.source, back.target) == ("d", "a")
    np.testing.assert_allclose(back.map_points(chain.map_points(array)), array, atol=1e-9)


def test_chain_is_a_transform_of_the_graph():
    graph = SpaceGraph([Chain((shift("a", "b", 3.0), shift("b", "c", 4.0)))])
    np.testing.assert_array_equal(graph.map_points((0, 0, 0), "c", "a"), [[-7.0, 0.0, 0.0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_go_the_same_way_and_keep_their_dtype(dtype):
    turned = Affine.from_linear(
        [[0, 0, 1.1], [0.9, 0, 0], [0, -1, 0.1]], (5, 6, 7), source="a", target="b"
    )
    chain = Chain((turned, Squeezed("b", "c", 0.5), Chain((shift("c", "d"), shift("d", "e")))))
    cloud = torch.rand(50, 3, dtype=dtype) * 100
    mapped = chain.map_tensor(cloud)
    assert mapped.dtype == dtype
    np.testing.assert_allclose(mapped, chain.map_points(cloud.double().numpy()), atol=1e-3)
    assert map_tensor(chain, cloud).equal(mapped)


def test_steps_that_do_not_meet_are_refused():
    with pytest.raises(InputError, match=r"a → b with c → d"):
        Chain((shift("a", "b"), shift("c", "d")))


def test_empty_chain_is_refused():
    with pytest.raises(InputError, match="at least one"):
        Chain(())
