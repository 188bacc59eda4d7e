"""A registration with fewer matches, or another threshold, is fitted and decided again."""

from __future__ import annotations

import numpy as np
import pytest

from beacons import BeaconMatcher, plane_of, scattered, turning
from napari_neurobridge.errors import InputError
from napari_neurobridge.registration.image_matches import lifted
from napari_neurobridge.registration.image_registration import PlaneRegistration, register_planes
from napari_neurobridge.registration.plane_refit import refit_planes

SIZE = 220
PLACES = scattered(60, SIZE)
SOURCE = plane_of(PLACES, (SIZE, SIZE))
TRUE = turning(15.0, SIZE)
TARGET = plane_of(TRUE(PLACES) + 40, (300, 300))


@pytest.fixture(scope="module")
def found() -> PlaneRegistration:
    registered = register_planes(SOURCE, TARGET, BeaconMatcher(wrong=0.2), angles=(0.0,))
    assert registered.decision.accepted
    return registered


def everything(found: PlaneRegistration) -> np.ndarray:
    return np.ones(len(found.matches), dtype=bool)


def test_a_removed_match_has_no_part_and_the_map_stays(found) -> None:
    kept = everything(found)
    kept[np.flatnonzero(found.agreeing)[0]] = False
    again = refit_planes(found, SOURCE, TARGET, kept=kept, threshold=0.5)
    assert len(again.matches) == len(found.matches) - 1
    np.testing.assert_array_equal(again.matches.source_um, found.matches.source_um[kept])
    assert again.decision.accepted
    mapped = again.transform.map_points(lifted(PLACES))[:, 1:]
    assert np.linalg.norm(mapped - TRUE(PLACES) - 40, axis=1).max() < 2
    assert again.evidence.n_agreeing == again.agreeing.sum() < found.agreeing.sum()


def test_nothing_changed_gives_the_same_agreement(found) -> None:
    again = refit_planes(found, SOURCE, TARGET, kept=everything(found), threshold=0.5)
    np.testing.assert_array_equal(again.agreeing, found.agreeing)
    assert again.evidence.margin == pytest.approx(found.evidence.margin)


def test_too_high_a_threshold_is_refused_and_says_why(found) -> None:
    again = refit_planes(found, SOURCE, TARGET, kept=everything(found), threshold=0.95)
    assert again.transform is None
    assert not again.decision.accepted
    assert "matches are verified" in again.decision.reason


def test_the_margin_falls_with_the_matches_and_never_rises(found) -> None:
    rows = np.flatnonzero(found.agreeing)
    kept = everything(found)
    kept[rows[: len(rows) // 2]] = False
    fewer = refit_planes(found, SOURCE, TARGET, kept=kept, threshold=0.5)
    assert fewer.evidence.margin < 0.7 * found.evidence.margin
    more = refit_planes(fewer, SOURCE, TARGET, kept=everything(fewer), threshold=0.0)
    assert more.evidence.margin <= fewer.evidence.margin * (1 + 1e-9)


def test_marks_that_do_not_fit_and_wrong_thresholds_are_refused(found) -> None:
    with pytest.raises(InputError, match="as many marks"):
        refit_planes(found, SOURCE, TARGET, kept=np.ones(2, bool), threshold=0.5)
    with pytest.raises(InputError, match="from 0 to 1"):
        refit_planes(found, SOURCE, TARGET, kept=everything(found), threshold=1.5)
