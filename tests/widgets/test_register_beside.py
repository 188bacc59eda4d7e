"""Both images of a registration side by side: real clicks and drags in two locked canvases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QLabel, QPushButton, QTableWidget

from beacons import BeaconPattern
from fixtures.user import DESK_PX, LAPTOP_PX, User
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.docked import dock_around
from napari_neurobridge.viewer.registration_layers import LINES, SOURCE_POINTS, TARGET_POINTS
from napari_neurobridge.viewer.registry import binding_for
from napari_neurobridge.workbench.registering import Registering
from register_user import BUTTONS, PIXEL_UM, SHIFT, SIZE, TRUE, button, open_images, register


def beside(user: User) -> tuple[ViewerBinding, Registering]:
    """Register two images, and press the button."""
    registering = open_images(user, BeaconPattern(wrong=0.1, verified_wrong=0.5))
    assert not button(user, "side_by_side_button").isEnabled()
    register(user, registering)
    user.click(button(user, "side_by_side_button"))
    user.settle(80)
    return binding_for(user.viewer), registering


def canvases(binding: ViewerBinding) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the native canvas and the model of either side."""
    canvas = binding.beside.canvas
    assert canvas is not None
    main = binding.viewer
    return (
        (main.window._qt_viewer.canvas.native, main),
        (canvas.qt_viewer.canvas.native, canvas.model),
    )


def same_tissue(binding: ViewerBinding) -> None:
    """Both canvases look at one place of the tissue, and show it equally large."""
    (_, main), (_, other) = canvases(binding)
    here = np.array(main.scene.camera.center[-2:])
    image = other.layers["ex vivo"]
    there = np.array(image.world_to_data(other.scene.camera.center[-2:])) * PIXEL_UM
    np.testing.assert_allclose(there, TRUE(here) + SHIFT, atol=1.0)
    # A step in the source is as long in both, and leads the same way.
    step = np.array([10.0, -4.0])
    ends = (TRUE(here + step) + SHIFT) / PIXEL_UM, (TRUE(here) + SHIFT) / PIXEL_UM
    drawn = np.subtract(*(image.data_to_world(end) for end in ends)) * other.scene.camera.zoom
    np.testing.assert_allclose(drawn, step * main.scene.camera.zoom, rtol=0.03, atol=0.5)


def drag(user: User, native: Any, by: QPoint) -> None:
    start = native.rect().center()
    user.do(lambda: QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=start))
    for share in (0.3, 0.6, 1.0):
        user.do(lambda share=share: QTest.mouseMove(native, start + by * share))
    user.do(lambda: QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=start + by))
    user.settle(20)


