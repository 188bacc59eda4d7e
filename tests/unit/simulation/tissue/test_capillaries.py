import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from napari_neurobridge.simulation.tissue.capillaries import link_nodes, scatter_nodes


@pytest.fixture(scope="module")
def mesh() -> tuple[np.ndarray, np.ndarray]:
    nodes = scatter_nodes((0, 0, 0), (600, 600, 600), 0.6, np.random.default_rng(0))
    return nodes, link_nodes(nodes)


def adjacency(nodes: np.ndarray, links: np.ndarray) -> sparse.csr_matrix:
    half = sparse.csr_matrix((np.ones(len(links)), links.T), (len(nodes),) * 2)
    return half + half.T


def test_the_mesh_has_the_stated_length(mesh):
    nodes, links = mesh
    length_um = np.linalg.norm(nodes[links[:, 0]] - nodes[links[:, 1]], axis=1).sum()
    assert length_um * 1e-6 / 0.6**3 == pytest.approx(0.6, rel=0.05)


def test_the_mesh_hangs_together_and_forks_in_two(mesh):
    matrix = adjacency(*mesh)
    assert connected_components(matrix)[0] == 1
    assert matrix.max() == 1  # no link twice
    degree = np.asarray(matrix.sum(axis=1)).ravel()
    assert (degree == 3).mean() > 0.85
    assert (degree == 1).mean() < 0.02
    assert degree.max() <= 6


def test_few_loops_are_triangles(mesh):
    matrix = adjacency(*mesh)
    square = matrix @ matrix
    in_triangle = np.asarray(square.multiply(matrix).sum(axis=1)).ravel() > 0
    # Nodes linked with their three nearest lie in triangles almost all.
    assert in_triangle.mean() < 0.1


def test_blood_is_near_everywhere(mesh):
    nodes, _ = mesh
    places = np.random.default_rng(1).uniform(50, 550, (500, 3))
    distance = np.linalg.norm(places[:, None] - nodes, axis=2).min(axis=1)
    assert distance.max() < 80


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_nodes_are_linked_as_far_as_they_go(count):
    nodes = np.random.default_rng(2).uniform(0, 50, (count, 3))
    links = link_nodes(nodes)
    assert len(links) >= max(count - 1, 0)
    if count:
        assert connected_components(adjacency(nodes, links))[0] == 1
