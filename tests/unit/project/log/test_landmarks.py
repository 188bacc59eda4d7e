"""Landmarks that are no somata: events, their fold, and the alignment that follows from them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from fixtures.projects import accept_true_pairs
from napari_neurobridge.errors import InputError, InvalidActionError
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.landmarks import ProjectLandmarks
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.project.log.fold import fold
from napari_neurobridge.project.log.landmarks import (
    change_landmark,
    delete_landmarks,
    place_landmarks,
    replace_by_pair,
)
from napari_neurobridge.project.log.merging import merge
from napari_neurobridge.workflows.match import match_all

SIDES = ("two_photon", "fmost")
HERE = [(10.0, 20.0, 30.0), (40.0, 120.0, 60.0)]
THERE = [(11.0, 21.0, 31.0), (41.0, 121.0, 61.0)]


@pytest.fixture
def project(points_project_folder):
    opened = Project.open(points_project_folder)
    yield opened
    opened.close()


def living(project):
    return project.state().landmarks.living


def place(project, **more):
    return place_landmarks(project, {"two_photon": HERE, "fmost": THERE}, annotator="me", **more)


def test_they_survive_reopening_and_fold_alike_in_any_order(project):
    uids = place(project, sigma_um=[4.0, 9.0])
    assert uids == ["lm-00001-" + uids[0][-4:], "lm-00002-" + uids[0][-4:]], "somebody else began"
    change_landmark(project, uids[1], places_um={"fmost": (1.0, 2.0, 3.0)}, annotator="me")
    change_landmark(project, uids[0], sigma_um=7.5, annotator="you")
    events = project.log.events()
    expected = living(project)
    assert [mark.sigma_um for mark in expected.values()] == [7.5, 9.0]
    assert expected[uids[1]].places_um == (HERE[1], (1.0, 2.0, 3.0))
    assert expected[uids[0]].annotator == "you"
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(len(events))
        assert fold([events[row] for row in order]).landmarks.living == expected
    project.close()
    again = Project.open(project.path)
    assert living(again) == expected
    again.close()


def test_undo_and_redo_take_them_back_a_step_at_a_time(project):
    (first, second) = place(project)
    change_landmark(project, first, places_um={"two_photon": (5.0, 5.0, 5.0)}, annotator="me")
    delete_landmarks(project, [second], annotator="me")
    assert set(living(project)) == {first}
    for undone in ("deleted landmark", "moved landmark", "placed 2 landmarks"):
        events = annotate.undo(project, "me", scope=UndoScope.HAND)
        assert annotate.describe_target(project, events).startswith(undone)
    assert not living(project)
    for _ in range(3):
        annotate.redo(project, "me", scope=UndoScope.HAND)
    assert living(project)[first].places_um[0] == (5.0, 5.0, 5.0)
    assert place(project) != [first, second], "uids are never given again"


@pytest.mark.parametrize(
    ("places", "sigma", "sentence"),
    [
        ({"two_photon": HERE, "fmost": THERE}, 0.0, "between 0.1 and 200 µm, not at 0"),
        ({"two_photon": HERE, "fmost": THERE}, float("nan"), "not at nan"),
        ({"two_photon": HERE, "fmost": THERE}, [1.0, -2.0], "not at -2"),
        ({"two_photon": HERE, "fmost": THERE}, [1.0], "2 landmarks need as many uncertainties"),
        ({"two_photon": HERE, "fmost": THERE[:1]}, 5.0, "2 points cannot be paired with 1"),
        ({"two_photon": HERE}, 5.0, "lies in two datasets, not in 1"),
        ({"two_photon": HERE, "brain": THERE}, 5.0, "no dataset 'brain'"),
        ({"two_photon": HERE, "fmost": [(1.0, 2.0, np.inf)] * 2}, 5.0, "finite|NaN|infinite"),
    ],
)
def test_bad_ones_are_refused_in_one_sentence(project, places, sigma, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        place_landmarks(project, places, sigma_um=sigma)
    assert "\n" not in str(error.value)
    assert not living(project)


def test_what_is_not_there_cannot_be_changed(project):
    (first, _) = place(project)
    with pytest.raises(InputError, match="no landmark 'lm-9'"):
        change_landmark(project, "lm-9", sigma_um=3.0)
    with pytest.raises(InputError, match="does not lie in 'brain'"):
        change_landmark(project, first, places_um={"brain": (0.0, 0.0, 0.0)})
    with pytest.raises(InputError, match="not at -1"):
        change_landmark(project, first, sigma_um=-1.0)
    delete_landmarks(project, [first])
    with pytest.raises(InputError, match="was removed from this project"):
        delete_landmarks(project, [first])


def test_copies_of_one_project_merge(project, tmp_path):
    copy = tmp_path / "copy.neurobridge"
    shutil.copytree(project.path, copy)
    other = Project.open(copy)
    mine = place(project)
    theirs = place_landmarks(other, {"fmost": THERE, "two_photon": HERE}, annotator="you")
    merge(project, other)
    other.close()
    assert set(living(project)) == {*mine, *theirs}
    assert living(project)[theirs[0]].datasets == SIDES, "whichever side was named first"


def test_they_hold_the_alignment_as_exactly_as_they_say(project):
    accept_true_pairs(project, range(0, 50, 6))
    before = project.alignment(*SIDES)
    here = np.array([[40.0, 90.0, 100.0]])
    there = before.map_points(here)[0] + (0.0, 6.0, 0.0)

    def residual(sigma_um):
        (uid,) = place_landmarks(
            project, {"two_photon": here, "fmost": [there]}, sigma_um=sigma_um, annotator="me"
        )
        found = project.alignment(*SIDES)
        assert (found.made_from.n_pairs, found.made_from.n_points) == (9, 1)
        assert "9 accepted pairs and 1 other landmark" in str(found.made_from)
        assert found.id != before.id
        delete_landmarks(project, [uid], annotator="me")
        return float(np.linalg.norm(found.map_points(here)[0] - there))

    exact, vague = residual(2.0), residual(40.0)
    assert exact < vague < 6.1
    assert vague > 5.0
    assert project.alignment(*SIDES).id == before.id


@pytest.mark.slow
def test_points_alone_align_and_match_the_cells(project):
    """With no accepted pair at all, vessels say where the cells lie."""
    somata = project.state().somata
    accept_true_pairs(project, range(0, 50, 5))
    truth = project.alignment(*SIDES)
    for _ in range(10):
        annotate.undo(project, "fixture")
    assert not project.state().pairs
    corners = np.array([c.center_um for c in list(somata["two_photon"].values())[1:20:2]]) + 4.0
    place_landmarks(
        project,
        {"two_photon": corners, "fmost": truth.map_points(corners)},
        sigma_um=3.0,
        annotator="me",
    )
    assert not project.alignment(*SIDES).made_from.n_pairs
    match = match_all(project, images=False)
    assert match.alignment.made_from.n_points == len(corners)
    right = [
        pair.in_vivo_uid.replace("tp", "fm") == pair.ex_vivo_uid
        for pair in match.matched()
        if pair.probability > 0.5
    ]
    assert len(right) > 20
    assert np.mean(right) > 0.8
    # What was matched is kept, and found again by another program.
    again = Project.open(project.path)
    assert again.alignment(*SIDES).id == match.alignment.id
    change_landmark(project, next(iter(living(project))), sigma_um=9.0)
    assert again.alignment(*SIDES).id != match.alignment.id
    again.close()


def test_both_directions_ask_for_the_same_landmarks(project):
    uids = place(project, sigma_um=[4.0, 9.0])
    forth, back = (
        ProjectLandmarks.of(project.state(), *names).points for names in (SIDES, SIDES[::-1])
    )
    assert forth.uids == back.uids == tuple(uids)
    np.testing.assert_array_equal(forth.source_um, back.target_um)
    np.testing.assert_array_equal(forth.sigma_um, back.sigma_um)


def test_a_landmark_on_two_somata_becomes_their_pair_in_one_step(project):
    (first, _) = place(project)
    replace_by_pair(project, first, ("tp-00001", "fm-00001"), annotator="me")
    assert first not in living(project)
    assert project.state().pairs == {"tp-00001": "fm-00001"}
    annotate.undo(project, "me")
    assert first in living(project)
    assert not project.state().pairs
    annotate.accept(project, "tp-00001", "fm-00002", annotator="me")
    with pytest.raises(InvalidActionError) as error:
        replace_by_pair(project, first, ("tp-00001", "fm-00001"), annotator="me")
    assert error.value.forceable
    assert first in living(project), "all or nothing"
