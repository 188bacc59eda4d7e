"""The alignment: exactness, honesty about what it cannot know, and wrong landmarks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

from napari_neurobridge.errors import InputError
from napari_neurobridge.spaces import fit
from napari_neurobridge.spaces.fit import alignment_without_landmarks, fit_alignment
from napari_neurobridge.spaces.gaussian_process import DeformationPrior
from napari_neurobridge.spaces.landmarks import Landmarks

seeds = st.integers(0, 10_000)


def world(seed: int, count: int = 10, *, mirror: bool = False, noise: float = 1.0, flat=False):
    """Return a true linear map and landmarks under it, µm."""
    rng = np.random.default_rng(seed)
    linear = special_ortho_group.rvs(3, random_state=rng) @ np.diag(rng.uniform(0.9, 1.1, 3))
    if mirror:
        linear = linear @ np.diag([-1.0, 1, 1])
    source = rng.uniform(0, 500, (count, 3))
    if flat:
        source[:, 0] = 120.0
    target = source @ linear.T + [500, -200, 90] + rng.normal(0, noise, (count, 3))
    return linear, source, target


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_map_is_near_the_truth_and_the_truth_within_its_uncertainty(seed):
    linear, source, target = world(seed, 12)
    there = np.random.default_rng(seed + 1).uniform(50, 450, (40, 3))
    mean, covariance = fit_alignment(Landmarks(source, target), mirrored=False).predict(there)
    error = mean - (there @ linear.T + [500, -200, 90])
    square = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
    assert square.mean() < 6


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_inverse_undoes_the_map(seed):
    _, source, target = world(seed, 8)
    alignment = fit_alignment(Landmarks(source, target), source="a", target="b")
    back = alignment.inverse()
    assert (back.source, back.target) == ("b", "a")
    assert back.inverse() is alignment
    np.testing.assert_allclose(back.map_points(alignment.map_points(source)), source, atol=1e-4)


def test_uncertainty_grows_away_from_the_landmarks():
    _, source, target = world(1)
    alignment = fit_alignment(Landmarks(source, target))
    _, near = alignment.predict(source[:1])
    _, far = alignment.predict(source[:1] + 3000)
    assert far[0, 0, 0] > 100 * near[0, 0, 0]


@pytest.mark.parametrize("count", [8, 10, 30])
@pytest.mark.parametrize("error_um", [60.0, 400.0])
def test_a_wrong_landmark_is_found_and_left_out(count, error_um):
    _, source, target = world(count, count)
    target[3] += np.array([0.6, -0.8, 0.0]) * error_um
    alignment = fit_alignment(Landmarks(source, target), mirrored=False)
    assert alignment.review()[0] == 3
    assert alignment.wrong[3] > 0.9
    assert alignment.used.sum() == count - 1
    assert alignment.residuals()[3] > error_um / 2
    assert any("contradict" in note for note in alignment.notes)


def test_a_mirror_is_said_only_where_the_data_can_tell():
    _, source, target = world(5, mirror=True)
    alignment = fit_alignment(Landmarks(source, target))
    assert alignment.similarity.mirrored
    assert any("mirrored" in note for note in alignment.notes)
    _, source, target = world(5, mirror=True, flat=True)
    alignment = fit_alignment(Landmarks(source, target))
    assert not any("mirrored" in note for note in alignment.notes)
    assert any("one plane" in note for note in alignment.notes)


def test_a_declared_handedness_decides_for_landmarks_in_one_plane():
    linear, source, target = world(6, mirror=True, flat=True)
    up = source.mean(axis=0, keepdims=True) + np.array([60.0, 0, 0])
    truth = up @ linear.T + [500, -200, 90]
    mean, covariance = fit_alignment(Landmarks(source, target), mirrored=True).predict(up)
    sigma = np.sqrt(covariance[0, 0, 0])
    assert np.linalg.norm(mean - truth) < 3 * sigma < 60
    wrong = fit_alignment(Landmarks(source, target), mirrored=False).map_points(up)
    assert np.linalg.norm(wrong - truth) > 60


def test_a_declared_handedness_that_the_landmarks_contradict_is_said():
    _, source, target = world(5, mirror=True)
    alignment = fit_alignment(Landmarks(source, target), mirrored=False)
    assert any("orientation says" in note for note in alignment.notes)


@pytest.mark.parametrize(("count", "kind"), [(1, "rigid"), (2, "rigid"), (3, "similarity")])
def test_few_landmarks_fall_back_and_say_so(count, kind):
    linear, source, target = world(2, 3, noise=0)
    alignment = fit_alignment(Landmarks(source[:count], target[:count]), orientation=linear)
    assert alignment.kind == kind
    assert alignment.notes
    moved = alignment.map_points(source)
    before, after = (np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (source, moved))
    np.testing.assert_allclose(after / before, (after / before)[0], rtol=1e-9)
    assert np.linalg.norm(moved - target, axis=1).max() < 120


def test_landmarks_given_twice_count_once():
    _, source, target = world(3)
    once = fit_alignment(Landmarks(source, target))
    twice = fit_alignment(Landmarks(np.tile(source, (2, 1)), np.tile(target, (2, 1))))
    np.testing.assert_allclose(twice.map_points(source), once.map_points(source), atol=1e-6)
    assert any("twice" in note for note in twice.notes)


def test_a_landmark_counts_by_its_own_uncertainty():
    _, source, target = world(4, 6)
    moved = target.copy()
    moved[0] += 15
    sigma = np.full(6, np.nan)
    sigma[0] = 40.0
    pulled = fit_alignment(Landmarks(source, moved), adapt=False).map_points(source[:1])
    free = fit_alignment(Landmarks(source, moved, sigma), adapt=False).map_points(source[:1])
    assert np.linalg.norm(free - target[0]) < np.linalg.norm(pulled - target[0])


@pytest.mark.parametrize(
    ("source_factor", "target_factor"), [(1e-3, 1), (1, 1e-3), (1e-3, 1e-3), (1e3, 1)]
)
def test_millimetres_are_noticed(source_factor, target_factor):
    _, source, target = world(0)
    with pytest.raises(InputError, match="mm"):
        Landmarks(source * source_factor, target * target_factor)


def test_senseless_landmarks_are_refused():
    _, source, target = world(0)
    with pytest.raises(InputError, match="NaN"):
        Landmarks(np.where(source > 400, np.nan, source), target)
    with pytest.raises(InputError, match="paired"):
        Landmarks(source[:3], target)
    with pytest.raises(InputError, match="positive"):
        Landmarks(source, target, np.zeros(len(source)))
    with pytest.raises(InputError, match="at least one"):
        fit_alignment(Landmarks(source[:0], target[:0]))


def test_many_landmarks_are_mapped_nearly_as_exactly(monkeypatch):
    _, source, target = world(7, 80)
    target += 6 * np.sin(source / 60)
    exact = fit_alignment(Landmarks(source, target), adapt=False)
    monkeypatch.setattr(fit, "_EXACT", 40)
    monkeypatch.setattr(fit, "_SUPPORT", 80)
    sparse = fit_alignment(Landmarks(source, target), adapt=False)
    there = np.random.default_rng(0).uniform(50, 450, (30, 3))
    assert np.linalg.norm(sparse.map_points(there) - exact.map_points(there), axis=1).max() < 4
    assert np.abs(sparse.residuals() - exact.residuals()).max() < 4


@pytest.mark.parametrize("count", [4, 10, 13, 40])
def test_landmarks_that_fit_no_tissue_still_give_a_map(count):
    """Random pairs: the typical landmark cannot be wrong, however little they agree."""
    rng = np.random.default_rng(count)
    source, target = rng.uniform(0, 500, (2, count, 3))
    alignment = fit_alignment(Landmarks(source, target))
    assert alignment.used.sum() >= count / 2
    assert np.isfinite(alignment.map_points(source)).all()
    assert np.median(alignment.residuals()) > 40


def test_a_bent_tissue_does_not_make_its_landmarks_wrong():
    """Tissue that gives far more than the prior says, and one landmark that is wrong."""
    rng = np.random.default_rng(4)
    source = rng.uniform(0, 500, (25, 3))
    target = source + 40 * np.sin(source[:, [1, 2, 0]] / 60)
    target[7] += [0, 300, 0]
    alignment = fit_alignment(Landmarks(source, target), mirrored=False)
    assert alignment.wrong[7] > 0.9
    assert alignment.used.sum() > 18


def test_handedness_is_taken_over_from_an_earlier_fit():
    _, source, target = world(5, 12, mirror=True)
    before = fit_alignment(Landmarks(source[:-1], target[:-1]))
    after = fit_alignment(Landmarks(source, target), known=before)
    assert after.similarity.mirrored
    assert after.hand_known
    assert before.hand_notes == after.hand_notes != ()
    few = fit_alignment(Landmarks(source[:3], target[:3]), known=before)
    assert not few.hand_known
    stated = fit_alignment(Landmarks(source, target), known=before, mirrored=False)
    assert not stated.similarity.mirrored
    assert any("orientation says" in note for note in stated.notes)


class Bent:
    """A smooth map far from a similarity, as a registration of images gives one."""

    source, target = "a", "b"

    def map_points(self, points):
        points = np.atleast_2d(points)
        return points + 30 * np.sin(points[:, [1, 2, 0]] / 90) + [200.0, 0, -50]

    def inverse(self):
        return Straightened()


class Straightened:
    source, target = "b", "a"

    def map_points(self, points):
        found = np.array(points, dtype=float)
        for _ in range(200):
            found += points - Bent().map_points(found)
        return found

    def inverse(self):
        return Bent()


def test_the_process_is_about_its_mean():
    """With a registration as mean, few landmarks correct what it leaves, and only that."""
    rng = np.random.default_rng(3)
    source, there = rng.uniform(0, 500, (6, 3)), rng.uniform(50, 450, (40, 3))
    shift = np.array([4.0, -6.0, 3.0])
    target = Bent().map_points(source) + shift
    about = fit_alignment(Landmarks(source, target), mean=Bent(), source="a", target="b")
    plain = fit_alignment(Landmarks(source, target))
    truth = Bent().map_points(there) + shift
    assert np.linalg.norm(about.map_points(there) - truth, axis=1).max() < 2
    assert np.linalg.norm(plain.map_points(there) - truth, axis=1).mean() > 10
    back = about.inverse().map_points(about.map_points(there))
    np.testing.assert_allclose(back, there, atol=1e-4)


def test_without_landmarks_the_mean_is_all_there_is():
    alignment = alignment_without_landmarks(Bent(), orientation=True)
    points = np.random.default_rng(0).uniform(0, 300, (7, 3))
    np.testing.assert_allclose(alignment.map_points(points), Bent().map_points(points))
    _, covariance = alignment.expect(points)
    assert (covariance[:, 0, 0] > 200**2).all()
    np.testing.assert_allclose(
        alignment.inverse().map_points(Bent().map_points(points)), points, atol=1e-5
    )


def test_the_id_tells_maps_apart():
    _, source, target = world(3)
    first = fit_alignment(Landmarks(source, target))
    assert fit_alignment(Landmarks(source, target)).id == first.id == first.inverse().id
    target[0] += 0.1
    assert fit_alignment(Landmarks(source, target)).id != first.id


def test_a_map_that_folds_is_not_followed_back():
    source = np.array([[0.0, 0, 0], [0, 100, 0], [0, 0, 100], [100, 0, 0], [50, 50, 50]])
    target = source.copy()
    target[4] = [50, -400, 50]
    prior = DeformationPrior(displacement_um=400.0, length_um=30.0, wrong=1e-9)
    folded = fit_alignment(Landmarks(source, target), prior=prior, adapt=False, mirrored=False)
    with pytest.raises(InputError, match="cannot be inverted"):
        folded.inverse().map_points([[50.0, -200, 50], [50.0, 40, 50], [50, 60, 50]])
