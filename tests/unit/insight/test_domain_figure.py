"""The dendrogram and the distances of domains, in one order."""

import numpy as np
import pytest

from napari_neurobridge.active.domain_groups import grouping_test
from napari_neurobridge.errors import InputError
from napari_neurobridge.insight.figures import DARK, domain_figure

NAMES = ("a1", "b1", "a2", "c1", "b2", "b3")


def distances() -> np.ndarray:
    far = np.array([[one[0] != two[0] for one in NAMES] for two in NAMES], dtype=float)
    near = np.random.default_rng(0).uniform(0.05, 0.1, far.shape)
    return np.where(far > 0, 1.0, (near + near.T) / 2) * (1 - np.eye(len(NAMES)))


def test_the_matrix_stands_in_the_order_of_the_leaves():
    matrix = distances()
    figure = domain_figure(NAMES, matrix, theme=DARK)
    tree, image = figure.axes
    leaves = [label.get_text() for label in tree.get_yticklabels()]
    assert [label.get_text() for label in image.get_xticklabels()] == leaves
    assert sorted(leaves) == sorted(NAMES)
    kinds = "".join(leaf[0] for leaf in leaves)
    assert all(kind * kinds.count(kind) in kinds for kind in "abc")  # groups stay together
    shown = image.get_images()[0].get_array()
    rows = [NAMES.index(leaf) for leaf in leaves]
    np.testing.assert_array_equal(shown, matrix[np.ix_(rows, rows)])
    written = {(round(t.get_position()[0]), round(t.get_position()[1])): t for t in image.texts}
    assert len(written) == len(NAMES) * (len(NAMES) - 1)
    assert written[0, 2].get_text() == f"{shown[2, 0]:.2g}"


def test_a_test_is_told_with_its_floor():
    test = grouping_test(distances(), [name[0] for name in NAMES])
    said = domain_figure(NAMES, distances(), test=test).get_suptitle()
    assert "3 clusters against the declared groups:\nFowlkes–Mallows 1.00, p = 0.017" in said
    assert "(at least 0.017)" in said


def test_every_domain_needs_a_name():
    with pytest.raises(InputError, match="6 domains need a name each, not 5"):
        domain_figure(NAMES[:5], distances())
