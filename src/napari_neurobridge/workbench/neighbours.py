"""The pairs near a query, numbered alike on both sides, to compare the surroundings by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_neurobridge.matching.matched_pairs import MatchedPair
    from napari_neurobridge.types import Soma, Vec3

N_NEIGHBOURS = 6
"""Numbered neighbours of a query, accepted and claimed ones together."""

_NEIGHBOURHOOD_UM = 150.0


@dataclass(frozen=True)
class Neighbour:
    """A pair near the query, to compare the surroundings by.

    Attributes
    ----------
    number : int
        From 1, the same on both sides.
    centers_um : dict of str to Vec3
        Its place in each of the two datasets.
    accepted : bool
        By a person; the others are only claimed.
    """

    number: int
    uids: tuple[str, str]
    centers_um: dict[str, Vec3]
    accepted: bool


def pairs_near(
    pairs: Iterable[MatchedPair],
    somata: Mapping[str, Mapping[str, Soma]],
    dataset: str,
    center_um: Vec3,
    uid: str | None,
) -> list[Neighbour]:
    """Return the pairs nearest to a place, accepted ones before claimed ones.

    Parameters
    ----------
    pairs : iterable of MatchedPair
    somata : mapping of dataset to mapping of uid to Soma
        The living ones of both datasets, the in-vivo one first.
    dataset, center_um
        Where, µm (z, y, x).
    uid : str, optional
        The soma there, which is no neighbour of itself.
    """
    side = list(somata).index(dataset)
    near: list[tuple[bool, float, tuple[str, str], bool]] = []
    for pair in pairs:
        uids = (pair.in_vivo_uid, pair.ex_vivo_uid)
        if uid in uids or any(u not in s for u, s in zip(uids, somata.values(), strict=True)):
            continue
        here = somata[dataset][uids[side]].center_um
        distance = math.dist(here, center_um)
        if distance <= _NEIGHBOURHOOD_UM:
            near.append((not pair.accepted, distance, uids, pair.accepted))
    return [
        Neighbour(
            number,
            uids,
            {
                name: known[u].center_um
                for (name, known), u in zip(somata.items(), uids, strict=True)
            },
            accepted,
        )
        for number, (_, _, uids, accepted) in enumerate(sorted(near)[:N_NEIGHBOURS], start=1)
    ]
