"""Which of many proposed maps is right, by what grows from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from napari_neurobridge.registration.growth_search import search_growths

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

_SIDE = 400.0
_NOTHING = np.empty((0, 2), dtype=np.intp)


def _somata(rng: np.random.Generator, count: int = 110) -> Float64Array:
    """Return places that do not overlap."""
    kept: list[Float64Array] = []
    while len(kept) < count:
        place = rng.uniform(0, _SIDE, 2)
        if all(np.linalg.norm(place - other) > 14 for other in kept):
            kept.append(place)
    return np.array(kept)


def _stretched(places: Float64Array) -> Float64Array:
    """Stretch one axis by a third more than the other, turn, and bend."""
    turn = np.deg2rad(-70)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    waves = 6 * np.sin(places[:, ::-1] / 80.0 + np.array([0.4, 1.3]))
    return (places * [1.15, 0.86]) @ linear.T + waves + 200.0


class _Planes:
    """Somata of two planes that share three quarters; rows of a soma are the same on both."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        tissue, missing = _somata(rng), rng.random(110) < 0.25
        self.source = tissue + rng.normal(0, 0.8, tissue.shape)
        self.target = _stretched(tissue) + rng.normal(0, 0.8, tissue.shape)
        # Where a soma is missing from the source, another one lies elsewhere.
        self.source[missing] = rng.uniform(0, _SIDE, (int(missing.sum()), 2))
        self.true = np.flatnonzero(~missing)
        self.density = len(self.target) / float(np.prod(np.ptp(self.target, axis=0)))
        self.rng = rng

    def corner(self) -> RowArray:
        """Return a few right pairs of one corner."""
        near = self.true[np.argsort(np.linalg.norm(self.source[self.true], axis=1))[:10]]
        return np.column_stack([near, near])

    def wrong(self) -> RowArray:
        """Return pairs that agree on a map that is turned the other way."""
        turn = np.deg2rad(self.rng.uniform(20, 180))
        linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        rows = self.rng.choice(len(self.source), 1)
        near = np.argsort(np.linalg.norm(self.source - self.source[rows], axis=1))[:12]
        mapped = (self.source[near] - self.source[rows]) @ linear.T + self.target.mean(axis=0)
        apart = np.linalg.norm(mapped[:, None] - self.target, axis=2)
        return np.column_stack([near, apart.argmin(axis=1)])


@pytest.mark.parametrize("seed", range(3))
def test_a_right_corner_wins_over_many_wrong_maps(seed: int) -> None:
    planes = _Planes(seed)
    proposals = [planes.wrong() for _ in range(8)]
    proposals.insert(5, planes.corner())
    found = search_growths(planes.source, planes.target, proposals, planes.density)
    assert found.best is not None
    right = (found.best.pairs[:, 0] == found.best.pairs[:, 1]).mean()
    assert right >= 0.9
    assert len(found.best.pairs) >= 0.8 * len(planes.true)
    assert found.best.evidence > 1.5 * found.other_evidence


@pytest.mark.parametrize("seed", range(3))
def test_wrong_maps_alone_are_not_known(seed: int) -> None:
    planes = _Planes(seed)
    proposals = [planes.wrong() for _ in range(9)]
    assert not search_growths(planes.source, planes.target, proposals, planes.density).known


def test_a_plane_that_is_turned_over_is_not_known() -> None:
    """The right map mirrors: it grows, and speaks against all that does not."""
    planes = _Planes(0)
    proposals = [planes.corner(), *(planes.wrong() for _ in range(8))]
    mirrored = planes.target * [1.0, -1.0]
    straight = search_growths(planes.source, planes.target, proposals, planes.density)
    over = search_growths(planes.source, mirrored, proposals, planes.density)
    assert straight.best is not None
    assert over.other_evidence == pytest.approx(straight.best.evidence)
    assert not over.known


def test_the_order_of_proposals_does_not_matter() -> None:
    planes = _Planes(1)
    proposals = [planes.corner(), *(planes.wrong() for _ in range(5))]
    found = [
        search_growths(planes.source, planes.target, each, planes.density)
        for each in (proposals, proposals[::-1])
    ]
    assert found[0].best is not None
    assert found[1].best is not None
    assert found[0].best.evidence == pytest.approx(found[1].best.evidence)
    assert found[0].other_evidence == pytest.approx(found[1].other_evidence)


@pytest.mark.parametrize("proposals", [[], [_NOTHING], [np.zeros((1, 2), dtype=np.intp)]])
def test_nothing_proposed_is_not_known(proposals: list[RowArray]) -> None:
    planes = _Planes(2)
    found = search_growths(planes.source, planes.target, proposals, planes.density)
    assert found.best is None
    assert not found.known
