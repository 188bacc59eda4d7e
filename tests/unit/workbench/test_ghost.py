"""The place under the mouse, on the other side."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.loops import Loop
from fixtures.projects import accept_true_pairs
from napari_neurobridge.project.log import annotate
from napari_neurobridge.workbench.ghost import depth_in_words
from napari_neurobridge.workbench.workbench import Workbench

HERE = (50.0, 90.0, 100.0)


@pytest.fixture
def matched(workbench: Workbench, loop: Loop) -> Workbench:
    accept_true_pairs(workbench.project, (0, 9, 18, 27, 36, 45))
    workbench.session.verdicts_changed.emit()
    loop.run_until(lambda: workbench.ghost.offered)
    return workbench


def test_it_is_where_the_one_alignment_expects_the_place(matched: Workbench) -> None:
    ghost, project = matched.ghost, matched.project
    ghost.follow("two_photon", HERE)
    mean, covariance = project.alignment("two_photon", "fmost").expect([HERE])
    assert ghost.place is not None and ghost.place.dataset == "fmost"
    np.testing.assert_allclose(ghost.place.where.center_um, mean[0])
    np.testing.assert_allclose(ghost.place.where.covariance_um2, covariance[0])

    there = ghost.place.where.center_um
    ghost.follow("fmost", there)
    assert ghost.place is not None and ghost.place.dataset == "two_photon"
    np.testing.assert_allclose(ghost.place.where.center_um, HERE, atol=1e-6)


def test_there_is_none_before_a_pair_is_accepted(workbench: Workbench, loop: Loop) -> None:
    workbench.ghost.follow("two_photon", HERE)
    loop.finish(workbench.session.jobs)
    assert not workbench.ghost.offered
    assert workbench.ghost.place is None


def test_the_last_pair_undone_takes_it_away(matched: Workbench, loop: Loop) -> None:
    matched.ghost.follow("two_photon", HERE)
    for _ in range(6):
        annotate.undo(matched.project, "fixture")
    matched.session.verdicts_changed.emit()
    loop.run_until(lambda: not matched.ghost.offered)
    assert matched.ghost.place is None


def test_it_can_be_switched_off_and_leaves_with_the_mouse(matched: Workbench) -> None:
    ghost = matched.ghost
    ghost.follow("two_photon", HERE)
    ghost.show(False)
    assert ghost.place is None
    ghost.show(True)
    assert ghost.place is not None, "the mouse has not moved"
    ghost.leave()
    assert ghost.place is None


def test_a_random_check_hides_it(matched: Workbench, loop: Loop) -> None:
    matched.ghost.follow("two_photon", HERE)
    matched.questions.select("two_photon", "tp-00003", audit=True)
    loop.run_until(lambda: matched.questions.snapshot.blind)
    assert matched.ghost.place is None
    matched.ghost.follow("two_photon", (40.0, 80.0, 90.0))
    assert matched.ghost.place is None


def test_another_project_forgets_the_alignment(matched: Workbench) -> None:
    matched.ghost.follow("two_photon", HERE)
    matched.session.set_project(None)
    assert not matched.ghost.offered
    assert matched.ghost.place is None


@pytest.mark.parametrize(
    ("deeper_um", "said"),
    [(0.0, ""), (-10.0, ""), (10.1, "10 µm deeper"), (12.4, "12 µm deeper"), (-31.6, "32 µm")],
)
def test_depth_is_told_in_words_beyond_the_slab(deeper_um: float, said: str) -> None:
    words = depth_in_words(deeper_um, 10.0)
    assert words.startswith(said) and bool(words) == bool(said)
    assert ("shallower" in words) == (deeper_um < -10.0)
