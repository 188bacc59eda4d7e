"""The warped image over the two-photon canvas, and somata that are put where they are brightest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QPushButton

from fixtures.projects import accept_true_pairs
from fixtures.user import User
from fixtures.viewers import handle_events
from napari_neurobridge.viewer.binding import ViewerBinding
from napari_neurobridge.viewer.overlay_layer import OVERLAY_KEY
from napari_neurobridge.workbench.overlay import warped_image


@pytest.fixture
def matched(opened: ViewerBinding, user: User) -> ViewerBinding:
    """A viewer in which all cells of two images are matched, and one is asked about."""
    accept_true_pairs(opened.workbench.project, (1, 4, 7, 10))
    opened.workbench.session.verdicts_changed.emit()
    matches = opened.workbench.matches
    user.wait(lambda: matches.has_match and not matches.updating)
    opened.workbench.questions.select("two_photon", "tp-00002")
    user.wait(lambda: opened.workbench.questions.answer is not None)
    return opened


def _overlay(binding: ViewerBinding) -> Any:
    return next((x for x in binding.viewer.layers if OVERLAY_KEY in x.metadata), None)


def test_the_overlay_lies_on_the_two_photon_image(matched: ViewerBinding, user: User) -> None:
    user.click(user.find(QPushButton, "overlay_button"))
    user.wait(lambda: _overlay(matched) is not None)

    layer, under = _overlay(matched), matched.header.image
    assert layer.colormap.name == "green"
    assert under.colormap.name == "magenta"
    # The brightest spot of the overlay is a soma of the two-photon side, in its own µm.
    pixels = np.squeeze(np.asarray(layer.data))
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    spot = layer.translate[1:] + np.array([row, column]) * layer.scale[1:]
    somata = matched.workbench.project.state().somata["two_photon"].values()
    places = np.array([soma.center_um[1:] for soma in somata])
    assert np.linalg.norm(places - spot, axis=1).min() < 4.0


def test_flicker_swaps_the_images_in_the_canvas_too(matched: ViewerBinding, user: User) -> None:
    user.click(user.find(QPushButton, "overlay_button"))
    user.wait(lambda: _overlay(matched) is not None)
    user.press("F")
    user.wait(lambda: matched.header.image.opacity == 0.0)
    assert _overlay(matched).opacity == 1.0
    user.press("F")
    user.wait(lambda: matched.header.image.opacity == 1.0)
    assert _overlay(matched).opacity == matched.workbench.overlay.opacity


def test_hiding_it_leaves_nothing_behind(matched: ViewerBinding, user: User) -> None:
    user.click(user.find(QPushButton, "overlay_button"))
    user.wait(lambda: _overlay(matched) is not None)
    user.click(user.find(QPushButton, "overlay_button"))
    user.wait(lambda: _overlay(matched) is None)
    assert matched.header.image.colormap.name == "gray"


def test_a_random_check_hides_it(matched: ViewerBinding, user: User) -> None:
    user.click(user.find(QPushButton, "overlay_button"))
    user.wait(lambda: _overlay(matched) is not None)
    matched.workbench.questions.select("two_photon", "tp-00004", audit=True)
    user.wait(lambda: _overlay(matched) is None)
    handle_events(user.qtbot)
    assert matched.header.image.colormap.name == "gray"


def test_without_an_alignment_it_is_not_offered(opened: ViewerBinding, user: User) -> None:
    button = user.find(QPushButton, "overlay_button")
    assert not button.isEnabled()
    assert "accepted pair" in button.toolTip()


def test_the_warped_image_says_where_it_lies(matched: ViewerBinding) -> None:
    project = matched.workbench.project
    center = project.state().soma("tp-00002").center_um
    image = warped_image(project, center, 100.0, 20.0)
    rows, columns = image.pixels.shape
    middle = image.corner_um + image.scale_um * [0, (rows - 1) / 2, (columns - 1) / 2]
    np.testing.assert_allclose(middle, center)


def test_a_new_soma_is_put_into_its_brightest_plane(opened: ViewerBinding, user: User) -> None:
    project = opened.workbench.project
    soma = next(iter(project.state().somata["two_photon"].values()))
    layer, before = opened._somata.layer(opened.viewer), set(project.state().somata["two_photon"])
    z, y, x = soma.center_um
    layer.add(np.array([[z + 6.0, y, x]]))
    user.wait(lambda: len(project.state().somata["two_photon"]) > len(before))
    (added,) = set(project.state().somata["two_photon"]) - before
    assert project.state().soma(added).center_um == pytest.approx((z, y, x), abs=4.0)
    assert project.state().soma(added).center_um[0] != z + 6.0
