"""Matches of two planes are checked where they are made."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.image_matches import ImageMatches, lifted


def some(**changes) -> ImageMatches:
    values = {
        "source_um": [[0, 0], [1, 2], [3, 4]],
        "target_um": [[5, 5], [6, 7], [8, 9]],
        "probability": [0.2, 0.5, 1.0],
        "confidence": [0.0, 0.5, 0.6],
        "threshold": 0.5,
        "inlier_ratio": 0.4,
        "n_source": 10,
        "n_target": 11,
    }
    return ImageMatches(**(values | changes))


def test_verified_are_those_above_the_threshold() -> None:
    assert some().verified.tolist() == [False, False, True]
    assert some(threshold=-1.0).verified.all()


def test_some_of_them_keep_what_belongs_to_each() -> None:
    part = some().take(np.array([2, 0]))
    assert part.source_um.tolist() == [[3, 4], [0, 0]]
    assert part.target_um.tolist() == [[8, 9], [5, 5]]
    assert part.probability.tolist() == [1.0, 0.2]
    assert part.verified.tolist() == [True, False]
    assert (part.n_source, part.threshold) == (10, 0.5)


def test_there_may_be_none() -> None:
    none = some(source_um=[], target_um=[], probability=[], confidence=[], n_source=0)
    assert len(none) == 0
    assert none.source_um.shape == none.target_um.shape == (0, 2)
    assert not none.verified.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_um": [[0, 0]]}, "1 places cannot be matched with 3"),
        ({"source_um": [[0, 0, 0]] * 3}, r"shape \(N, 2\)"),
        ({"source_um": [[0, np.nan]] * 3}, "NaN or infinite"),
        ({"source_um": [["a", "b"]] * 3}, "must be numbers"),
        ({"confidence": [0.0, 0.5, 1.2]}, "confidence from 0 to 1"),
        ({"confidence": [0.0, 0.5, np.nan]}, "confidence from 0 to 1"),
        ({"probability": [0.5]}, "probability from 0 to 1"),
        ({"threshold": np.inf}, "finite threshold"),
        ({"inlier_ratio": 1.1}, "inlier ratio from 0 to 1"),
        ({"n_target": -1}, "must not be negative"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        some(**changes)


def test_lifted_places_lie_at_depth_0() -> None:
    np.testing.assert_array_equal(lifted([[1, 2], [3, 4]]), [[0, 1, 2], [0, 3, 4]])
    assert lifted([]).shape == (0, 3)
