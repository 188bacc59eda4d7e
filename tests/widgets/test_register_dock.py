"""The Register dock, worked as a person does: menus, clicks and keys on a laptop's screen."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QSlider,
    QTableWidget,
)

from beacons import BeaconPattern, plane_of
from fixtures.user import User
from napari_neurobridge.viewer.registration_layers import SOURCE_POINTS, TARGET_POINTS
from register_user import (
    BUTTONS,
    LAYERS_MENU,
    PIXEL_UM,
    PLACES,
    SIZE,
    button,
    open_images,
    register,
    text_of,
)


class PatientMatcher(BeaconPattern):
    """Works until it is cancelled."""

    begun = False

    def match(self, source: Any, target: Any, *, report: Any = None) -> Any:
        self.begun = True
        while True:
            time.sleep(0.01)
            report(1, 3, "looking for somata")


def test_two_layers_are_registered_corrected_and_drawn(
    user: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registering = open_images(user, BeaconPattern(wrong=0.1, verified_wrong=0.5))
    for name in BUTTONS:
        assert user.sees(button(user, name)), name
    assert user.find(QComboBox, "source_layer").currentText() == "in vivo"
    assert user.find(QComboBox, "target_layer").currentText() == "ex vivo"
    assert user.find(QDoubleSpinBox, "target_pixel").value() == PIXEL_UM
    register(user, registering)
    for name in BUTTONS:
        assert user.sees(button(user, name)), name
    assert (user.window.width(), user.window.height()) == user.screen_px
    assert "Accepted." in text_of(user, "register_decision")
    assert "similarity" in text_of(user, "register_evidence")

    # Correspondences lie on the somata of both layers.
    user.click(button(user, "show_matches_button"))
    shown = registering.matches()
    on_source, on_target = (user.viewer.layers[n] for n in (SOURCE_POINTS, TARGET_POINTS))
    np.testing.assert_allclose(on_source.data, shown.source_um, atol=1e-6)
    np.testing.assert_allclose(on_target.data, shown.target_um + np.array([30, 300]), atol=1e-6)

    # The overlay carries the source's places to the target's.
    user.click(button(user, "overlay_button"))
    on_source = user.viewer.layers[SOURCE_POINTS]
    off = np.linalg.norm(on_source.data - on_target.data, axis=1)
    assert np.median(off) < 1
    assert off[~shown.agreeing].min() > 5
    # Both are seen at once, where the camera looks now, and keep no trace of that.
    images = [user.viewer.layers[name] for name in ("in vivo", "ex vivo")]
    assert {image.colormap.name for image in images} == {"magenta", "green"}
    middle = on_target.data.mean(axis=0)
    assert np.abs(np.array(user.viewer.scene.camera.center)[-2:] - middle).max() < 150
    user.click(button(user, "overlay_button"))
    assert {image.colormap.name for image in images} == {"gray"}
    np.testing.assert_allclose(user.viewer.layers["in vivo"].affine.affine_matrix, np.eye(3))

    # The worst comes first in the list; Delete removes it, Ctrl+Z brings it back.
    before, count = registering.planes, len(shown)
    listed = user.find(QTableWidget, "registration_matches")
    user.click(listed.viewport(), listed.visualItemRect(listed.item(0, 0)).center())
    worst = registering.selected
    assert worst == shown.rows[np.nanargmax(shown.off_um)]
    user.press(Qt.Key.Key_Delete)
    user.wait(lambda: registering.planes is not before)
    assert len(registering.matches()) == count - 1 == len(user.viewer.layers[SOURCE_POINTS].data)
    user.press("Z", Qt.KeyboardModifier.ControlModifier)
    user.wait(lambda: registering.planes is before)
    assert len(user.viewer.layers[SOURCE_POINTS].data) == count

    # The slider counts at once; the map follows.
    slider = user.find(QSlider, "consistency_slider")
    user.do(lambda: slider.setValue(95))
    assert "C > 0.95: 0 of" in text_of(user, "consistency_text")
    user.wait(lambda: "Refused." in text_of(user, "register_decision"))
    assert not button(user, "warp_button").isEnabled()
    user.do(lambda: slider.setValue(50))
    user.wait(lambda: "Accepted." in text_of(user, "register_decision"))

    user.click(button(user, "warp_button"))
    user.wait(lambda: "in vivo, warped" in user.viewer.layers)
    warped, target = user.viewer.layers["in vivo, warped"], user.viewer.layers["ex vivo"]
    assert warped.data.shape == target.data.shape
    np.testing.assert_allclose(warped.data_to_world((9, 7)), target.data_to_world((9, 7)))
    inside = warped.data > 0
    assert np.corrcoef(warped.data[inside], target.data[inside])[0, 1] > 0.8

    opened: list[str] = []
    page = tmp_path / "page.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(page), ""))
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    user.click(button(user, "quality_page_button"))
    user.wait(lambda: bool(opened))
    assert "Accepted" in page.read_text(encoding="utf-8")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "out"))
    user.choose(button(user, "export_registration_button"), "… and the map for ITK")
    user.wait(lambda: (tmp_path / "out" / "transform.tfm").exists())


def test_what_cannot_be_registered_is_said_and_runs_can_be_cancelled(user: User) -> None:
    unrelated = BeaconPattern(wrong=1.0, verified_wrong=1.0, margin=1.1)
    registering = open_images(user, unrelated, LAYERS_MENU)
    assert len(user.docks("Register")) == 1
    register(user, registering)
    assert "Refused." in text_of(user, "register_decision")
    assert registering.decision.reason in text_of(user, "register_decision")
    assert not button(user, "warp_button").isEnabled()

    # A colour image, chosen as the source.
    colours = np.zeros((30, 30, 3), np.uint8)
    user.do(lambda: user.viewer.add_image(colours, name="photo", rgb=True))
    chooser = user.find(QComboBox, "source_layer")
    user.do(lambda: chooser.setCurrentText("photo"))
    assert "'photo' is a colour image" in text_of(user, "register_problem")
    assert not button(user, "register_button").isEnabled()

    # One without scale and unit is asked for its pixel size.
    bare = plane_of(PLACES, (SIZE, SIZE)).values
    user.do(lambda: user.viewer.add_image(bare, name="bare"))
    user.do(lambda: chooser.setCurrentText("bare"))
    assert "does not say its pixel size" in text_of(user, "register_problem")
    user.type(user.find(QDoubleSpinBox, "source_pixel"), "1.2")
    assert not text_of(user, "register_problem")

    waits = PatientMatcher()
    registering._matcher = waits
    before = registering.planes
    user.click(button(user, "register_button"))
    user.wait(lambda: waits.begun)
    assert not button(user, "register_button").isEnabled()
    user.click(button(user, "cancel_register_images"))
    user.wait(lambda: not registering.running)
    assert "cancelled" in text_of(user, "status_text")
    assert registering.planes is before
    assert button(user, "register_button").isEnabled()
