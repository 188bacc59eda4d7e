"""Keys act on pairs wherever they are pressed, and are napari's again when our docks are gone."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit, QShortcut

from fixtures.user import User
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docks import TABS
from napari_neurobridge.viewer.keys import napari_meanings
from napari_neurobridge.widgets.legend import keys_in_words


@pytest.fixture
def person(opened: ViewerBinding, qtbot: Any, user: User) -> User:
    """Somebody before an open project, who has asked for the first cell."""
    opened.workbench.questions.next_query()
    user.wait(lambda: opened.workbench.questions.answer is not None)
    return user


def _focus(canvas: Any) -> Any:
    native = canvas.canvas.native
    native.setFocus()
    return native


@pytest.mark.parametrize("side", ["first", "second"])
@pytest.mark.parametrize("selected", ["image", "somata", "none"])
def test_keys_act_on_both_canvases_whatever_layer_is_selected(
    person: User, opened: ViewerBinding, side: str, selected: str
) -> None:
    questions, viewer = opened.workbench.questions, opened.viewer
    canvas = viewer.window._qt_viewer if side == "first" else opened.second.qt_viewer
    model = viewer if side == "first" else opened.second.model
    if selected == "none":
        model.layers.remove(opened._somata.layer(model))
        model.layers.selection.clear()
    else:
        name = next(layer.name for layer in model.layers if layer.name.endswith("somata"))
        model.layers.selection.active = model.layers[
            name if selected == "somata" else name.removesuffix(" somata")
        ]
    native = _focus(canvas)

    person.do(lambda: QTest.keyClick(native, Qt.Key.Key_2))

    assert questions.choice.uid == questions.answer.shown[1].uid
    image = opened.header.image if side == "first" else opened.second.header.image
    assert str(image.mode) == "pan_zoom", "napari's own 2 lets a drag move the image"
    person.do(lambda: QTest.keyClick(native, Qt.Key.Key_U))
    assert [v.pair[1] for v in opened.workbench.project.state().verdicts] == [
        questions.answer.shown[1].uid
    ]


def test_text_fields_keep_their_letters(person: User, opened: ViewerBinding) -> None:
    field = QLineEdit(person.docks("Match")[0])
    field.show()
    field.setFocus()
    person.do(lambda: QTest.keyClicks(field, "a1 u"))
    assert field.text() == "a1 u"
    assert not opened.workbench.project.state().verdicts


def test_a_key_that_is_held_down_judges_once(person: User, opened: ViewerBinding) -> None:
    assert all(not shortcut.autoRepeat() for shortcut in opened.keys.shortcuts.values())


def test_keys_are_naparis_again_once_our_docks_are_closed(
    person: User, opened: ViewerBinding
) -> None:
    viewer = opened.viewer
    image = opened.header.image
    viewer.layers.selection.active = image
    assert viewer.help == "", "napari's status bar would name keys that do something else"
    for name in TABS:
        for dock in person.docks(name):
            person.do(dock.close)
    assert not opened.keys.active
    viewer.layers.selection.active = image
    native = _focus(viewer.window._qt_viewer)
    person.do(lambda: QTest.keyClick(native, Qt.Key.Key_2))
    assert str(image.mode) == "transform"
    assert viewer.help
    assert not opened.workbench.project.state().verdicts


def test_no_key_of_ours_hides_one_of_naparis_without_a_word(opened: ViewerBinding) -> None:
    said = napari_meanings(opened.keys.shortcuts)
    assert "image transform mode" in said["2"]
    assert "U" not in said
    words = keys_in_words(tuple(opened.keys.shortcuts))
    for key in said:
        assert f"{key} (" in words


def test_a_second_key_of_the_window_does_not_silence_ours(
    person: User, opened: ViewerBinding
) -> None:
    QShortcut(QKeySequence("U"), person.window)
    native = _focus(opened.viewer.window._qt_viewer)
    person.do(lambda: QTest.keyClick(native, Qt.Key.Key_U))
    assert len(opened.workbench.project.state().verdicts) == 1
