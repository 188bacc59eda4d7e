"""What a registration draws, on a viewer model without a window."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

from beacons import BeaconPattern, plane_of, scattered, turning
from fixtures.loops import Loop
from napari_neurobridge.types import Projection
from napari_neurobridge.viewer.plane_maps import plane_to_world, source_to_target_pixels
from napari_neurobridge.viewer.plane_sources import OfferedPlane, offered_planes
from napari_neurobridge.viewer.registration_layers import (
    LINES,
    SOURCE_POINTS,
    TARGET_POINTS,
    RegistrationLayers,
)
from napari_neurobridge.workbench.registering import Registering
from napari_neurobridge.workbench.session import Session

PLACES = scattered(60, 220)
TRUE = turning(20.0, 220, 0.95)
UNITS = ("um", "um", "um")


@pytest.fixture
def registering(loop: Loop) -> Iterator[Registering]:
    session = Session(loop, annotator="me")
    yield Registering(session, BeaconPattern)
    session.jobs.close()


def stack_of(places: np.ndarray, pixel_um: float = 1.0) -> np.ndarray:
    """Return three planes of which the middle one shows all discs."""
    plane = plane_of(places, (300, 300), pixel_um=pixel_um).values
    return np.stack([plane * 0, plane, plane * 0])


def offered(viewer: ViewerModel) -> dict[str, OfferedPlane]:
    return {plane.name: plane for plane in offered_planes(viewer)}


def registered(
    viewer: ViewerModel, registering: Registering, loop: Loop, projection: Projection | None
) -> RegistrationLayers:
    """Register a stack to a plane, of which the stack is turned in the viewer."""
    viewer.add_image(
        stack_of(PLACES), name="stack", scale=(5, 2, 2), rotate=(0, 0, 30), units=UNITS
    )
    target = plane_of(TRUE(PLACES) + 20, (400, 400), pixel_um=0.8).values
    viewer.add_image(target, name="plane", scale=(0.8, 0.8), translate=(-50, 700), units=UNITS[1:])
    drawn = RegistrationLayers(registering, viewer)
    planes = offered(viewer)
    viewer.dims.set_point(0, 5.0)
    registering.register(planes["stack"].plane(1.0, projection), planes["plane"].plane(0.8, None))
    loop.run_until(lambda: registering.planes is not None)
    return drawn


@pytest.mark.parametrize("projection", [None, Projection.MAX])
def test_marks_lie_on_the_layers_and_the_overlay_carries_one_onto_the_other(
    registering: Registering, loop: Loop, projection: Projection | None
) -> None:
    viewer = ViewerModel()
    drawn = registered(viewer, registering, loop, projection)
    drawn.show_matches(True)
    shown = registering.matches()
    assert shown is not None
    on_source, on_target = (viewer.layers[name].data for name in (SOURCE_POINTS, TARGET_POINTS))
    stack, plane = viewer.layers["stack"], viewer.layers["plane"]
    world = [stack.data_to_world((1, *place))[1:] for place in shown.source_um]
    np.testing.assert_allclose(on_source, world)
    world = [plane.data_to_world(place / 0.8) for place in shown.target_um]
    np.testing.assert_allclose(on_target, world)
    np.testing.assert_allclose(viewer.layers[LINES].data.sum(axis=1), on_target)

    before = stack.data_to_world((2, 10, 20))
    drawn.overlay(True)
    assert drawn.overlaid
    moved = np.array([stack.data_to_world((1, *place))[1:] for place in shown.source_um])
    assert np.linalg.norm(moved - on_target, axis=1).max() < 1
    # The depth of a stack is as it was.
    assert stack.data_to_world((2, 10, 20))[0] == pytest.approx(before[0])
    drawn.overlay(False)
    np.testing.assert_allclose(stack.data_to_world((2, 10, 20)), before)


def test_the_target_is_drawn_in_another_canvas_and_back_again(
    registering: Registering, loop: Loop
) -> None:
    viewer, other = ViewerModel(), ViewerModel()
    drawn = registered(viewer, registering, loop, Projection.MAX)
    drawn.show_matches(True)
    before = viewer.layers[TARGET_POINTS].data
    pixels = source_to_target_pixels(registering.planes)
    to_world = plane_to_world(viewer.layers["stack"]) @ np.linalg.inv(pixels)
    drawn.draw_target_beside((other, to_world))
    assert TARGET_POINTS not in viewer.layers
    assert LINES not in viewer.layers
    # The stack's pixels are 2 long in the viewer.
    off = other.layers[TARGET_POINTS].data - viewer.layers[SOURCE_POINTS].data
    assert np.linalg.norm(off, axis=1).max() < 2
    registering.select(3)
    drawn.look_at_selected()
    center = viewer.scene.camera.center[-2:]
    np.testing.assert_allclose(center, viewer.layers[SOURCE_POINTS].data[3])
    drawn.draw_target_beside(None)
    assert not other.layers
    np.testing.assert_allclose(viewer.layers[TARGET_POINTS].data, before)
    names = [layer.name for layer in viewer.layers]
    assert names.index(LINES) < names.index(SOURCE_POINTS)


def test_another_map_moves_the_overlay_and_no_map_puts_it_back(
    registering: Registering, loop: Loop
) -> None:
    viewer = ViewerModel()
    drawn = registered(viewer, registering, loop, Projection.MAX)
    stack = viewer.layers["stack"]
    before = plane_to_world(stack)
    drawn.overlay(True)
    assert not np.allclose(plane_to_world(stack), before)
    first = registering.planes
    registering.set_threshold(0.99)
    loop.run_until(lambda: registering.planes is not first)
    assert registering.affine is None
    assert not drawn.overlaid
    np.testing.assert_allclose(plane_to_world(stack), before)


def test_layers_that_are_gone_take_what_is_drawn_with_them(
    registering: Registering, loop: Loop
) -> None:
    viewer = ViewerModel()
    drawn = registered(viewer, registering, loop, Projection.MAX)
    drawn.show_matches(True)
    viewer.layers.remove("plane")
    drawn.show_matches(True)
    assert [layer.name for layer in viewer.layers] == ["stack"]
    drawn.overlay(True)
    assert not drawn.overlaid
    registering.select(0)
    drawn.look_at_selected()


def test_a_click_selects_the_match_under_it(registering: Registering, loop: Loop) -> None:
    viewer = ViewerModel()
    drawn = registered(viewer, registering, loop, Projection.MAX)
    drawn.show_matches(True)
    shown = registering.matches()
    assert shown is not None
    place = viewer.layers[TARGET_POINTS].data[7]

    def click(position: np.ndarray) -> None:
        event = SimpleNamespace(
            type="mouse_press", button=1, modifiers=(), position=(0.0, *position)
        )
        for callback in viewer.mouse_drag_callbacks:
            for _ in callback(viewer, event) or ():
                event.type = "mouse_release"

    click(place + 1e5)
    assert registering.selected is None
    click(place)
    assert registering.selected == shown.rows[7]
    sizes = viewer.layers[TARGET_POINTS].size
    assert sizes.argmax() == 7
    drawn.look_at_selected()
    ends = [viewer.layers[name].data[7] for name in (SOURCE_POINTS, TARGET_POINTS)]
    np.testing.assert_allclose(viewer.scene.camera.center[1:], np.mean(ends, axis=0))


def test_layers_that_cannot_be_registered_say_why() -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((30, 40, 3), np.uint8), name="photo", rgb=True)
    viewer.add_image(np.zeros((30, 40)), name="bare")
    viewer.add_image(np.zeros((30, 40)), name="oblong", scale=(1, 2))
    viewer.add_image(np.zeros((4, 30, 40)), name="stack", scale=(3, 0.5, 0.5))
    viewer.add_points(np.zeros((3, 2)), name="points")
    found = offered(viewer)
    assert set(found) == {"photo", "bare", "oblong", "stack"}
    assert "colour image" in found["photo"].problem
    assert (found["bare"].pixel_um, found["bare"].problem) == (None, "")
    assert "1 x 2 µm; square" in found["oblong"].problem
    assert (found["stack"].is_stack, found["stack"].pixel_um) == (True, 0.5)
    viewer.dims.set_point(0, 6.0)
    assert found["stack"].plane(0.5, None).index == 2
