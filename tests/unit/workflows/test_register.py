"""A project registered by its somata, and what its alignment makes of that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.points import PointsWorld
from napari_neurobridge.errors import InputError
from napari_neurobridge.matching.match_datasets import match_datasets
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.project.log.events import UndoScope
from napari_neurobridge.project.log.registrations import RegistrationApplied
from napari_neurobridge.project.log.wording import describe
from napari_neurobridge.registration.quality import RegistrationDecision
from napari_neurobridge.spaces import Affine
from napari_neurobridge.workflows.rank import rank_cell
from napari_neurobridge.workflows.register import (
    RegistrationProposal,
    apply_registration,
    propose_registration,
)
from soma_proposals import SIDES, partners_um, proposal


@pytest.fixture
def project(points_world: PointsWorld, tmp_path) -> Project:
    return points_world.project(tmp_path / "p.neurobridge")


def error_um(project: Project, world: PointsWorld) -> float:
    here, there = partners_um(project, world)
    return float(np.median(np.linalg.norm(project.map_points(here, *SIDES) - there, axis=1)))


def test_a_registration_alone_is_an_alignment(project, points_world) -> None:
    before = project.alignment(*SIDES)
    assert error_um(project, points_world) > 50
    event = apply_registration(project, proposal(project, points_world), annotator="me")
    assert describe(event) == "applied a registration"
    assert error_um(project, points_world) < 4
    found = project.alignment(*SIDES)
    assert found.made_from.known
    assert event.id[:8] in str(found.made_from)
    assert found.id != before.id
    assert Project.open(project.path).alignment(*SIDES).id == found.id
    here, there = partners_um(project, points_world)
    back = project.map_points(there, *SIDES[::-1])
    np.testing.assert_allclose(project.map_points(back, *SIDES), there, atol=1e-2)
    # It is sure to some soma distances, not to a whole field as without anything.
    covariance = found.expect(here)[1]
    off = np.linalg.norm(found.map_points(here) - there, axis=1)
    sigma = np.sqrt(covariance[:, 0, 0])
    assert sigma.max() < 25
    assert (off < 2 * sigma).mean() > 0.95


def test_the_first_question_has_its_partner_first(project, points_world) -> None:
    apply_registration(project, proposal(project, points_world))
    uids = sorted(points_world.partners)[1:40:2]
    first = [rank_cell(project, uid, 1).ranking.candidates[0].uid for uid in uids]
    right = [points_world.partners[uid] == found for uid, found in zip(uids, first, strict=True)]
    assert np.mean(right) > 0.8


def test_undo_takes_it_back_but_no_key_press(project, points_world) -> None:
    before = project.alignment(*SIDES).id
    apply_registration(project, proposal(project, points_world), annotator="me")
    annotate.none(project, sorted(points_world.partners)[0], annotator="me")
    applied = project.alignment(*SIDES).id
    annotate.undo(project, "me", scope=UndoScope.HAND)
    assert project.alignment(*SIDES).id == applied
    annotate.undo(project, "me")
    assert project.alignment(*SIDES).id == before
    assert not project.state().registrations
    annotate.redo(project, "me")
    assert project.alignment(*SIDES).id == applied


def test_the_last_registration_counts(project, points_world) -> None:
    first = proposal(project, points_world)
    apply_registration(project, first, annotator="me")
    once = project.alignment(*SIDES).id
    apply_registration(project, proposal(project, points_world, every=3), annotator="me")
    assert project.alignment(*SIDES).id != once
    annotate.undo(project, "me")
    assert project.alignment(*SIDES).id == once


def test_pairs_correct_what_it_leaves(project, points_world) -> None:
    """A map that is shifted is put right by the pairs, and by the matches that grow from them."""
    found = proposal(project, points_world).found
    affine = getattr(found.transform, "base", found.transform)
    matrix = affine.matrix.copy()
    matrix[:3, 3] += (12.0, -9.0, 10.0)
    choice = replace(found.choice, transform=Affine(matrix, *SIDES))
    apply_registration(
        project, RegistrationProposal(*SIDES, replace(found, choice=choice)), annotator="me"
    )
    shift = error_um(project, points_world)
    assert shift > 15
    for pair in points_world.some(5):
        annotate.accept(project, *pair, annotator="me")
    alignment = project.alignment(*SIDES)
    assert alignment.made_from.n_pairs == 5
    assert alignment.made_from.registration
    with_pairs = error_um(project, points_world)
    assert with_pairs < 6
    match = match_datasets(project)
    assert match.alignment.made_from.registration
    assert match.alignment.made_from.n_matches > 50
    assert error_um(project, points_world) < min(with_pairs, 4)
    assert np.allclose(match.alignment.leave_one_out.points_um, match.queries.centers_um)
    here, _ = partners_um(project, points_world)
    np.testing.assert_allclose(match.map_points(here, *SIDES), project.map_points(here, *SIDES))
    # Another program reads the match's alignment from its file, and the map before it from the log.
    again = Project.open(project.path).alignment(*SIDES)
    assert again.id == match.alignment.id
    residual = alignment.residuals()
    assert residual.max() < 15


def test_one_pair_shifts_and_says_what_the_rest_comes_from(project, points_world) -> None:
    apply_registration(project, proposal(project, points_world))
    annotate.accept(project, *points_world.some(1)[0])
    assert error_um(project, points_world) < 8
    assert any("comes from the registration" in note for note in project.alignment(*SIDES).notes)


def test_a_refusal_cannot_be_applied(project, points_world) -> None:
    made = proposal(project, points_world)
    refused = RegistrationDecision(accepted=False, reason="Only 3 matches agree.")
    with pytest.raises(InputError, match="Only 3 matches agree"):
        apply_registration(project, replace(made, found=replace(made.found, decision=refused)))
    assert not project.state().registrations


def test_a_damaged_map_is_told(project, points_world) -> None:
    event = apply_registration(project, proposal(project, points_world))
    content = event.content
    assert isinstance(content, RegistrationApplied)
    payload = {**event.payload, "transform": {"kind": "affine", "source": "a", "target": "b"}}
    with pytest.raises(InputError, match="damaged"):
        _ = replace(event, payload=payload).content


def test_without_somata_there_is_nothing_to_register(project) -> None:
    annotate.delete_somata(project, list(project.state().somata["fmost"]))
    with pytest.raises(InputError, match="'fmost' has no somata"):
        propose_registration(project)