def turn_wheel(user: User, native: Any) -> None:
    at = QPointF(native.rect().center())
    nothing = Qt.KeyboardModifier.NoModifier
    event = QWheelEvent(
        at,
        QPointF(native.mapToGlobal(at.toPoint())),
        QPoint(),
        QPoint(0, 240),
        Qt.MouseButton.NoButton,
        nothing,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    user.do(lambda: QApplication.sendEvent(native, event))
    user.settle(20)


@pytest.mark.parametrize("screen", [LAPTOP_PX, DESK_PX])
def test_either_canvas_moves_the_other_to_the_same_tissue(
    user: User, screen: tuple[int, int]
) -> None:
    user.resize(screen)
    binding, _ = beside(user)
    assert (user.window.width(), user.window.height()) == user.screen_px
    for name in (*BUTTONS, "target_home"):
        assert user.sees(button(user, name)), name
    assert "in vivo" in user.find(QLabel, "source_title").text()
    assert "ex vivo" in user.find(QLabel, "target_title").text()
    widths = [native.width() for native, _ in canvases(binding)]
    assert abs(widths[0] - widths[1]) < 30
    assert not user.viewer.layers["ex vivo"].visible
    # To begin with, all of the source is in sight.
    (native, main), _ = canvases(binding)
    camera = main.scene.camera
    np.testing.assert_allclose(camera.center[-2:], (SIZE - 1) / 2, atol=1)
    assert 0.8 * native.width() < camera.zoom * SIZE < native.width()
    same_tissue(binding)
    for native, model in canvases(binding):
        before = np.array(model.scene.camera.center), model.scene.camera.zoom
        drag(user, native, QPoint(40, -30))
        assert np.linalg.norm(np.array(model.scene.camera.center) - before[0]) > 5
        same_tissue(binding)
        turn_wheel(user, native)
        assert abs(np.log(model.scene.camera.zoom / before[1])) > 0.05
        same_tissue(binding)
    user.click(button(user, "target_home"))
    user.settle(20)
    np.testing.assert_allclose(camera.center[-2:], (SIZE - 1) / 2, atol=1)
    same_tissue(binding)


def test_matches_are_drawn_and_clicked_in_both_canvases(user: User) -> None:
    binding, registering = beside(user)
    user.click(button(user, "show_matches_button"))
    (_, main), (native, other) = canvases(binding)
    assert LINES not in main.layers
    assert TARGET_POINTS not in main.layers
    here, there = main.layers[SOURCE_POINTS].data, other.layers[TARGET_POINTS].data
    shown = registering.matches()
    assert len(here) == len(there) == len(shown)
    # Those that agree lie alike, and the others do not.
    off = np.linalg.norm(here - there, axis=1)
    assert off[shown.agreeing].max() < 3
    assert off[~shown.agreeing].min() > 5

    # The place of the worst one in the target is clicked, and Delete removes it.
    worst = int(np.nanargmax(shown.off_um))
    camera = other.scene.camera
    at = (there[worst] - camera.center[-2:]) * camera.zoom
    pixel = native.rect().center() + QPoint(round(at[1]), round(at[0]))
    user.do(lambda: QTest.mouseMove(native, pixel))
    user.do(lambda: QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=pixel))
    user.wait(lambda: registering.selected == shown.rows[worst])
    before = registering.planes
    user.press(Qt.Key.Key_Delete)
    user.wait(lambda: registering.planes is not before)
    assert len(other.layers[TARGET_POINTS].data) == len(shown) - 1
    same_tissue(binding)

    # The list leads both canvases to a match.
    listed = user.find(QTableWidget, "registration_matches")
    user.click(listed.viewport(), listed.visualItemRect(listed.item(3, 0)).center())
    user.settle(20)
    row = int(np.flatnonzero(registering.matches().rows == registering.selected)[0])
    np.testing.assert_allclose(
        main.scene.camera.center[-2:], main.layers[SOURCE_POINTS].data[row], atol=0.1
    )
    same_tissue(binding)


def test_what_was_there_comes_back(user: User) -> None:
    registering = open_images(user, BeaconPattern(wrong=0.1, verified_wrong=0.5))
    register(user, registering)
    user.click(button(user, "show_matches_button"))
    camera, target = user.viewer.scene.camera, user.viewer.layers["ex vivo"]
    names = [layer.name for layer in user.viewer.layers]
    view = (*camera.center, camera.zoom)
    dock = user.docks("Register")[0]
    width = dock.width()
    for close in ("button", "overlay", "cross", "layer"):
        user.click(button(user, "side_by_side_button"))
        user.settle(80)
        binding = binding_for(user.viewer)
        canvas = binding.beside.canvas
        assert canvas.isVisible()
        assert not target.visible
        if close == "button":
            user.click(button(user, "side_by_side_button"))
        elif close == "overlay":
            user.click(button(user, "overlay_button"))
        elif close == "cross":
            title = dock_around(canvas).titleBarWidget()
            user.click(title.findChild(QPushButton, "QTitleBarCloseButton"))
        else:
            user.do(lambda: user.viewer.layers.remove("in vivo"))
        user.settle(80)
        assert not canvas.isVisible(), close
        assert not button(user, "side_by_side_button").isChecked()
        assert target.visible
        assert abs(dock.width() - width) < 20, close
        if close == "overlay":
            assert button(user, "overlay_button").isChecked()
            user.click(button(user, "overlay_button"))
            user.settle(20)
        elif close in {"button", "cross"}:
            np.testing.assert_allclose((*camera.center, camera.zoom), view)
        if close != "layer":
            assert [layer.name for layer in user.viewer.layers] == names
        view = (*camera.center, camera.zoom)
