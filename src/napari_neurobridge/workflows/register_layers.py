"""Registering two images that lie in a viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.projections import project_frames

if TYPE_CHECKING:
    from napari_neurobridge.insight.registration_page import RegisteredPlanes
    from napari_neurobridge.registration.image_matches import PatternMatcher, PlaneMatcher
    from napari_neurobridge.registration.keypoints import PlanarImage
    from napari_neurobridge.types import Projection, Report
    from napari_neurobridge.workflows.layers import LayerImage

# Pixels that are longer than wide by less are called square.
_SQUARE = 0.01


@dataclass(frozen=True, eq=False)
class LayerPlane:
    """An image of a viewer, and how it becomes one plane.

    Attributes
    ----------
    image : LayerImage
    pixel_um : float or None
        Side of a pixel; what the layer says unless given.
    projection : Projection or None
        How a stack becomes one plane; ``None`` for one of its planes.
    index : int
        Of that plane.
    layer : object
        What the viewer knows the layer by.
    """

    image: LayerImage
    pixel_um: float | None = None
    projection: Projection | None = None
    index: int = 0
    layer: object = None

    @property
    def name(self) -> str:
        """Of its layer."""
        return self.image.name

    def read(self) -> PlanarImage:
        """Return the plane; only what it needs is read.

        Raises
        ------
        InputError
            If its pixel size is unknown, it has four axes, or `PlanarImage.of` refuses it.
        """
        from napari_neurobridge.registration.keypoints import PlanarImage

        pixel_um = self.pixel_um or pixel_um_of(self.image)
        if pixel_um is None:
            raise InputError(f"The pixel size of '{self.name}' is not known.")
        require_plane_or_stack(self.image)
        try:
            return PlanarImage.of(self._values(), pixel_um)
        except InputError as error:
            raise InputError(f"'{self.name}': {error}", kind=error.kind) from error

    def _values(self) -> np.ndarray:
        data = self.image.data
        if len(self.image.axes) == 2:
            return np.asarray(data)
        if self.projection is not None:
            planes = (np.asarray(data[z : z + 1]) for z in range(data.shape[0]))
            return project_frames(planes, self.projection)
        return np.asarray(data[min(max(self.index, 0), data.shape[0] - 1)])


def require_plane_or_stack(image: LayerImage) -> None:
    """Raise `InputError` for an image of more than three axes."""
    if len(image.axes) > 3:
        raise InputError(
            f"'{image.name}' has {len(image.axes)} axes; a plane or a stack is registered."
        )


def pixel_um_of(image: LayerImage) -> float | None:
    """Return the side of a layer's pixels, µm.

    A scale without a unit of length is taken to be in µm.

    Returns
    -------
    float or None
        ``None`` where the layer has neither scale nor unit.

    Raises
    ------
    InputError
        If the pixels are not square.
    """
    size = image.voxel_size_um or image.suggested_um
    if size is None:
        return None
    _, y, x = size
    if abs(y - x) > _SQUARE * max(y, x):
        raise InputError(
            f"'{image.name}' has pixels of {y:g} x {x:g} µm; square ones are registered."
        )
    return float(y + x) / 2


def register_layers(
    source: LayerPlane,
    target: LayerPlane,
    matcher: PlaneMatcher | PatternMatcher,
    *,
    report: Report | None = None,
) -> RegisteredPlanes:
    """Register two images of a viewer.

    Parameters
    ----------
    source, target : LayerPlane
    matcher : PlaneMatcher or PatternMatcher
    report : Report, optional
        May raise to cancel.

    Raises
    ------
    InputError
        If a layer cannot be read as a plane, or `register_planes` refuses the two.
    """
    # PyTorch is loaded where images are registered, so that docks open at once.
    from napari_neurobridge.insight.registration_page import RegisteredPlanes
    from napari_neurobridge.registration.image_registration import register_planes

    here, there = source.read(), target.read()
    names = (source.name, target.name)
    if names[0] == names[1]:
        names = (f"{names[0]} (source)", f"{names[1]} (target)")
    found = register_planes(here, there, matcher, names=names, report=report)
    return RegisteredPlanes(here, there, found, names)
