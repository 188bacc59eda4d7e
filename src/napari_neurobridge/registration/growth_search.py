"""Which of many proposed maps of two planes is right, by what grows from them over both planes.

A search of the pattern takes a map that is clear by itself. Where tissue is stretched, the right
one may be found in a small part only, among wrong ones of as much evidence. Grown over both planes,
by place and looks, the right one gains most of the somata and the wrong ones gain some by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_neurobridge.registration.growth import growths, neighbourhoods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.registration.growth import Growth
    from napari_neurobridge.registration.pair_looks import Looks

Float64Array = npt.NDArray[np.float64]
RowArray = npt.NDArray[np.intp]

# Of each proposal, so many neighbourhoods are grown; of all growths, so many are judged by looks.
_STARTS, _JUDGED = 10, 12
# Fewer pairs say no map.
_FEWEST_PAIRS = 6
# Two growths are one where they share this part of the smaller one's pairs.
_SHARED = 0.25
_LEAST_EVIDENCE, _TIMES_CHANCE = 100.0, 1.6


@dataclass(frozen=True, eq=False)
class ClearestGrowth:
    """The best of all growths, and what speaks against it.

    Attributes
    ----------
    best : Growth or None
        Of those that do not mirror; None where nothing grows.
    other_evidence : float
        Of the best that contradicts it, mirrored or not; at least 1.
    """

    best: Growth | None
    other_evidence: float

    @property
    def known(self) -> bool:
        """Whether the best has far more evidence than chance gives in these very planes."""
        if self.best is None:
            return False
        clear = self.best.evidence > _TIMES_CHANCE * self.other_evidence
        return clear and self.best.evidence > _LEAST_EVIDENCE


def search_growths(
    source_um: Float64Array,
    target_um: Float64Array,
    proposals: Sequence[RowArray],
    density: float,
    looks: Looks | None = None,
) -> ClearestGrowth:
    """Grow what is proposed, and say which growth stands out.

    Proposals that mirror the plane are grown as such, and count against the others: tissue is not
    turned over between two slabs of one orientation.

    Parameters
    ----------
    source_um, target_um : ndarray, shape (N, 2) and (M, 2)
        Somata.
    proposals : sequence of ndarray of int, shape (K, 2)
        Rows of source and target that some map brings together, most of them wrong.
    density : float
        Of the target's somata, per µm².
    looks : callable, optional
        See `napari_neurobridge.registration.pair_looks.Looks`.
    """
    proposals = [pairs for pairs in proposals if len(pairs) >= _FEWEST_PAIRS]
    hands = [_mirrors(source_um, target_um, pairs) for pairs in proposals]
    upright, mirrored = (
        growths(
            source_um * (1.0, -1.0 if hand else 1.0),
            target_um,
            list(
                chain.from_iterable(
                    neighbourhoods(source_um, pairs, most=_STARTS)
                    for pairs, mirrors in zip(proposals, hands, strict=True)
                    if mirrors == hand
                )
            ),
            density,
            looks,
            judged=_JUDGED,
        )
        for hand in (False, True)
    )
    best = upright[0] if upright else None
    others = [one.evidence for one in mirrored]
    others += [one.evidence for one in upright if best is not None and _contradict(one, best)]
    return ClearestGrowth(best, max([1.0, *others]))


def _mirrors(source_um: Float64Array, target_um: Float64Array, pairs: RowArray) -> bool:
    """Return whether the affine map that pairs say mirrors the plane."""
    here, there = source_um[pairs[:, 0]], target_um[pairs[:, 1]]
    linear = np.linalg.lstsq(here - here.mean(axis=0), there - there.mean(axis=0))[0]
    return bool(np.linalg.det(linear) < 0)


def _contradict(first: Growth, second: Growth) -> bool:
    """Return whether two growths bring different somata together."""
    shared = {tuple(pair) for pair in first.pairs.tolist()}
    shared &= {tuple(pair) for pair in second.pairs.tolist()}
    return len(shared) < _SHARED * min(len(first.pairs), len(second.pairs))
