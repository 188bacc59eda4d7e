"""Matches grown outward from neighbourhoods of matches."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from napari_neurobridge.registration.growth import (
    evidence_of,
    grown_pairs,
    growths,
    neighbourhoods,
)

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_SIDE = 400.0


def _bent(places: Float64Array) -> Float64Array:
    """Stretch one axis a fifth more than the other, turn, and bend by some 6 µm."""
    turn = np.deg2rad(40)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    waves = 9 * np.sin(places[:, ::-1] / 70.0 + np.array([0.3, 1.1]))
    return (places * [0.92, 0.76]) @ linear.T + waves + 300.0


class _Field:
    """Somata of both planes: a fifth of either side lacks a partner."""

    def __init__(self, seed: int = 0, count: int = 110) -> None:
        rng = np.random.default_rng(seed)
        kept: list[Float64Array] = []
        while len(kept) < count:  # somata do not overlap
            place = rng.uniform(0, _SIDE, 2)
            if all(np.linalg.norm(place - other) > 14 for other in kept):
                kept.append(place)
        tissue = np.array(kept)
        seen = [np.flatnonzero(rng.random(count) < 0.8) for _ in range(2)]
        seen[1] = rng.permutation(seen[1])
        self.source = tissue[seen[0]] + rng.normal(0, 0.8, (len(seen[0]), 2))
        self.target = _bent(tissue[seen[1]]) + rng.normal(0, 0.8, (len(seen[1]), 2))
        where = {name: row for row, name in enumerate(seen[1])}
        self.true = np.array(
            [(row, where[name]) for row, name in enumerate(seen[0]) if name in where]
        )
        self.density = len(self.target) / float(np.prod(np.ptp(self.target, axis=0)))

    def start(self, wrong: int = 12) -> RowArray:
        """Return what is right in one corner, and wrong in the opposite one."""
        corner = np.argsort(np.linalg.norm(self.source[self.true[:, 0]] - 80.0, axis=1))
        right, far = self.true[corner[:16]], self.true[corner[-wrong:]] if wrong else None
        if far is None:
            return right
        return np.concatenate([right, np.column_stack([far[:, 0], np.roll(far[:, 1], 3)])])

    def looks(self, rows: RowArray) -> Float64Array:
        """Return what a judge would say that knows the truth nine times out of ten."""
        true = {tuple(pair) for pair in self.true.tolist()}
        right = np.array([tuple(pair) in true for pair in rows.tolist()])
        mistaken = (rows.sum(axis=1) % 10) == 0
        return np.where(right ^ mistaken, 2.0, -2.0)


def _right(field: _Field, pairs: RowArray) -> tuple[int, int]:
    true = {tuple(pair) for pair in field.true.tolist()}
    return sum(tuple(pair) in true for pair in pairs.tolist()), len(pairs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("looked", [False, True])
def test_a_field_is_matched_from_one_corner_that_is_right(seed: int, looked: bool) -> None:
    field = _Field(seed)
    start = field.start()
    looks = field.looks if looked else None
    starts = neighbourhoods(field.source, start)
    found = growths(field.source, field.target, starts, field.density, looks)[0]
    right, count = _right(field, found.pairs)
    # Where a judge that mistakes every tenth pair is asked, those are left out, and hardly a wrong
    # one stays.
    assert right >= (0.8 if looked else 0.9) * len(field.true)
    assert right >= (0.97 if looked else 0.9) * count
    before = evidence_of(field.source, field.target, start, field.density, looks)
    assert before is None or found.evidence > before.evidence


def test_nothing_grows_from_chance() -> None:
    """Another plane: what grows has no more evidence than matches of chance have."""
    field, other = _Field(0), _Field(9)
    rng = np.random.default_rng(0)
    rows = [rng.permutation(len(side))[:20] for side in (field.source, other.target)]
    starts = neighbourhoods(field.source, np.column_stack(rows))
    chance = growths(field.source, other.target, starts, other.density)
    real = growths(
        field.source, field.target, neighbourhoods(field.source, field.start()), field.density
    )
    assert not chance or chance[0].evidence < 0.4 * real[0].evidence


def test_the_order_of_the_starts_does_not_matter() -> None:
    field = _Field(1)
    starts = neighbourhoods(field.source, field.start())
    one, other = (
        growths(field.source, field.target, each, field.density)[0]
        for each in (starts, starts[::-1])
    )
    assert one.evidence == pytest.approx(other.evidence)
    np.testing.assert_array_equal(one.pairs, other.pairs)


def test_neighbourhoods_are_the_nearest() -> None:
    field = _Field(2)
    pairs = field.true[:50]
    places = field.source[pairs[:, 0]]
    for row, found in enumerate(neighbourhoods(field.source, pairs)):
        apart = np.linalg.norm(places - places[row], axis=1)
        nearest = {tuple(pair) for pair in pairs[np.argsort(apart)[:10]].tolist()}
        assert {tuple(pair) for pair in found.tolist()} == nearest
    rows = np.arange(3 * len(places))
    many = neighbourhoods(np.repeat(places, 3, axis=0), np.column_stack([rows, rows]))
    assert len(many) == 60
    few = neighbourhoods(field.source, pairs[:3])
    assert [len(one) for one in few] == [3, 3, 3]


def test_evidence_is_the_mixture_of_right_and_wrong_pairs() -> None:
    """Against a sum over all pairs, with the map of a pure shift, which needs no process."""
    rng = np.random.default_rng(4)
    source = rng.uniform(0, 300, (25, 2))
    target = source + np.array([12.0, -5.0])
    target[:5] += rng.uniform(2, 4, (5, 2))
    pairs = np.column_stack([np.arange(5, 25)] * 2)
    looks = rng.normal(0, 3, 25)
    found = evidence_of(source, target, pairs, 1e-3, lambda rows: looks[rows[:, 0]])
    assert found is not None
    total = 0.0
    for row in range(25):
        off = math.dist(source[row] + [12.0, -5.0], target[row])
        density = math.exp(-0.5 * (off / 2.2) ** 2) / (2 * math.pi * 2.2**2)
        ratio = density / 1e-3 * math.exp(min(max(looks[row], -4.0), 4.0))
        total += math.log(0.5 + 0.5 * ratio)
    assert found.evidence == pytest.approx(total, rel=0.02)


@pytest.mark.parametrize(
    "change",
    [
        lambda target: target * [1.0, -1.0],  # mirrored
        lambda target: target * 0.3,
        lambda target: target * 3.0,
        lambda target: target * [1.0, 0.0] + [0.0, 5.0],  # onto a line
    ],
)
def test_what_tissue_does_not_do_grows_nowhere(change) -> None:
    source = _Field(3).source
    pairs = np.column_stack([np.arange(12)] * 2)
    assert grown_pairs(source, change(source), pairs) is None
    assert evidence_of(source, change(source), pairs, 1e-3) is None
    assert growths(source, change(source), [pairs], 1e-3) == []


def test_without_starts_there_is_nothing() -> None:
    field = _Field(0)
    assert growths(field.source, field.target, [], field.density) == []
    assert neighbourhoods(field.source, field.true[:0]) == []
