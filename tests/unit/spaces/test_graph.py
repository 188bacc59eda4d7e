"""The graph of spaces: shortest way, both directions, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import shortest_path

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import Affine, SpaceGraph
from strategies import affines, points

N_SPACES = 6


def shift(source: str, target: str, z_um: float = 1.0) -> Affine:
    return Affine.from_linear(np.eye(3), (z_um, 0.0, 0.0), source=source, target=target)


@given(affines("plane", "stack"), affines("stack", "fmost"), points())
def test_points_cross_spaces_there_and_back(plane_to_stack, stack_to_fmost, array):
    graph = SpaceGraph([plane_to_stack, stack_to_fmost])
    there = graph.map_points(array, "plane", "fmost")
    expected = stack_to_fmost.map_points(plane_to_stack.map_points(array))
    np.testing.assert_array_equal(there, expected)
    back = graph.map_points(there, "fmost", "plane")
    # 10⁴ voxels of up to 50 µm on the way: a relative error below 1e-8.
    np.testing.assert_allclose(back, array, atol=1e-3)


def test_points_stay_where_they_are_within_a_space():
    graph = SpaceGraph(spaces=["two_photon"])
    array = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(graph.map_points(array, "two_photon", "two_photon"), array)


@given(st.sets(st.tuples(*[st.integers(0, N_SPACES - 1)] * 2).filter(lambda e: e[0] < e[1])))
def test_path_is_the_shortest_one(edges):
    names = [f"space{i}" for i in range(N_SPACES)]
    graph = SpaceGraph([shift(names[a], names[b]) for a, b in sorted(edges)], spaces=names)
    adjacency = np.zeros((N_SPACES, N_SPACES))
    for edge in edges:
        adjacency[edge] = 1
    steps = shortest_path(adjacency, directed=False, unweighted=True)
    for a, source in enumerate(names):
        for b, target in enumerate(names):
            if np.isinf(steps[a, b]):
                with pytest.raises(InputError, match="Nothing joins"):
                    graph.path(source, target)
                continue
            path = graph.path(source, target)
            assert len(path) == steps[a, b]
            ends = [source, *(step.target for step in path)]
            assert [step.source for step in path] == ends[:-1]
            assert ends[-1] == target


def test_direct_map_wins_over_a_detour():
    graph = SpaceGraph(
        [shift("a", "b"), shift("b", "c"), Affine(np.eye(4), "a", "c")],
    )
    np.testing.assert_array_equal(graph.map_points((5, 5, 5), "a", "c"), [[5.0, 5.0, 5.0]])


@pytest.mark.parametrize(
    "later", [shift("a", "b", 10.0), shift("b", "a", -10.0)], ids=["same way", "backwards"]
)
def test_later_map_replaces_the_earlier_one_both_ways(later):
    graph = SpaceGraph([shift("a", "b", 1.0)])
    graph.add(later)
    np.testing.assert_array_equal(graph.map_points((0, 0, 0), "a", "b"), [[10.0, 0.0, 0.0]])
    np.testing.assert_array_equal(graph.map_points((0, 0, 0), "b", "a"), [[-10.0, 0.0, 0.0]])


def test_unknown_space_is_refused_with_the_known_names():
    graph = SpaceGraph(spaces=["two_photon", "fmost"])
    with pytest.raises(InputError, match=r"'atlas'.*two_photon, fmost"):
        graph.map_points((0, 0, 0), "two_photon", "atlas")


def test_spaces_that_nothing_joins_say_what_to_do():
    graph = SpaceGraph(spaces=["two_photon", "fmost"])
    with pytest.raises(InputError, match="set an orientation or register them"):
        graph.map_points((0, 0, 0), "two_photon", "fmost")


def test_spaces_are_listed_in_order_of_arrival():
    graph = SpaceGraph([shift("a", "b")], spaces=["first"])
    assert graph.spaces == ("first", "a", "b")


def test_bad_points_are_refused_before_any_path_is_sought():
    with pytest.raises(InputError, match="Points"):
        SpaceGraph(spaces=["a"]).map_points((1.0, np.nan, 1.0), "a", "a")
