"""Generated fields are what their kinds say, measured on the fields themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from napari_neurobridge.benchmarks.fields import GeneratedField, make_field
from napari_neurobridge.benchmarks.fields_kinds import KINDS
from napari_neurobridge.errors import InputError


def residual(field: GeneratedField) -> np.ndarray:
    """Distance of partners from where the best affine of all pairs puts the queries."""
    known = np.flatnonzero(field.pairs.partner >= 0)
    source = np.column_stack([field.pairs.queries_um[known], np.ones(len(known))])
    target = field.pairs.gallery_um[field.pairs.partner[known]]
    return np.linalg.norm(target - source @ np.linalg.lstsq(source, target)[0], axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_is_a_function_of_its_kind_and_seed(kind):
    field, again, other = make_field(kind, 3), make_field(kind, 3), make_field(kind, 4)
    for name in ("queries_um", "gallery_um", "partner"):
        np.testing.assert_array_equal(getattr(field.pairs, name), getattr(again.pairs, name))
    assert not np.array_equal(field.pairs.queries_um[:50], other.pairs.queries_um[:50])


@pytest.mark.parametrize("kind", KINDS)
def test_partners_are_detections_of_the_same_soma(kind):
    field = make_field(kind, 5)
    partner = field.pairs.partner
    known = partner >= 0
    assert (field.query_soma[known] == field.gallery_soma[partner[known]]).all()
    assert not np.isin(field.query_soma[~known], field.gallery_soma).any()
    assert field.right(partner)[known].all()
    assert not field.right(np.full(len(partner), -1)).any()
    landmarks = field.draw_landmarks(np.random.default_rng(0))
    assert len(landmarks) == KINDS[kind].landmarks
    assert (partner[landmarks[:, 0]] >= 0).all()


@pytest.mark.parametrize(("kind", "density"), [("volume", (18e-6, 110e-6)), ("clusters", None)])
def test_somata_keep_their_distance(kind, density):
    gallery = make_field(kind, 2).pairs.gallery_um
    apart = cKDTree(gallery).query(gallery, k=2)[0][:, 1]
    # The gallery is scaled by exp(-0.16) to exp(0.14) along each axis.
    least = 5.0 if kind == "clusters" else 8.0
    assert apart.min() >= least * np.exp(-0.16)
    if density is not None:
        within = cKDTree(gallery).query_ball_point(gallery.mean(axis=0), 60.0)
        assert density[0] < len(within) / (4 / 3 * np.pi * 60.0**3) < density[1]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("volume", 2.0, 8.0), ("short-bends", 8.0, 24.0), ("long-bends", 12.0, 48.0)],
)
def test_an_affine_leaves_what_the_bends_are(kind, low, high):
    off = [np.sqrt((residual(make_field(kind, seed)) ** 2).mean()) for seed in range(4)]
    assert low < np.mean(off) < high


@pytest.mark.parametrize(("kind", "stated"), [("noise-3", 3.0), ("noise-5", 5.0), ("noise-7", 7.0)])
def test_heavier_noise_has_heavier_tails(kind, stated):
    errors = KINDS[kind].noise.draw(200_000, np.random.default_rng(0))
    # A quartile of a Student distribution of 3 degrees of freedom is 0.765 of its scale.
    quartile = 0.765 * stated / np.sqrt(3)
    lateral, axial = np.quantile(errors[:, 2], 0.75), np.quantile(errors[:, 0], 0.75)
    assert lateral == pytest.approx(quartile, rel=0.03)
    assert axial == pytest.approx(1.5 * quartile, rel=0.03)
    assert (np.abs(errors[:, 1]) > 4 * stated).mean() > 20 * 6e-5


@pytest.mark.parametrize(("kind", "share"), [("missing-30", 0.3), ("missing-60", 0.6)])
def test_stated_shares_are_missing(kind, share):
    missing = [np.mean(make_field(kind, seed).pairs.partner < 0) for seed in range(5)]
    assert np.mean(missing) == pytest.approx(share, abs=0.03)


def test_a_plane_lacks_as_many_on_either_side():
    for seed in range(3):
        field = make_field("plane", seed)
        partner = field.pairs.partner
        assert 270 <= len(partner) <= 300
        assert 260 <= len(field.pairs.gallery_um) <= 340
        assert np.mean(partner < 0) == pytest.approx(0.3, abs=0.08)
        unseen = 1 - np.isin(field.gallery_soma, field.query_soma).mean()
        assert unseen == pytest.approx(0.3, abs=0.08)
        for points in (field.pairs.queries_um, field.pairs.gallery_um):
            assert points[:, 0].std() < 4.0


def test_half_the_field_is_outside_the_gallery():
    field = make_field("partial-overlap", 1)
    queries, inside = field.pairs.queries_um, field.pairs.partner >= 0
    assert inside.mean() == pytest.approx(0.5, abs=0.01)
    # The two halves lie side by side: a plane tells them apart.
    along = queries[inside].mean(axis=0) - queries[~inside].mean(axis=0)
    side = (queries - queries.mean(axis=0)) @ along > 0
    assert (side == inside).mean() > 0.85


def test_duplicates_are_some_um_from_the_first():
    field = make_field("duplicates", 1)
    for points, somata in (
        (field.pairs.queries_um, field.query_soma),
        (field.pairs.gallery_um, field.gallery_soma),
    ):
        _, first, count = np.unique(somata, return_index=True, return_counts=True)
        assert (count == 2).mean() == pytest.approx(0.15, abs=0.05)
        second = np.setdiff1d(np.arange(len(points)), first)
        earlier = dict(zip(somata[first], first, strict=True))
        apart = points[second] - points[[earlier[soma] for soma in somata[second]]]
        assert ((np.linalg.norm(apart, axis=1) >= 3) & (np.linalg.norm(apart, axis=1) <= 6)).all()
    # The partner is the first detection, and the second is right as well.
    known = field.pairs.partner
    assert (
        np.unique(field.gallery_soma, return_index=True)[1][
            np.searchsorted(np.unique(field.gallery_soma), field.query_soma)
        ]
        == known
    ).all()


def test_layers_sheets_and_planes_have_their_shapes():
    stack = make_field("stack", 0).pairs.gallery_um[:, 0]
    heights = np.sort(stack)
    steps = np.diff(heights)
    assert (steps > 15).sum() == 3
    flat = make_field("plane-in-volume", 0).pairs
    assert np.ptp(flat.queries_um[:, 0]) == 0
    assert len(flat.gallery_um) == 20_000
    sheet = make_field("sheet", 0).pairs.gallery_um
    centred = sheet - sheet.mean(axis=0)
    *_, thin = np.linalg.svd(centred, full_matrices=False)[1] / np.sqrt(len(sheet))
    assert 10 < thin < 40
    # Curved, but thin: neighbours lie in a plane.
    near = cKDTree(sheet).query(sheet, k=8)[1]
    local = np.linalg.svd(sheet[near] - sheet[near].mean(axis=1, keepdims=True), compute_uv=False)
    assert np.median(local[:, 2] / local[:, 0]) < 0.1


def test_landmarks_of_a_corner_lie_together():
    field = make_field("corner", 0)
    chosen = field.pairs.queries_um[field.draw_landmarks(np.random.default_rng(1))[:, 0]]
    assert np.linalg.norm(chosen - chosen.mean(axis=0), axis=1).max() < 150
    assert np.linalg.norm(chosen.mean(axis=0) - field.pairs.queries_um.mean(axis=0)) > 100


def test_so_many_landmarks_are_wrong_and_half_of_them_near():
    field = make_field("wrong-landmarks", 0)
    landmarks = field.draw_landmarks(np.random.default_rng(1))
    right = field.gallery_soma[landmarks[:, 1]] == field.query_soma[landmarks[:, 0]]
    assert (~right).sum() == 3
    true = field.pairs.gallery_um[field.pairs.partner[landmarks[~right, 0]]]
    off = np.linalg.norm(field.pairs.gallery_um[landmarks[~right, 1]] - true, axis=1)
    assert (off < 60).sum() >= 2


@pytest.mark.parametrize("how", ["shifted", "unrelated"])
@pytest.mark.parametrize("kind", ["volume", "plane", "wrong-landmarks"])
def test_nothing_but_landmarks_is_right_in_a_control(kind, how):
    field = make_field(kind, 0)
    landmarks = field.draw_landmarks(np.random.default_rng(1))
    control, rows = field.control(landmarks, how)
    np.testing.assert_array_equal(
        control.pairs.gallery_um[rows[:, 1]], field.pairs.gallery_um[landmarks[:, 1]]
    )
    others = np.setdiff1d(np.arange(len(field.query_soma)), landmarks[:, 0])
    assert (control.pairs.partner[others] == -1).all()
    true = np.flatnonzero(field.pairs.partner >= 0)
    true = np.setdiff1d(true, landmarks[:, 0])
    place = field.pairs.gallery_um[field.pairs.partner[true]]
    moved = cKDTree(control.pairs.gallery_um).query(place)[0]
    assert np.median(moved) > 5
    if how == "shifted" and kind == "plane":
        assert control.pairs.gallery_um[:, 0].std() < 4
    with pytest.raises(InputError, match="shifted, unrelated"):
        field.control(landmarks, "mirrored")


def test_unknown_kinds_and_too_many_landmarks_are_refused():
    with pytest.raises(InputError, match="no kind of field 'moon'"):
        make_field("moon", 0)
    with pytest.raises(InputError, match="only 250 cells"):
        field = make_field("plane-in-volume", 0)
        assert len(field.query_soma) == 250
        field.draw_landmarks(np.random.default_rng(0), 300)
