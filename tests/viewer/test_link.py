"""The lock between the two canvases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.projects import accept_true_pairs
from fixtures.viewers import finish_jobs, handle_events
from napari_neurobridge.cli.export import transform
from napari_neurobridge.io.tables import read_points, write_points
from napari_neurobridge.spaces.alignment import Alignment, NotInvertibleError
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.canvases import look_at
from napari_neurobridge.viewer.hints import HINT_KEY

LANDMARKS = (0, 9, 18, 27, 36, 45)


def _place(model: Any) -> np.ndarray:
    depth, rows, columns = model.dims.order
    place = np.zeros(3)
    place[depth] = model.dims.point[depth]
    place[rows], place[columns] = model.scene.camera.center[-2:]
    return place


@pytest.fixture
def matched(opened_points: ViewerBinding, qtbot: Any) -> ViewerBinding:
    """A viewer with an alignment between its canvases."""
    assert not opened_points.second.lock.isEnabled()
    accept_true_pairs(opened_points.workbench.project, LANDMARKS)
    opened_points.workbench.session.verdicts_changed.emit()
    matches = opened_points.workbench.matches
    qtbot.waitUntil(lambda: matches.match is not None and not matches.updating, timeout=30_000)
    finish_jobs(opened_points, qtbot)
    return opened_points


def _agree(opened: ViewerBinding) -> bool:
    project, other = opened.workbench.project, opened.second.model
    mapped = project.map_points([_place(opened.viewer)], "two_photon", "fmost")[0]
    return bool(np.abs(mapped - _place(other)).max() < 1.5)


def test_locked_canvases_move_together_both_ways(matched: ViewerBinding, qtbot: Any) -> None:
    main, other = matched.viewer, matched.second.model
    look_at(main, (50.0, 60.0, 70.0))
    handle_events(qtbot)
    assert not _agree(matched), "nothing is linked before"
    assert matched.second.lock.isEnabled()
    matched.second.lock.click()
    qtbot.waitUntil(lambda: _agree(matched), timeout=10_000)

    main.scene.camera.center = (0.0, 100.0, 90.0)
    qtbot.waitUntil(lambda: _agree(matched))
    np.testing.assert_allclose(main.scene.camera.center[1:], (100.0, 90.0))
    main.dims.set_point(0, 70.0)
    qtbot.waitUntil(lambda: _agree(matched))

    before = main.scene.camera.center
    center = list(other.scene.camera.center)
    center[1] += 25.0
    other.scene.camera.center = tuple(center)
    qtbot.waitUntil(lambda: main.scene.camera.center != before)
    back = matched.workbench.project.map_points([_place(other)], "fmost", "two_photon")[0]
    np.testing.assert_allclose(back, _place(main), atol=1.5)

    zoom = other.scene.camera.zoom
    ratio = zoom / main.scene.camera.zoom
    main.scene.camera.zoom *= 2
    qtbot.waitUntil(lambda: other.scene.camera.zoom != zoom)
    assert other.scene.camera.zoom / main.scene.camera.zoom == pytest.approx(ratio, rel=0.02)


def test_a_locked_canvas_comes_to_rest(matched: ViewerBinding, qtbot: Any) -> None:
    matched.second.lock.click()
    qtbot.waitUntil(lambda: _agree(matched), timeout=10_000)
    matched.viewer.scene.camera.center = (0.0, 100.0, 90.0)
    qtbot.waitUntil(lambda: _agree(matched))
    moves: list[object] = []
    for model in (matched.viewer, matched.second.model):
        model.scene.camera.events.center.connect(lambda event: moves.append(event))
        model.dims.events.point.connect(lambda event: moves.append(event))
    handle_events(qtbot)
    assert moves == []


def test_picking_a_candidate_leaves_the_query_in_sight(matched: ViewerBinding, qtbot: Any) -> None:
    matched.second.lock.click()
    qtbot.waitUntil(lambda: _agree(matched), timeout=10_000)
    questions = matched.workbench.questions
    questions.select("two_photon", "tp-00003")
    qtbot.waitUntil(lambda: questions.choice is not None, timeout=20_000)
    questions.choose(len(questions.answer.shown))
    handle_events(qtbot)
    np.testing.assert_allclose(_place(matched.viewer), questions.query.center_um, atol=1.0)
    np.testing.assert_allclose(_place(matched.second.model), questions.choice.center_um, atol=1.0)


def test_the_lock_rests_in_an_audit(matched: ViewerBinding, qtbot: Any) -> None:
    matched.second.lock.click()
    qtbot.waitUntil(lambda: _agree(matched), timeout=10_000)
    questions, other = matched.workbench.questions, matched.second.model
    before = _place(other)
    questions.select("two_photon", "tp-00005", audit=True)
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    matched.viewer.scene.camera.center = (0.0, 30.0, 30.0)
    handle_events(qtbot)
    np.testing.assert_allclose(_place(other), before)


def test_everything_asks_one_alignment(matched: ViewerBinding, qtbot: Any, tmp_path: Path) -> None:
    """Move the project's alignment, and lock, ring, residual, points and files move with it."""
    workbench, other = matched.workbench, matched.second.model
    project, matches, questions = workbench.project, workbench.matches, workbench.questions
    here = np.array([project.state().soma("tp-00003").center_um])
    write_points(tmp_path / "in.csv", ["a"], here)

    def ask() -> dict[str, np.ndarray]:
        questions.select("two_photon", "tp-00003")
        qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
        qtbot.waitUntil(
            lambda: any(
                layer.metadata.get(HINT_KEY) == "expected" and len(layer.data)
                for layer in other.layers
            )
        )
        ranking = questions.answer.ranking
        look_at(matched.viewer, (50.0, 60.0, 70.0))
        qtbot.waitUntil(lambda: _agree(matched), timeout=10_000)
        transform(project.path, tmp_path / "in.csv", tmp_path / "out.csv", to="fmost")
        first = ranking.candidates[0]
        off = np.subtract(first.center_um, ranking.expected.center_um)
        assert first.residual_um == pytest.approx(np.linalg.norm(off))
        return {
            "map_points": project.map_points(here, "two_photon", "fmost")[0],
            "transform": read_points(tmp_path / "out.csv")[1][0],
            "residual": np.array(ranking.expected.center_um),
            "ring": _ring(matched, ranking.expected.center_um),
            "lock": _place(other),
        }

    matched.second.lock.click()
    before = ask()
    shift = np.array([6.0, -9.0, 7.0])
    similarity = matches.match.alignment.similarity
    moved = replace(
        matches.match.alignment,
        similarity=replace(similarity, target_center_um=similarity.target_center_um + shift),
    )
    project.keep_alignment(moved)
    matches.match = replace(matches.match, alignment=moved)
    after = ask()
    for what, place in after.items():
        np.testing.assert_allclose(place - before[what], shift, atol=1.5, err_msg=what)


def _ring(opened: ViewerBinding, default: Any) -> np.ndarray:
    """Return the centre of the drawn ellipse; across the plane, where it is expected."""
    model = opened.second.model
    (layer,) = (layer for layer in model.layers if layer.metadata.get(HINT_KEY) == "expected")
    outline = np.asarray(layer.data[0]) + layer.translate
    place = np.array(default)
    shown = list(model.dims.displayed)
    place[shown] = outline[:, shown].mean(axis=0)
    return place


def test_where_the_alignment_folds_the_other_canvas_stays(
    matched: ViewerBinding, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    matched.second.lock.click()
    qtbot.waitUntil(lambda: _agree(matched), timeout=10_000)
    before = _place(matched.second.model)

    def folds(*_: Any) -> np.ndarray:
        raise NotInvertibleError("The alignment cannot be inverted there: it folds.")

    with monkeypatch.context() as changed:
        changed.setattr(Alignment, "map_points", folds)
        matched.viewer.scene.camera.center = (0.0, 9000.0, 90.0)
        handle_events(qtbot)
    np.testing.assert_array_equal(_place(matched.second.model), before)
    matched.viewer.scene.camera.center = (0.0, 80.0, 90.0)
    qtbot.waitUntil(lambda: _agree(matched))
