"""Counting hits, against an oracle that tries every assignment."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_neurobridge.detection.hits import count_hits

points = st.lists(st.tuples(*[st.floats(0, 12)] * 3), max_size=4).map(
    lambda rows: np.array(rows, dtype=float).reshape(-1, 3)
)


def most_hits(truth: np.ndarray, found: np.ndarray, within_um: float) -> int:
    """Try every one-to-one assignment."""
    few, many = sorted((truth, found), key=len)
    return max(
        sum(np.linalg.norm(a - many[i]) <= within_um for a, i in zip(few, order, strict=True))
        for order in itertools.permutations(range(len(many)), len(few))
    )


@settings(max_examples=200)
@given(points, points)
def test_hits_are_as_many_as_any_assignment_makes(truth: np.ndarray, found: np.ndarray) -> None:
    assert count_hits(truth, found, within_um=5.0) == most_hits(truth, found, 5.0)


def test_two_detections_of_one_soma_are_one_hit() -> None:
    truth = np.array([[0.0, 0, 0]])
    found = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    assert count_hits(truth, found) == 1
    assert count_hits(truth, np.zeros((0, 3))) == 0
