"""What somata look like beside where they lie."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neurobridge.benchmarks.start_fields import (
    StartField,
    StartFieldParams,
    draw_start_field,
)
from napari_neurobridge.matching.constellation.any_turn import TurnParams, search_turns
from napari_neurobridge.matching.constellation.grown_maps import GrownMap
from napari_neurobridge.matching.constellation.local_poses import PoseParams
from napari_neurobridge.matching.constellation.looks import weigh_by_looks

# So poor that the pattern alone does not say how the planes lie.
POOR = StartFieldParams(missing=0.55, noise_um=3.0, bend_um=12.0, scale=(1.0, 1.0), turn=True)
QUICK = TurnParams(poses=PoseParams(anchors=60), unlike_axes=False)


def grown(evidence: float, rows: range) -> GrownMap:
    pairs = np.column_stack([rows, rows])
    return GrownMap(np.eye(2), np.zeros((3, 2)), evidence, pairs.astype(np.intp))


def test_each_pair_adds_a_bounded_amount() -> None:
    maps = [grown(20.0, range(10)), grown(15.0, range(10, 22)), grown(9.0, range(3))]

    def looks(pairs: np.ndarray) -> np.ndarray:
        return np.where(pairs[:, 0] < 10, -1.0, 100.0)

    weighed = weigh_by_looks(maps, looks)
    assert [one.evidence for one in weighed] == [15 + 12 * 4, 20 - 10, 9]
    # Those of hardly any pairs, and those beyond the count, keep what they have.
    assert [one.evidence for one in weigh_by_looks(maps, looks, count=1)] == [15, 10, 9]


@pytest.fixture(scope="module")
def field() -> StartField:
    for seed in range(20):
        drawn = draw_start_field("plane in plane", POOR, seed)
        if not search_turns(
            drawn.queries_um, drawn.gallery_um, orientation=None, params=QUICK
        ).known:
            return drawn
    raise AssertionError("the pattern alone says it each time")


@pytest.mark.slow
def test_looks_tell_where_the_pattern_alone_does_not(field: StartField) -> None:
    rng = np.random.default_rng(0)

    def looks(pairs: np.ndarray) -> np.ndarray:
        same = field.partner[pairs[:, 0]] == pairs[:, 1]
        return np.where(same, 1.0, -1.0) + rng.normal(0, 0.7, len(pairs))

    found = search_turns(
        field.queries_um, field.gallery_um, orientation=None, params=QUICK, looks=looks
    )
    assert found.known
    assert (field.partner[found.seeds[:, 0]] == found.seeds[:, 1]).mean() > 0.6


@pytest.mark.slow
def test_looks_are_asked_in_the_order_of_the_sides() -> None:
    field = draw_start_field("plane in volume", StartFieldParams(turn=False), 1)
    asked: list[np.ndarray] = []

    def looks(pairs: np.ndarray) -> np.ndarray:
        asked.append(pairs)
        return np.zeros(len(pairs))

    search_turns(field.gallery_um, field.queries_um, orientation=None, params=QUICK, looks=looks)
    rows = np.concatenate(asked)
    assert rows[:, 1].max() < len(field.queries_um) <= rows[:, 0].max()
