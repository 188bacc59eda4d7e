"""Splitting the pairs of one brain into blocks whose crops do not overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError
from napari_neurobridge.training.splits import FEWEST_TO_SPLIT, PairSplit, Separation
from napari_neurobridge.types import CROP_UM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.types import FloatArray

BoolArray = npt.NDArray[np.bool_]

GAP_UM = CROP_UM
"""Crops of cells that are so far apart, along a row or a column, show nothing in common."""

# As in the paper: 190 pairs to train on, 30 to choose weights by, 53 to test.
_VALIDATION_SHARE, _TEST_SHARE = 30 / 273, 53 / 273
_FEWEST = 2
_FEWEST_TO_TELL, _FROM = 4, 12
"""From a dozen pairs on, as many as it takes to tell a gain from chance."""
_LEAST_KEPT = 1 / 3
"""Share of the pairs that must be left to learn from; below, blocks cost more than they tell."""
_N_ANCHORS = 24


def split_in_blocks(
    places_um: Sequence[FloatArray],
    *,
    audit: BoolArray | None = None,
    seed: int = 0,
) -> PairSplit:
    """Split pairs of one brain so that crops of the test part overlap with no others.

    The test part is a block of cells that lie together, chosen where it costs the fewest of
    the others, and so is the validation part. Pairs whose crops overlap with those of either
    are left out. Where that leaves less than a third of the pairs, only the test part is a
    block; where even that does, the pairs are dealt out one by one, and the split says so.

    Depth does not count: fibres run through it, so that cells above each other look alike.

    Parameters
    ----------
    places_um : sequence of ndarray, shape (N, 3)
        Where the cells of each pair lie, for each side, µm (z, y, x) in the frame of its crops.
        Two pairs are apart if they are so on every side.
    audit : ndarray of bool, shape (N,), optional
        Pairs that answer a random question. They are never trained on, nor are weights chosen
        by them: those that are not in the test block are `PairSplit.audits`.
    seed : int, default: 0
        Decides between blocks that cost the same.

    Returns
    -------
    PairSplit

    Raises
    ------
    InputError
        If there are fewer than two pairs that are no audits.
    """
    n = len(places_um[0])
    audits = np.zeros(n, dtype=bool) if audit is None else np.asarray(audit, dtype=bool)
    rng = np.random.default_rng(seed)
    found = _blocks(places_um, audits, rng) if n > FEWEST_TO_SPLIT else None
    return found or _dealt_out(n, audits, seed)


def overlapping(
    places_um: Sequence[FloatArray], others_um: Sequence[FloatArray], *, gap_um: float = GAP_UM
) -> BoolArray:
    """Return which cells' crops overlap with any of some others', on any side, (N,).

    Parameters
    ----------
    places_um, others_um : sequence of ndarray, shape (N, 3) and (M, 3)
        For each side, µm (z, y, x) in the frame of its crops.
    gap_um : float
        Side of a crop.
    """
    found = np.zeros(len(places_um[0]), dtype=bool)
    for here, there in zip(places_um, others_um, strict=True):
        for place in there:
            found |= _apart_um(here, place) < gap_um
    return found


def _apart_um(places_um: FloatArray, place_um: FloatArray) -> FloatArray:
    """Return how far cells are from one along rows or columns, whichever is more, (N,)."""
    distance: FloatArray = np.abs(places_um[:, 1:] - place_um[1:]).max(axis=1)
    return distance


def _blocks(
    places_um: Sequence[FloatArray], audit: BoolArray, rng: np.random.Generator
) -> PairSplit | None:
    n = len(audit)
    free = ~audit
    anchors = _anchors(places_um[0], rng)
    n_validation, n_test = _sizes(n)
    block = _cheapest(places_um, anchors, n_test, np.ones(n, dtype=bool), free)
    if block is None:
        return None
    test, apart = block
    rest = apart & free
    if rest.sum() < max(2 * _FEWEST, _LEAST_KEPT * n):
        return None
    second = _cheapest(places_um, anchors, n_validation, rest, rest)
    if second is not None and (second[1] & rest).sum() >= max(_FEWEST, _LEAST_KEPT * n):
        validation, train, separation = second[0], second[1] & rest, Separation.BLOCKS
    else:
        drawn = rng.permutation(np.flatnonzero(rest))[: min(n_validation, rest.sum() - _FEWEST)]
        validation = np.zeros(n, dtype=bool)
        validation[drawn] = True
        train, separation = rest & ~validation, Separation.TEST_BLOCK
    used = train | validation | test
    return PairSplit(
        np.flatnonzero(train),
        np.flatnonzero(validation),
        np.flatnonzero(test),
        separation,
        np.flatnonzero(audit & ~test),
        np.flatnonzero(~used & ~audit),
    )


def _sizes(n: int) -> tuple[int, int]:
    """Return how many of ``n`` pairs are for validation and for the test."""
    fewest = _FEWEST if n < _FROM else _FEWEST_TO_TELL
    return max(fewest, round(n * _VALIDATION_SHARE)), max(fewest, round(n * _TEST_SHARE))


def _anchors(places_um: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return where blocks are tried: the corners and sides of the field, and some cells."""
    low, high = places_um.min(axis=0), places_um.max(axis=0)
    middle = (low + high) / 2
    rows = [np.array([low[i], middle[i], high[i]]) for i in (1, 2)]
    edges = [(middle[0], y, x) for y in rows[0] for x in rows[1]]
    cells = places_um[rng.permutation(len(places_um))[:_N_ANCHORS]]
    return np.concatenate([np.array(edges), cells])


def _cheapest(
    places_um: Sequence[FloatArray],
    anchors: FloatArray,
    size: int,
    among: BoolArray,
    wanted: BoolArray,
) -> tuple[BoolArray, BoolArray] | None:
    """Return the block, and what is apart from it, that leaves most of the wanted pairs."""
    best: tuple[BoolArray, BoolArray] | None = None
    rows = np.flatnonzero(among)
    if len(rows) <= size:
        return None
    for anchor in anchors:
        near = np.argsort(_apart_um(places_um[0][rows], anchor), kind="stable")[:size]
        block = np.zeros(len(among), dtype=bool)
        block[rows[near]] = True
        apart = ~overlapping(places_um, [side[block] for side in places_um])
        if best is None or (apart & wanted).sum() > (best[1] & wanted).sum():
            best = block, apart
    return best


def _dealt_out(n: int, audit: BoolArray, seed: int) -> PairSplit:
    """Deal the pairs out one by one; audits are test pairs, besides others where they are few."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(~audit))
    if len(rows) < FEWEST_TO_SPLIT:
        raise InputError(
            f"training needs at least {FEWEST_TO_SPLIT} pairs that answer no random check, not "
            f"{len(rows)}"
        )
    n_validation, n_test = _sizes(n)
    n_test = min(max(0, n_test - int(audit.sum())), len(rows) - 1)
    n_validation = min(n_validation, len(rows) - n_test - 1)
    test, validation, train = np.split(rows, [n_test, n_test + n_validation])
    return PairSplit(
        np.sort(train),
        np.sort(validation),
        np.sort(np.concatenate([test, np.flatnonzero(audit)])),
        Separation.NONE,
    )
