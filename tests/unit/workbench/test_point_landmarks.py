"""Landmarks that are no somata, without a window."""

from __future__ import annotations

from fixtures.projects import true_partner
from napari_neurobridge.workbench.pair_rows import PairStatus, pair_rows
from napari_neurobridge.workbench.session import Notice
from napari_neurobridge.workbench.workbench import Workbench

SIDES = ("two_photon", "fmost")


def test_a_second_click_on_the_same_side_corrects_the_first(workbench: Workbench) -> None:
    landmarks = workbench.landmarks
    landmarks.toggle()
    landmarks.place("fmost", (1.0, 2.0, 3.0))
    landmarks.place("fmost", (4.0, 5.0, 6.0))
    assert not landmarks.living
    landmarks.set_sigma(8.0)
    landmarks.place("two_photon", (700.0, 8.0, 9.0))
    (mark,) = landmarks.living.values()
    assert mark.places_um == ((700.0, 8.0, 9.0), (4.0, 5.0, 6.0))
    assert (mark.sigma_um, mark.annotator) == (8.0, "me")
    assert landmarks.placing, "the next one may follow at once"
    assert landmarks.begun is None


def test_on_two_somata_it_is_offered_as_their_pair(
    workbench: Workbench, notices: list[Notice]
) -> None:
    project, landmarks = workbench.project, workbench.landmarks
    uid, partner = "tp-00003", true_partner("tp-00003")
    for dataset, soma in zip(SIDES, (uid, partner), strict=True):
        z, y, x = project.state().soma(soma).center_um
        landmarks.place(dataset, (z, y + 2.0, x))
    remedy = notices[-1].remedy
    assert remedy is not None and remedy.label == "Snap to soma"
    assert len(landmarks.living) == 1, "until somebody wants it"
    remedy.apply()
    assert not landmarks.living
    assert project.state().pairs == {uid: partner}
    workbench.verdicts.undo()
    assert len(landmarks.living) == 1


def test_away_from_somata_nothing_is_offered(workbench: Workbench, notices: list[Notice]) -> None:
    workbench.landmarks.place("fmost", (900.0, 0.0, 0.0))
    workbench.landmarks.place("two_photon", (900.0, 0.0, 0.0))
    assert notices[-1].remedy is None
    assert notices[-1].text.startswith("placed landmark lm-00001")


def test_what_is_under_the_mouse_lies_in_the_slab(workbench: Workbench) -> None:
    landmarks = workbench.landmarks
    landmarks.place("fmost", (50.0, 60.0, 70.0))
    landmarks.place("two_photon", (10.0, 20.0, 30.0))
    (uid,) = landmarks.living
    assert landmarks.at("two_photon", (15.0, 22.0, 33.0), 0) == uid
    assert landmarks.at("two_photon", (50.0, 22.0, 33.0), 0) is None
    assert landmarks.at("two_photon", (10.0, 50.0, 33.0), 0) is None
    assert landmarks.at("fmost", (10.0, 20.0, 30.0), 0) is None


def test_bad_edits_are_told_in_one_sentence(workbench: Workbench, notices: list[Notice]) -> None:
    landmarks = workbench.landmarks
    landmarks.place("fmost", (50.0, 60.0, 70.0))
    landmarks.place("two_photon", (10.0, 20.0, 30.0))
    (uid,) = landmarks.living
    landmarks.set_sigma(-1.0, [uid])
    assert notices[-1].is_error and "between 0.1 and 200 µm" in notices[-1].text
    landmarks.delete([])
    assert notices[-1].is_error and "Select a landmark" in notices[-1].text
    landmarks.delete([uid])
    assert not notices[-1].is_error
    landmarks.move(uid, "fmost", (1.0, 1.0, 1.0))
    assert "was removed" in notices[-1].text
    workbench.session.set_project(None)
    landmarks.toggle()
    assert notices[-1].is_error and not landmarks.placing


def test_the_table_lists_it_and_verdicts_leave_it_alone(
    workbench: Workbench, notices: list[Notice]
) -> None:
    landmarks = workbench.landmarks
    landmarks.place("fmost", (50.0, 60.0, 70.0))
    landmarks.place("two_photon", (10.0, 20.0, 30.0))
    (row,) = pair_rows(workbench.project.state(), sides=SIDES)
    assert (row.status, row.note) == (PairStatus.LANDMARK, "σ 5 µm")
    from napari_neurobridge.types import Verdict

    for verdict in Verdict:
        workbench.pairs.decide([row], verdict)
        assert notices[-1].is_error
    workbench.pairs.write_note(row, "a vessel")
    assert notices[-1].is_error and "not about landmarks" in notices[-1].text
    seen: list[tuple[str, object]] = []
    workbench.questions.look_requested.connect(lambda *place: seen.append(place))
    workbench.pairs.ask(row)
    assert seen == [("two_photon", (10.0, 20.0, 30.0)), ("fmost", (50.0, 60.0, 70.0))]
