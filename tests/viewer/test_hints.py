"""The expected place and the numbered neighbours, drawn in both canvases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.projects import accept_true_pairs, true_partner
from fixtures.viewers import handle_events
from napari_neurobridge.types import Expected
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.hints import badge_places, ellipse_um
from napari_neurobridge.viewer.layers import HINT_KEY
from napari_neurobridge.viewer.styles import SOMA_DIAMETER_UM, NeighbourStyle

LANDMARKS = (0, 9, 18, 27)
UID = "tp-00003"


@pytest.fixture
def asked(opened_points: ViewerBinding, qtbot: Any) -> ViewerBinding:
    """A viewer in which a cell near accepted pairs is being asked about."""
    accept_true_pairs(opened_points.workbench.project, LANDMARKS)
    opened_points.workbench.session.verdicts_changed.emit()
    matches, questions = opened_points.workbench.matches, opened_points.workbench.questions
    qtbot.waitUntil(lambda: matches.match is not None and not matches.updating, timeout=30_000)
    questions.select("two_photon", UID)
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    qtbot.waitUntil(lambda: _hint(opened_points.second.model, "expected") is not None)
    return opened_points


def _hint(model: Any, kind: str) -> Any:
    return next((x for x in model.layers if x.metadata.get(HINT_KEY) == kind), None)


def _in_space(layer: Any, row: int = 0) -> np.ndarray:
    """Points of a hint layer in µm of the dataset."""
    return np.asarray(layer.data[row] if layer.metadata[HINT_KEY] == "expected" else layer.data) + (
        layer.translate
    )


@given(
    root=st.lists(st.floats(-20, 20), min_size=9, max_size=9),
    axes=st.sampled_from([(1, 2), (0, 2), (0, 1), (2, 1)]),
)
def test_the_ellipse_is_the_shadow_of_the_ellipsoid(
    root: list[float], axes: tuple[int, int]
) -> None:
    factor = np.array(root).reshape(3, 3)
    covariance = factor @ factor.T + np.eye(3)
    expected = Expected((10.0, 20.0, 30.0), tuple(map(tuple, covariance.tolist())))
    outline = ellipse_um(expected, axes)
    # The shadow's support in a direction is that of the ellipsoid itself.
    for angle in np.linspace(0, np.pi, 7):
        direction = np.zeros(3)
        direction[list(axes)] = np.cos(angle), np.sin(angle)
        reach = np.sqrt(direction @ covariance @ direction)
        along = (outline - np.array(expected.center_um)[list(axes)]) @ direction[list(axes)]
        assert along.max() == pytest.approx(reach, rel=0.01)
        assert along.min() == pytest.approx(-reach, rel=0.01)


def test_the_ellipse_lies_where_the_partner_is_expected(asked: ViewerBinding, qtbot: Any) -> None:
    model, ranking = asked.second.model, asked.workbench.questions.answer.ranking
    layer = _hint(model, "expected")
    depth, rows, columns = model.dims.order
    outline = _in_space(layer)
    shown = [rows, columns]
    np.testing.assert_allclose(
        outline[:, shown].mean(axis=0), np.array(ranking.expected.center_um)[shown], atol=0.05
    )
    np.testing.assert_allclose(outline[:, shown], ellipse_um(ranking.expected, (rows, columns)))
    assert np.allclose(outline[:, depth], model.dims.point[depth])
    assert not layer.editable
    assert _hint(asked.viewer, "expected") is None, "nothing is expected on the query's own side"


def test_the_hints_follow_the_displayed_plane(asked: ViewerBinding, qtbot: Any) -> None:
    model = asked.second.model
    layer, depth = _hint(model, "expected"), model.dims.order[0]
    near = layer.opacity
    model.dims.set_point(depth, model.dims.point[depth] + 40.0)
    for kind in ("expected", "neighbours"):
        followed = _in_space(_hint(model, kind))[:, depth]
        assert np.allclose(followed, model.dims.point[depth])
    assert layer.opacity < near, "what lies off the slab is faint"
    assert len(layer._data_view.displayed_vertices) > 0


def test_a_hidden_hint_stays_hidden(asked: ViewerBinding, qtbot: Any) -> None:
    layer, questions = _hint(asked.second.model, "expected"), asked.workbench.questions
    layer.visible = False
    before = np.asarray(layer.data[0])
    questions.select("two_photon", "tp-00005")
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    qtbot.waitUntil(lambda: len(layer.data) and not np.array_equal(layer.data[0], before))
    assert not layer.visible


def test_hints_leave_the_view_of_a_volume(asked: ViewerBinding, qtbot: Any) -> None:
    model = asked.second.model
    model.dims.ndisplay = 3
    qtbot.waitUntil(lambda: len(_hint(model, "expected").data) == 0)
    assert len(_hint(model, "neighbours").data) == 0
    model.dims.ndisplay = 2
    qtbot.waitUntil(lambda: len(_hint(model, "expected").data) > 0)
    assert not _hint(model, "expected").editable


def test_turning_the_canvas_draws_the_ellipse_anew(asked: ViewerBinding, qtbot: Any) -> None:
    model, ranking = asked.second.model, asked.workbench.questions.answer.ranking
    model.dims.order = (0, 1, 2)
    layer = _hint(model, "expected")
    qtbot.waitUntil(lambda: np.allclose(_in_space(layer)[:, 0], model.dims.point[0]))
    np.testing.assert_allclose(_in_space(layer)[:, 1:], ellipse_um(ranking.expected, (1, 2)))


def test_neighbours_carry_one_number_on_both_sides(asked: ViewerBinding, qtbot: Any) -> None:
    query = asked.workbench.questions.query
    pairs = asked.workbench.matches.neighbours("two_photon", query.center_um, UID)
    assert any(pair.accepted for pair in pairs)
    assert not all(pair.accepted for pair in pairs), "the test needs a claimed one"
    for model, dataset in ((asked.viewer, "two_photon"), (asked.second.model, "fmost")):
        layer = _hint(model, "neighbours")
        n, shown = len(pairs), list(model.dims.displayed)
        numbers = [str(said).rstrip("↑↓") for said in layer.features["number"][n:]]
        assert numbers == [str(pair.number) for pair in pairs]
        assert not any(layer.features["number"][:n]), "the numbers stand beside the somata"
        rings, badges = np.split(_in_space(layer)[:, shown], 2)
        np.testing.assert_allclose(rings, [np.array(p.centers_um[dataset])[shown] for p in pairs])
        assert (np.linalg.norm(badges - rings, axis=1) < SOMA_DIAMETER_UM).all()
        hollow = layer.face_color[:n, 3] == 0
        seen = layer.border_color[:n, 3] > 0
        np.testing.assert_array_equal(hollow, [not p.accepted for p in pairs] | ~seen)
        assert not layer.editable
        somata = next(x for x in model.layers if x.name == f"{dataset} somata")
        assert model.layers.selection.active is somata, "the keys act there"
        assert not any(somata.features["label"]), "one number a circle"
    first = next(pair for pair in pairs if pair.accepted)
    assert true_partner(first.uids[0]) == first.uids[1]


def test_a_pair_of_another_depth_is_a_number_that_says_which_way(
    asked: ViewerBinding, qtbot: Any
) -> None:
    model = asked.viewer
    layer, depth = _hint(model, "neighbours"), model.dims.order[0]
    rings = _in_space(layer)[: len(layer.data) // 2]
    depths = layer.metadata["depth_um"][: len(rings)]
    model.dims.set_point(depth, float(depths[0]))
    asked._seeing.set_slab(5)
    qtbot.waitUntil(lambda: layer.border_color[0, 3] == 1.0)

    far = np.abs(depths - model.dims.point[depth]) > 2.5
    assert far.any(), "the test needs a pair of another depth"
    np.testing.assert_array_equal(layer.border_color[: len(far), 3] == 0.0, far)
    for said, hidden, deeper in zip(
        layer.features["number"][len(far) :], far, depths > model.dims.point[depth], strict=True
    ):
        assert str(said)[-1:] == (("↓" if deeper else "↑") if hidden else str(said)[-1:])
        assert hidden or str(said).isdigit()


def test_a_number_has_its_badge_at_every_magnification(asked: ViewerBinding, qtbot: Any) -> None:
    model = asked.second.model
    layer = _hint(model, "neighbours")
    n = len(layer.data) // 2
    for zoom in (0.6, 3.0):
        model.scene.camera.zoom = zoom
        qtbot.waitUntil(lambda zoom=zoom: np.allclose(layer.size[n:] * zoom, 20.0))
        np.testing.assert_allclose(layer.size[:n], NeighbourStyle().ring_um)


@given(
    rings=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=6),
    clear=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=3),
)
def test_a_number_stands_where_it_covers_least(
    rings: list[tuple[float, float]], clear: list[tuple[float, float]]
) -> None:
    places = badge_places(np.array(rings), np.array(clear).reshape(-1, 2))
    offset = 0.45 * NeighbourStyle().ring_um
    for number, (ring, place) in enumerate(zip(rings, places, strict=True)):
        others = [one for other, one in enumerate(rings) if other != number] + clear
        corners = [
            (ring[0] + down * offset, ring[1] + right * offset)
            for down in (-1, 1)
            for right in (-1, 1)
        ]
        assert min(np.linalg.norm(np.subtract(corners, place), axis=1)) < 1e-9
        room = [min((math.dist(c, o) for o in others), default=40.0) for c in corners]
        here = min((math.dist(place, o) for o in others), default=40.0)
        assert min(here, 40.0) >= min(max(room), 40.0) - 1e-9


def test_deleting_hints_and_closing_the_project_breaks_nothing(
    asked: ViewerBinding, qtbot: Any
) -> None:
    for model in (asked.viewer, asked.second.model):
        for layer in [x for x in model.layers if HINT_KEY in x.metadata]:
            model.layers.remove(layer)
    model = asked.second.model
    model.dims.set_point(model.dims.order[0], 30.0)
    questions = asked.workbench.questions
    questions.select("two_photon", "tp-00005")
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    qtbot.waitUntil(lambda: _hint(model, "expected") is not None)
    asked.workbench.session.set_project(None)
    handle_events(qtbot)
    assert not [x for m in (asked.viewer, model) for x in m.layers if HINT_KEY in x.metadata]


def test_the_tools_of_the_second_canvas_leave_the_hints_alone(asked: ViewerBinding) -> None:
    asked.second.header.tools["add"].click()
    model = asked.second.model
    assert model.layers.selection.active.name == "fmost somata"
    assert _hint(model, "neighbours").mode == "pan_zoom"


def test_an_fmost_soma_is_expected_on_the_two_photon_side(asked: ViewerBinding, qtbot: Any) -> None:
    questions = asked.workbench.questions
    questions.select("fmost", "fm-00007")
    qtbot.waitUntil(lambda: questions.answer is not None, timeout=20_000)
    qtbot.waitUntil(lambda: _hint(asked.viewer, "expected") is not None)
    layer = _hint(asked.viewer, "expected")
    assert len(_hint(asked.second.model, "expected").data) == 0
    partner = asked.workbench.project.state().soma("tp-00007").center_um
    assert np.linalg.norm(_in_space(layer)[:, 1:].mean(axis=0) - partner[1:]) < 20.0
