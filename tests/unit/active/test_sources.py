"""The distance between a fingerprint and other data."""

import numpy as np
import pytest

from napari_neurobridge.active.domain import mmd2
from napari_neurobridge.active.sources import distance_to_source
from napari_neurobridge.errors import InputError
from napari_neurobridge.models.fingerprint import FeatureSample, unit_rows


def features(seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal([2.0, shift, 0.0], 0.5, (40, 3))


def sample(seed: int) -> FeatureSample:
    return FeatureSample(unit_rows(features(seed)), 0.3)


def test_it_is_the_mean_over_the_sides_each_with_its_own_kernel():
    fingerprint = {"two_photon": sample(0), "fmost": FeatureSample(sample(1).features, 0.7)}
    other = {"two_photon": 5 * features(2), "fmost": features(3, 1.0)}
    found = distance_to_source(fingerprint, other, permutations=99)
    expected = {}
    for side, rows in other.items():
        source = fingerprint[side]
        expected[side] = mmd2(source.features, unit_rows(rows), bandwidth=source.bandwidth)
    assert {side: test.mmd2 for side, test in found.sides.items()} == pytest.approx(expected)
    assert found.mmd2 == pytest.approx(np.mean(list(expected.values())))
    assert found.sides["fmost"].p_value == found.sides["fmost"].floor == 0.01
    assert found.sides["two_photon"].p_value > 0.01
    assert found.sides == distance_to_source(fingerprint, other, permutations=99).sides


def test_one_side_is_enough_and_none_is_refused():
    fingerprint = {"two_photon": sample(0), "fmost": sample(1)}
    assert list(distance_to_source(fingerprint, {"fmost": features(3)}).sides) == ["fmost"]
    with pytest.raises(InputError, match="A fingerprint of 'two_photon' and 'fmost' cannot be"):
        distance_to_source(fingerprint, {"images": features(0)})
    with pytest.raises(InputError, match="two sets of at least two rows of equal length"):
        distance_to_source(fingerprint, {"fmost": features(0)[:, :2]})
