"""Image layers of a viewer, as planes that can be registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image

from napari_neurobridge.errors import InputError
from napari_neurobridge.viewer.layer_sources import image_of
from napari_neurobridge.viewer.overlay_layer import OVERLAY_KEY
from napari_neurobridge.viewer.registration_layers import REGISTRATION_KEY
from napari_neurobridge.workflows.register_layers import (
    LayerPlane,
    pixel_um_of,
    require_plane_or_stack,
)

if TYPE_CHECKING:
    import napari

    from napari_neurobridge.types import Projection


@dataclass(frozen=True, eq=False)
class OfferedPlane:
    """An image layer that may be registered.

    Attributes
    ----------
    layer : Image
    viewer : napari.Viewer
        Which shows it.
    is_stack : bool
        Whether it has planes to choose from.
    pixel_um : float or None
        What the layer says; ``None`` where somebody has to.
    problem : str
        Why it cannot be registered; empty when it can.
    """

    layer: Image
    viewer: napari.Viewer
    is_stack: bool = False
    pixel_um: float | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Of the layer."""
        return str(self.layer.name)

    def plane(self, pixel_um: float | None, projection: Projection | None) -> LayerPlane:
        """Return the plane that is shown now, or a projection of the stack.

        Raises
        ------
        InputError
            If the layer cannot be registered.
        """
        image = image_of(self.layer)
        index = 0
        if self.is_stack and projection is None:
            point = np.asarray(self.viewer.dims.point)[-self.layer.ndim :]
            index = round(float(self.layer.world_to_data(point)[0]))
        return LayerPlane(image, pixel_um, projection, index, self.layer)


def offered_planes(viewer: napari.Viewer) -> list[OfferedPlane]:
    """Return the image layers of a viewer, but for what is drawn of a registration."""
    own = (OVERLAY_KEY, REGISTRATION_KEY)
    return [
        _offered(layer, viewer)
        for layer in viewer.layers
        if type(layer) is Image and not any(key in layer.metadata for key in own)
    ]


def _offered(layer: Image, viewer: napari.Viewer) -> OfferedPlane:
    try:
        image = image_of(layer)
        require_plane_or_stack(image)
        return OfferedPlane(layer, viewer, len(image.axes) > 2, pixel_um_of(image))
    except InputError as error:
        return OfferedPlane(layer, viewer, problem=str(error))
