"""Two fields at any angle about the optical axis."""

import numpy as np
import pytest

from napari_neurobridge.benchmarks.start_fields import (
    StartField,
    StartFieldParams,
    draw_start_field,
)
from napari_neurobridge.errors import Cancelled
from napari_neurobridge.matching.constellation.any_turn import TurnParams, search_turns
from napari_neurobridge.matching.constellation.local_poses import PoseParams
from napari_neurobridge.matching.constellation.matcher import match_constellation

EASY = StartFieldParams(missing=0.15, noise_um=1.0, bend_um=5.0, scale=(1.0, 1.0), turn=False)
QUICK = TurnParams(poses=PoseParams(anchors=40), unlike_axes=False)


def turned(points: np.ndarray, deg: float, *, scale: float = 1.0, mirror: bool = False):
    cos, sin = np.cos(np.deg2rad(deg)), np.sin(np.deg2rad(deg))
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return points * (1, scale, -scale if mirror else scale) @ turn.T


def share_right(found, field: StartField) -> float:
    return float((field.partner[found.seeds[:, 0]] == found.seeds[:, 1]).mean())


@pytest.fixture(scope="module")
def plane() -> StartField:
    return draw_start_field("plane in plane", EASY, 1)


@pytest.mark.parametrize("deg", [0.0, 77.0, 180.0, -130.0])
def test_planes_start_at_any_angle(plane: StartField, deg: float):
    found = search_turns(
        turned(plane.queries_um, deg, scale=1.3), plane.gallery_um, orientation=None, params=QUICK
    )
    assert found.known
    assert share_right(found, plane) > 0.85
    back = turned(np.eye(3), deg)  # The transpose of a turn undoes it.
    assert np.abs(found.linear[1:, 1:] * 1.3 - back[1:, 1:]).max() < 0.15


def test_either_side_may_be_the_smaller_one(plane: StartField):
    found = search_turns(
        plane.gallery_um, turned(plane.queries_um, 50), orientation=None, params=QUICK
    )
    assert found.known
    right = plane.partner[found.seeds[:, 1]] == found.seeds[:, 0]
    assert right.mean() > 0.85


def test_a_plane_seen_from_its_other_side_is_turned_over_not_mirrored(plane: StartField):
    seen = turned(plane.queries_um, 20, mirror=True)
    found = search_turns(seen, plane.gallery_um, orientation=None, params=QUICK)
    assert found.known
    assert share_right(found, plane) > 0.85
    assert np.linalg.det(found.linear) > 0
    assert np.linalg.det(found.linear[1:, 1:]) < 0


def test_a_stated_orientation_excludes_what_contradicts_it(plane: StartField):
    def start(points: np.ndarray):
        return search_turns(points, plane.gallery_um, orientation=np.eye(3), params=QUICK)

    assert start(turned(plane.queries_um, 30)).known
    turned_far = start(turned(plane.queries_um, -100))
    assert not turned_far.known
    assert "turned by 100°" in turned_far.reason or "turned by 99°" in turned_far.reason
    mirrored = start(turned(plane.queries_um, 0, mirror=True))
    assert not mirrored.known
    assert "mirrors" in mirrored.reason
    assert len(mirrored.seeds) == 0


def test_an_orientation_that_says_so_allows_any_turn_and_hand(plane: StartField):
    seen = turned(plane.queries_um, 140, mirror=True)
    told = turned(np.eye(3), 140, mirror=True).T
    found = search_turns(seen, plane.gallery_um, orientation=np.linalg.inv(told), params=QUICK)
    assert found.known
    assert share_right(found, plane) > 0.85


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_other_tissue_is_not_known(plane: StartField, seed: int):
    other = draw_start_field("plane in plane", EASY, seed)
    found = search_turns(plane.queries_um, other.gallery_um, orientation=None, params=QUICK)
    assert not found.known
    assert "do not say" in found.reason


def test_somata_at_random_are_not_known(plane: StartField):
    gallery = plane.gallery_um
    low, high = gallery.min(axis=0), gallery.max(axis=0)
    drawn = np.random.default_rng(0).uniform(low, high, gallery.shape)
    assert not search_turns(plane.queries_um, drawn, orientation=None, params=QUICK).known


@pytest.mark.parametrize("side", [0, 1])
def test_the_axes_of_a_plane_may_differ_in_scale(plane: StartField, side: int):
    stretched = [plane.queries_um, plane.gallery_um]
    stretched[side] = stretched[side] * (1, 0.7, 1.5)
    stretched[0] = turned(stretched[0], 25)
    params = TurnParams(poses=PoseParams(anchors=40))
    found = search_turns(*stretched, orientation=None, params=params)
    assert found.known
    assert share_right(found, plane) > 0.8
    sizes = np.linalg.svd(found.linear[1:, 1:], compute_uv=False)
    assert sizes[0] / sizes[1] == pytest.approx(1.5 / 0.7, rel=0.15)


def test_a_plane_is_found_in_a_volume():
    field = draw_start_field(
        "plane in volume", StartFieldParams(missing=0.1, noise_um=1.0, bend_um=3.0), 3
    )
    middle = (np.abs(field.gallery_um) < (60, 300, 300)).all(axis=1)
    row = np.where(middle, np.cumsum(middle) - 1, -1)
    found = search_turns(field.queries_um, field.gallery_um[middle], orientation=None, params=QUICK)
    assert found.known
    right = row[field.partner[found.seeds[:, 0]]] == found.seeds[:, 1]
    assert right.mean() > 0.7


def test_the_start_of_a_plane_is_grown_over_the_field(plane: StartField):
    queries = turned(plane.queries_um, 200)
    found = match_constellation(queries, plane.gallery_um, orientation=None)
    right = plane.partner[found.pairs[:, 0]] == found.pairs[:, 1]
    assert found.known
    assert right.sum() > 0.85 * (plane.partner >= 0).sum()
    assert right.mean() > 0.9


def test_progress_is_told_and_can_be_stopped(plane: StartField):
    told = []

    def tell(*values: object) -> None:
        told.append(values)
        if len(told) > 60:
            raise Cancelled

    with pytest.raises(Cancelled):
        search_turns(
            plane.queries_um, plane.gallery_um, orientation=None, params=QUICK, report=tell
        )
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert all(done < total for done, total, _ in told)
