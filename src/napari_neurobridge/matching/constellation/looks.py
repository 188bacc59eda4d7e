"""What somata look like, as evidence for maps that their pattern suggests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_neurobridge.registration.pair_looks import bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_neurobridge.matching.constellation.grown_maps import GrownMap
    from napari_neurobridge.registration.pair_looks import Looks

CLEAR_MARGIN = 30.0
"""By so much must evidence that looks are part of exceed what chance gives.

Of 80 pairs of images, chance had up to 26, and right maps had 60 to 400.
"""

# So many maps of the most evidence are judged, if they have so many pairs.
_JUDGED, _FEWEST_PAIRS = 40, 8


def weigh_by_looks(
    maps: Sequence[GrownMap], looks: Looks, *, count: int = _JUDGED
) -> list[GrownMap]:
    """Add to the evidence of maps what their pairs look like; the most evidence first.

    Parameters
    ----------
    maps : sequence of GrownMap
        The most evidence first.
    looks : callable
        See `napari_neurobridge.registration.pair_looks.Looks`.
    count : int
        So many of the first are judged. The others, and those of hardly any pairs, keep the
        evidence that they have, which is what chance gives.
    """
    weighed = [
        replace(one, evidence=one.evidence + float(bounded(looks(one.pairs)).sum()))
        if number < count and len(one.pairs) >= _FEWEST_PAIRS
        else one
        for number, one in enumerate(maps)
    ]
    return sorted(weighed, key=lambda one: -one.evidence)
