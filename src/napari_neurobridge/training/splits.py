"""Training, validation and test parts of a set of pairs, and what pairs must fulfil."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_neurobridge.errors import InputError

if TYPE_CHECKING:
    from napari_neurobridge.io.pairs import PairSet

IntArray: TypeAlias = npt.NDArray[np.int64]

FEWEST_TO_SPLIT = 2
"""Pairs: one to train on and one to test."""

# Pairs that each part gets, if there are enough: one pair alone has no wrong partner.
_FEWEST_PER_PART = (2, 2, 1)


class Separation(StrEnum):
    """What keeps the parts of a split apart.

    `SCENES`: no scene is in two parts. `BLOCKS`: within one scene no crops of two parts overlap.
    `TEST_BLOCK`: no crop of the test part overlaps another part's, but those of the others may
    overlap each other's. `NONE`: crops of any two parts may overlap.
    """

    SCENES = "scenes"
    BLOCKS = "blocks"
    TEST_BLOCK = "test block"
    NONE = "none"

    @property
    def honest(self) -> bool:
        """Whether nothing that the test part shows is in another part."""
        return self is not Separation.NONE


def _no_rows() -> IntArray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class PairSplit:
    """Indices of the pairs of each part, ascending.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Disjoint; a part is empty when there are too few pairs for three.
    separation : Separation
        What keeps the test part apart; without anything its figures flatter.
    audits : ndarray of int64
        Audit pairs outside of the test part: in no other part either.
    left_out : ndarray of int64
        Pairs in no part, since their crops overlap with those of two.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    separation: Separation
    audits: IntArray = field(default_factory=_no_rows)
    left_out: IntArray = field(default_factory=_no_rows)

    @property
    def whole_scenes(self) -> bool:
        """Whether the test part shows nothing that another part shows."""
        return self.separation.honest


def split_pairs(
    scene: npt.NDArray[np.integer],
    *,
    train: int = 190,
    validation: int = 30,
    test: int = 53,
    seed: int = 0,
) -> PairSplit:
    """Split pairs in the paper's proportions (190, 30 and 53), never across a scene.

    Scenes go, largest first, to the part that lacks most of its share, so that the
    proportions are kept as well as whole scenes allow. With fewer than three scenes the
    pairs themselves are dealt out, and the split says so.

    Parameters
    ----------
    scene : ndarray of int, shape (N,)
        Scene (or brain) of each pair.
    train, validation, test : int
        Shares. With more pairs all parts grow alike, with fewer they shrink.
    seed : int, default: 0
        Seed of the order in which scenes, or pairs, are dealt out.

    Returns
    -------
    PairSplit
        Of two pairs, one each for training and test; three or more fill all parts whose
        share is not zero.

    Raises
    ------
    InputError
        If there are fewer than two pairs, or a share is negative or no pair to train on.
    """
    shares = np.array([train, validation, test], dtype=float)
    if len(scene) < FEWEST_TO_SPLIT:
        raise InputError(
            f"training needs at least {FEWEST_TO_SPLIT} pairs and there "
            f"{'is one' if len(scene) == 1 else 'are none'}; accept more pairs"
        )
    if shares.min() < 0 or train == 0:
        raise InputError("a split needs a positive share to train on, and no negative share")
    rng = np.random.default_rng(seed)
    names, counts = np.unique(scene, return_counts=True)
    whole = len(names) >= np.count_nonzero(shares)
    if whole:
        order = rng.permutation(len(names))
        order = order[np.argsort(-counts[order], kind="stable")]
        part_of = np.empty(len(names), dtype=np.int64)
        part_of[order] = _deal(counts[order], shares, np.ones(3, dtype=np.int64))
        part = part_of[np.searchsorted(names, scene)]
    else:
        if len(scene) == FEWEST_TO_SPLIT:
            shares[1] = 0
        fewest = np.array(_FEWEST_PER_PART)
        if len(scene) < fewest.sum():
            fewest = np.ones(3, dtype=np.int64)
        part = np.empty(len(scene), dtype=np.int64)
        ones = np.ones(len(scene), dtype=np.int64)
        part[rng.permutation(len(scene))] = _deal(ones, shares, fewest)
    rows = [np.flatnonzero(part == index) for index in range(3)]
    separation = Separation.SCENES if whole else Separation.NONE
    return PairSplit(rows[0], rows[1], rows[2], separation)


def check_pairs(pairs: PairSet, *, crop_pixels: int | None = None) -> None:
    """Refuse pairs that no model can learn from.

    Parameters
    ----------
    pairs : PairSet
        Crops of both sides.
    crop_pixels : int, optional
        Side of the crops that the model wants.

    Raises
    ------
    InputError
        If there are fewer than two pairs, crops of another size, crops that are not
        finite, or the same pair twice.
    """
    if len(pairs) < FEWEST_TO_SPLIT:
        raise InputError(
            f"at least {FEWEST_TO_SPLIT} pairs are needed, not {len(pairs)}; accept more"
        )
    for side, crops in (("two-photon", pairs.two_photon), ("fMOST", pairs.fmost)):
        if crop_pixels is not None and crops.shape[1:] != (crop_pixels, crop_pixels):
            raise InputError(
                f"the model wants crops of {crop_pixels} x {crop_pixels} pixels and the {side} "
                f"ones have {' x '.join(map(str, crops.shape[1:]))}; extract them at that size"
            )
        broken = np.flatnonzero(~np.isfinite(crops).all(axis=(1, 2)))
        if len(broken):
            raise InputError(
                f"the {side} crop of pair {broken[0]} holds values that are not finite "
                f"({len(broken)} such in all); leave those pairs out"
            )
    twice = _repeated(_keys(pairs))
    if twice is not None:
        raise InputError(f"pairs {twice[0]} and {twice[1]} are the same pair; leave out one")


def check_split(train: PairSet, other: PairSet, *, what: str = "validation") -> None:
    """Refuse two parts that share a pair, by the content of its crops.

    Raises
    ------
    InputError
        If a pair is in both.
    """
    seen = {key: row for row, key in enumerate(_keys(train))}
    for row, key in enumerate(_keys(other)):
        if key in seen:
            raise InputError(
                f"pair {row} of the {what} part is pair {seen[key]} of the training part; "
                "a pair may be in one part only"
            )


def _deal(sizes: IntArray, shares: npt.NDArray[np.float64], fewest: IntArray) -> IntArray:
    """Give each size, in order, to the part that is furthest below its share; (N,) parts.

    Every part with a share gets at least ``fewest`` of them, for which the last are kept
    back.
    """
    goals = shares / shares.sum() * sizes.sum()
    held = np.zeros(len(shares))
    wanted = np.where(shares > 0, fewest, 0)
    parts = np.empty(len(sizes), dtype=np.int64)
    for index, size in enumerate(sizes):
        lack = goals - held
        if wanted.clip(min=0).sum() >= len(sizes) - index:
            lack = np.where(wanted > 0, lack, -np.inf)
        parts[index] = int(np.argmax(lack))
        held[parts[index]] += size
        wanted[parts[index]] -= 1
    return parts


def _keys(pairs: PairSet) -> list[bytes]:
    """Digest both crops of each pair."""
    return [
        hashlib.sha256(
            np.ascontiguousarray(a).tobytes() + np.ascontiguousarray(b).tobytes()
        ).digest()
        for a, b in zip(pairs.two_photon, pairs.fmost, strict=True)
    ]


def _repeated(keys: list[bytes]) -> tuple[int, int] | None:
    seen: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if key in seen:
            return seen[key], row
        seen[key] = row
    return None
