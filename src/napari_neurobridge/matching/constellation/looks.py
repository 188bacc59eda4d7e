"""What somata look like, as evidence for maps that their pattern suggests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_neurobridge.matching.constellation.grown_maps import GrownMap

Looks: TypeAlias = Callable[[npt.NDArray[np.intp]], npt.NDArray[np.float64]]
"""Takes rows of queries and gallery (K, 2) that one map brings together, and returns how much
likelier each two are one soma than two by what they look like: log likelihood ratios, (K,)."""

CLEAR_MARGIN = 30.0
"""By so much must evidence that looks are part of exceed what chance gives.

Of 80 pairs of images, chance had up to 26, and right maps had 60 to 400.
"""

# So many maps of the most evidence are judged, if they have so many pairs.
_JUDGED, _FEWEST_PAIRS = 40, 8
# A pair counts for at most this either way: few crops of which the judge is sure outweigh no
# pattern.
_MOST = 4.0


def weigh_by_looks(
    maps: Sequence[GrownMap], looks: Looks, *, count: int = _JUDGED
) -> list[GrownMap]:
    """Add to the evidence of maps what their pairs look like; the most evidence first.

    Parameters
    ----------
    maps : sequence of GrownMap
        The most evidence first.
    looks : callable
        See `Looks`.
    count : int
        So many of the first are judged. The others, and those of hardly any pairs, keep the
        evidence that they have, which is what chance gives.
    """
    weighed = [
        replace(one, evidence=one.evidence + float(looks(one.pairs).clip(-_MOST, _MOST).sum()))
        if number < count and len(one.pairs) >= _FEWEST_PAIRS
        else one
        for number, one in enumerate(maps)
    ]
    return sorted(weighed, key=lambda one: -one.evidence)
