"""Two planes are registered from their images, or refused with the reason."""

from __future__ import annotations

import json

import numpy as np
import pytest

from beacons import BeaconMatcher, plane_of, scattered, turning
from napari_neurobridge.errors import Cancelled, InputError
from napari_neurobridge.registration.image_matches import ImageMatches, lifted
from napari_neurobridge.registration.image_registration import (
    ALL_ANGLES,
    angles_around,
    register_planes,
)
from napari_neurobridge.registration.keypoints import PlanarImage
from napari_neurobridge.registration.quality import AcceptanceCriteria
from napari_neurobridge.spaces.transform_numbers import from_json

SIZE = 220
PLACES = scattered(60, SIZE)
SOURCE = plane_of(PLACES, (SIZE, SIZE))
SHIFT = np.array([30.0, 50.0])
THREE = (0.0, 120.0, 240.0)


def bent(angle_deg: float):
    """Return a map that turns, shrinks, shifts and bends by up to 3 µm."""
    turn = turning(angle_deg, SIZE, 0.95)
    return lambda points: turn(points) + SHIFT + 3 * np.sin(points[:, ::-1] / 50)


def target_of(true, places=PLACES) -> PlanarImage:
    return plane_of(true(places), (300, 330))


def error_of(found, true) -> float:
    mapped = found.fitted.transform.map_points(lifted(PLACES))[:, 1:]
    return float(np.median(np.linalg.norm(mapped - true(PLACES), axis=1)))


@pytest.mark.parametrize("angle", [20.0, 100.0, 215.0])
def test_the_angle_and_the_map_are_found_among_wrong_matches(angle) -> None:
    true = bent(angle)
    found = register_planes(SOURCE, target_of(true), BeaconMatcher(wrong=0.4), angles=THREE)
    assert found.decision.accepted, found.decision.reason
    assert error_of(found, true) < 1.0
    evidence = found.evidence
    off = (evidence.angle_deg - angle + 180) % 360 - 180
    assert abs(off) < 2
    assert evidence.scale == pytest.approx(0.95, abs=0.03)
    assert evidence.n_agreeing == found.agreeing.sum() <= evidence.n_verified
    assert evidence.n_initial == len(found.matches)
    # Wrong matches that were verified do not agree.
    off = np.linalg.norm(
        true(found.matches.source_um[found.agreeing]) - found.matches.target_um[found.agreeing],
        axis=1,
    )
    assert np.median(off) < 1
    assert off.max() < 10


def test_the_record_holds_the_decision_the_evidence_and_the_map() -> None:
    true = bent(10)
    found = register_planes(
        SOURCE, target_of(true), BeaconMatcher(), angles=(0.0,), names=("two_photon", "fmost")
    )
    record = json.loads(found.to_json())
    assert record["decision"]["accepted"] is True
    assert record["evidence"]["n_agreeing"] == found.agreeing.sum()
    transform = from_json(json.dumps(record["transform"]))
    assert (transform.source, transform.target) == ("two_photon", "fmost")
    np.testing.assert_allclose(
        transform.map_points(lifted(PLACES)), found.transform.map_points(lifted(PLACES))
    )
    # The angle, its mirror image, and half a turn as another control.
    assert [(p["angle_deg"], p["mirrored"]) for p in record["poses"]] == [
        (0.0, False),
        (0.0, True),
        (180.0, False),
    ]


def test_planes_of_different_pixels_are_registered_in_um() -> None:
    true = bent(15)
    source = plane_of(PLACES, (2 * SIZE, 2 * SIZE), pixel_um=0.5)
    found = register_planes(source, target_of(true), BeaconMatcher(), angles=(0.0,))
    assert found.decision.accepted, found.decision.reason
    assert error_of(found, true) < 1.0


def test_a_mirrored_source_is_recognised() -> None:
    true = bent(-110)
    mirrored = plane_of(PLACES * [1, -1] + [0, SIZE - 1], (SIZE, SIZE))
    found = register_planes(mirrored, target_of(true), BeaconMatcher(), angles=THREE)
    assert not found.decision.accepted
    assert "seems mirrored" in found.decision.reason
    assert found.transform is None
    assert json.loads(found.to_json())["transform"] is None


def test_half_a_turn_against_the_stated_angle_is_recognised() -> None:
    found = register_planes(SOURCE, target_of(bent(185)), BeaconMatcher(), angles=(0.0,))
    assert not found.decision.accepted
    assert "seems turned by 180°" in found.decision.reason


def test_matches_of_unrelated_planes_are_refused() -> None:
    everything_wrong = BeaconMatcher(wrong=1.0, verified_wrong=1.0)
    found = register_planes(SOURCE, target_of(bent(0)), everything_wrong, angles=THREE)
    assert not found.decision.accepted
    assert "least_margin" in found.decision.failed


def test_matches_in_one_corner_are_refused() -> None:
    criteria = AcceptanceCriteria(least_matches=5, least_agreement=0.0)
    corner = PLACES[(PLACES < 90).all(axis=1)]
    target = plane_of(bent(0)(corner), (300, 330))
    source = plane_of(corner, (SIZE, SIZE))
    found = register_planes(source, target, BeaconMatcher(), angles=(0.0,), criteria=criteria)
    assert found.evidence.n_agreeing >= 5
    wide = AcceptanceCriteria(**{**criteria.model_dump(), "least_coverage": 0.5})
    found = register_planes(source, target, BeaconMatcher(), angles=(0.0,), criteria=wide)
    assert "least_coverage" in found.decision.failed


