"""Which model to start from: the one whose training data is nearest to new data.

NeuroADDA, section 4.1 and algorithm 1, line 1, by fingerprints in place of the sources' images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.active.domain import PERMUTATIONS, mmd2_test
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import unit_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_neurobridge.active.domain import TwoSampleTest
    from napari_neurobridge.models.fingerprint import FeatureSample
    from napari_neurobridge.types import FloatArray


@dataclass(frozen=True, slots=True)
class SourceDistance:
    """How far a model's training data is from other data.

    Attributes
    ----------
    sides : mapping of str to TwoSampleTest
        Of each side that both have, such as ``two_photon`` and ``fmost``.
    """

    sides: Mapping[str, TwoSampleTest]

    @property
    def mmd2(self) -> float:
        """MMD², mean over the sides."""
        return float(np.mean([test.mmd2 for test in self.sides.values()]))


def distance_to_source(
    fingerprint: Mapping[str, FeatureSample],
    features: Mapping[str, FloatArray],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> SourceDistance:
    """Return how far a model's training data is from other data, by its own features.

    Parameters
    ----------
    fingerprint : mapping of str to FeatureSample
        Of the model; see `napari_neurobridge.models.fingerprint.read_fingerprint`.
    features : mapping of str to ndarray, shape (N, F)
        What the same model's trunk makes of the other data.
    permutations : int
        Of the test of each side.
    seed : int
        Draws them.

    Raises
    ------
    InputError
        If they have no side in common, or one has fewer than two items, or features of another
        length.
    """
    common = [side for side in fingerprint if side in features]
    if not common:
        raise InputError(
            f"A fingerprint of {_names(fingerprint)} cannot be compared with features of "
            f"{_names(features)}."
        )
    tests = {}
    for side in common:
        source = fingerprint[side]
        tests[side] = mmd2_test(
            source.features,
            unit_rows(features[side]),
            bandwidth=source.bandwidth,
            rng=np.random.default_rng(seed),
            permutations=permutations,
        )
    return SourceDistance(tests)


def _names(sides: Mapping[str, object]) -> str:
    return " and ".join(f"'{side}'" for side in sides) or "nothing"
