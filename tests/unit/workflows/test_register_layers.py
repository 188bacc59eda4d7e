"""Two images of a viewer become planes with a pixel size, and are registered."""

from __future__ import annotations

import numpy as np
import pytest

from beacons import BeaconPattern, plane_of, scattered
from napari_neurobridge.errors import InputError
from napari_neurobridge.types import Projection
from napari_neurobridge.workflows.layers import LayerImage
from napari_neurobridge.workflows.register_layers import (
    LayerPlane,
    pixel_um_of,
    register_layers,
)

PLACES = scattered(40, 200)


def image(data, axes="yx", size=(1.0, 1.0, 1.0), name="slice", suggested=None) -> LayerImage:
    return LayerImage(name, data, axes, size, suggested, None, np.eye(4)[:3])


def test_a_stack_is_read_as_one_of_its_planes_or_projected() -> None:
    stack = np.random.default_rng(0).random((5, 20, 30)).astype(np.float32)
    layer = image(stack, "zyx", (4.0, 0.5, 0.5))
    shown = LayerPlane(layer, index=3).read()
    np.testing.assert_array_equal(shown.values, stack[3])
    assert shown.pixel_um == 0.5
    brightest = LayerPlane(layer, projection=Projection.MAX).read()
    np.testing.assert_array_equal(brightest.values, stack.max(axis=0))
    # What the viewer shows beyond the last plane is the last plane.
    np.testing.assert_array_equal(LayerPlane(layer, index=9).read().values, stack[4])


def test_the_pixel_size_is_as_stated_else_as_the_layer_says() -> None:
    data = np.random.default_rng(0).random((20, 30))
    assert LayerPlane(image(data, size=(1.0, 0.7, 0.7)), pixel_um=2.0).read().pixel_um == 2.0
    assert pixel_um_of(image(data, size=(9.0, 0.7, 0.7))) == pytest.approx(0.7)
    assert pixel_um_of(image(data, size=None, suggested=(1.0, 0.3, 0.3))) == pytest.approx(0.3)
    assert pixel_um_of(image(data, size=None)) is None
    with pytest.raises(InputError, match="pixel size of 'slice' is not known"):
        LayerPlane(image(data, size=None)).read()
    with pytest.raises(InputError, match=r"0\.5 x 0\.7 µm; square"):
        pixel_um_of(image(data, size=(1.0, 0.5, 0.7)))


def test_what_is_no_plane_is_named() -> None:
    with pytest.raises(InputError, match="'slice' has 4 axes"):
        LayerPlane(image(np.zeros((2, 2, 20, 20)), "tzyx")).read()
    with pytest.raises(InputError, match="'slice': The image has no contrast"):
        LayerPlane(image(np.zeros((20, 20)))).read()


def test_two_layers_are_registered_in_the_layers_names() -> None:
    source = image(plane_of(PLACES, (200, 200)).values, name="in vivo")
    target = image(plane_of(PLACES + np.array([20, 30]), (260, 260)).values, name="ex vivo")
    planes = register_layers(LayerPlane(source), LayerPlane(target), BeaconPattern())
    assert planes.found.decision.accepted
    assert planes.names == ("in vivo", "ex vivo")
    transform = planes.found.transform
    assert transform is not None
    assert (transform.source, transform.target) == planes.names
    np.testing.assert_allclose(
        transform.map_points(np.array([[0.0, 50.0, 60.0]])), [[0.0, 70.0, 90.0]], atol=0.3
    )