def test_matches_on_a_line_are_refused() -> None:
    line = np.column_stack([np.full(16, 110.0), np.linspace(15, 205, 16)])
    criteria = AcceptanceCriteria(least_matches=10)
    found = register_planes(
        plane_of(line, (SIZE, SIZE)),
        plane_of(turning(5, SIZE)(line) + SHIFT, (300, 330)),
        BeaconMatcher(),
        angles=(0.0,),
        criteria=criteria,
    )
    assert not found.decision.accepted
    assert "least_spread" in found.decision.failed


class NearestMatcher:
    """Matches each disc with the nearest one, as a descriptor that sees only a lattice would."""

    def match(self, source, target, *, report=None) -> ImageMatches:
        from beacons import discs_of

        here = np.array(list(discs_of(source).values())).reshape(-1, 2)
        there = np.array(list(discs_of(target).values())).reshape(-1, 2)
        nearest = np.linalg.norm(here[:, None] - there, axis=2).argmin(axis=1)
        ones = np.full(len(here), 0.9)
        return ImageMatches(here, there[nearest], ones, ones, 0.5, 0.9, len(here), len(there))


def test_a_lattice_is_refused_since_another_pose_fits_as_well() -> None:
    rows, columns = np.mgrid[20:210:20, 20:210:20]
    lattice = np.column_stack([rows.ravel(), columns.ravel()]).astype(float)
    found = register_planes(
        plane_of(lattice, (SIZE, SIZE)),
        plane_of(lattice + 3.0, (SIZE, SIZE)),
        NearestMatcher(),
        angles=(0.0, 90.0),
    )
    assert not found.decision.accepted
    assert found.evidence.n_agreeing > 80
    assert found.decision.failed == ("least_margin",)


class FixedMatcher:
    """Says the same of any two planes."""

    def __init__(self, count: int, n_keypoints: int = 50) -> None:
        places = PLACES[:count]
        ones = np.ones(count)
        self.found = ImageMatches(
            places, places + 5.0, ones, ones, 0.5, 1.0, n_keypoints, n_keypoints
        )

    def match(self, source, target, *, report=None) -> ImageMatches:
        return self.found


@pytest.mark.parametrize(
    ("count", "keypoints", "words"),
    [(0, 0, "shows nothing"), (0, 50, "Only 0 of 0 matches"), (3, 50, "Only 0 of 3 matches")],
)
def test_without_keypoints_or_with_three_matches_it_is_refused(count, keypoints, words) -> None:
    found = register_planes(
        SOURCE, target_of(bent(0)), FixedMatcher(count, keypoints), angles=(0.0,)
    )
    assert not found.decision.accepted
    assert words in found.decision.reason
    assert found.fitted is None
    assert not found.agreeing.any()
    assert json.loads(found.to_json())["transform"] is None


def test_the_same_image_twice_is_no_registration() -> None:
    copy = PlanarImage(SOURCE.values.copy(), SOURCE.pixel_um)
    with pytest.raises(InputError, match="same image"):
        register_planes(SOURCE, copy, BeaconMatcher())


def test_pixel_sizes_that_differ_100_fold_are_refused() -> None:
    with pytest.raises(InputError, match="differ 100-fold"):
        register_planes(SOURCE, PlanarImage(SOURCE.values, 0.01), BeaconMatcher())


@pytest.mark.parametrize("angles", [(), (np.nan,)])
def test_an_angle_is_needed(angles) -> None:
    with pytest.raises(InputError, match="angle"):
        register_planes(SOURCE, target_of(bent(0)), BeaconMatcher(), angles=angles)


def test_progress_counts_up_to_its_total() -> None:
    told: list[tuple[int, int]] = []
    register_planes(
        SOURCE,
        target_of(bent(0)),
        BeaconMatcher(),
        angles=(0.0, 60.0),
        report=lambda done, total, _: told.append((done, total)),
    )
    done = [step for step, _ in told]
    assert done == sorted(done)
    assert len({total for _, total in told}) == 1
    assert told[-1][0] == told[-1][1]


def test_it_can_be_cancelled_between_poses() -> None:
    matcher = BeaconMatcher()

    def report(done: int, total: int, message: str) -> None:
        if done == 1:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        register_planes(SOURCE, target_of(bent(0)), matcher, report=report)
    assert len(matcher.calls) == 1


def test_it_is_matched_again_on_the_part_of_the_target_that_the_source_covers() -> None:
    matcher = BeaconMatcher(wrong=0.2)
    target = plane_of(bent(0)(PLACES), (500, 500))
    found = register_planes(SOURCE, target, matcher, angles=(0.0,))
    last = matcher.calls[-1]
    assert last[:2] == last[2:]
    assert last[2] < 400
    assert found.decision.accepted


@pytest.mark.parametrize(
    ("angle", "within", "expected"),
    [
        (0.0, 0.0, (0.0,)),
        (10.0, 30.0, (10.0,)),
        (10.0, 45.0, (310.0, 10.0, 70.0)),
        (-90.0, 90.0, (210.0, 270.0, 330.0)),
    ],
)
def test_angles_about_a_known_one(angle, within, expected) -> None:
    assert angles_around(angle, within) == expected


def test_any_angle_takes_no_more_tries_than_all_angles() -> None:
    around = angles_around(0.0, 180.0)
    assert sorted(around) == sorted(ALL_ANGLES)


@pytest.mark.parametrize(("angle", "within"), [(np.nan, 10), (0, -1), (0, 181), (0, np.nan)])
def test_an_angle_that_is_none_is_refused(angle, within) -> None:
    with pytest.raises(InputError, match="degrees"):
        angles_around(angle, within)
