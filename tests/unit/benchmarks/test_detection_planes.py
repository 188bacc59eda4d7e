"""Planes of a simulated stack, and what counts as found in them."""

from __future__ import annotations

import numpy as np

from napari_neurobridge.benchmarks.detection_planes import Found, planes_of
from napari_neurobridge.io.volumes import Volume

VOXEL = (2.0, 1.0, 1.0)


def stack() -> Volume:
    return Volume([np.arange(11 * 4 * 4).reshape(11, 4, 4)], name="x", voxel_size_um=VOXEL)


def test_planes_hold_the_pixels_and_the_somata_of_their_depth() -> None:
    somata = np.array([[4.0, 1, 2], [8.9, 2, 2], [20.0, 3, 3]])
    planes = planes_of(stack(), somata)
    assert len(planes) == 4
    first = planes[0]
    assert first.volume.shape == (1, 4, 4)
    # The plane at a fifth of ten steps is the third, at 4 µm.
    np.testing.assert_array_equal(
        first.volume.read((0, 0, 0), (1, 4, 4))[0], 32 + np.arange(16).reshape(4, 4)
    )
    np.testing.assert_array_equal(first.truth_um, [[0, 1, 2], [0, 2, 2]])
    assert len(first.grazed_um) == 0
    # At 8 µm the second is in the plane, and the first is 4 µm off it.
    np.testing.assert_array_equal(planes[1].truth_um, [[0, 1, 2], [0, 2, 2]])
    np.testing.assert_array_equal(planes[3].grazed_um, [[0, 2, 2]])


def test_a_soma_that_the_plane_grazes_is_neither_right_nor_wrong() -> None:
    plane = planes_of(stack(), np.array([[4.0, 1, 2], [12.0, 30, 2]]))[0]
    found = Found(
        np.array([[0.0, 1, 1], [0, 30, 0], [0, 60, 60], [0, 31, 2]]),
        np.array([0.9, 0.8, 0.7, 0.6]),
    )
    counted, hit = plane.judged(found)
    # Of the two at the grazed soma, one stays, and is wrong.
    assert sorted(counted.confidence) == [0.7, 0.8, 0.9]
    assert hit.tolist() == [confidence == 0.9 for confidence in counted.confidence]
