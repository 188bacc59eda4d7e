"""Where the encoder looks, as layers over the crops in both canvases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_neurobridge.viewer.layers import DATASET_KEY
from napari_neurobridge.viewer.styles import SLAB_UM, AttentionStyle
from napari_neurobridge.workbench.insight_steps import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_neurobridge.io.crops import CropSpec
    from napari_neurobridge.spaces import Orientation
    from napari_neurobridge.types import Float32Array, Vec3
    from napari_neurobridge.workbench.insight_steps import Attention
    from napari_neurobridge.workbench.workbench import Workbench

CHANNEL_KEY = "neurobridge_channel"
"""Metadata key by which `AttentionLayers` knows its own layers again."""

# Of Okabe and Ito's palette, as in the rest of the program.
CHANNEL_STYLES = {
    Channel.LOCAL: AttentionStyle("orange", "#D55E00"),
    Channel.GLOBAL: AttentionStyle("blue", "#0072B2"),
}


def crop_layer(
    crop: Float32Array,
    center_um: Vec3,
    orientation: Orientation,
    held: npt.NDArray[np.float64] | None = None,
    spec: CropSpec | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop as a slab of its dataset: data and affine of an image layer.

    Parameters
    ----------
    crop : ndarray, shape (pixels, pixels)
        Rows and columns of the two-photon frame.
    center_um : Vec3
        The crop's centre, µm (z, y, x) of the dataset.
    orientation : Orientation
        How the dataset lies in the two-photon frame.
    held : ndarray, shape (3, 3), optional
        How the crop was held, where not as the orientation says. The layer follows it within
        the dataset's own plane: napari cannot slice a tilted one.
    spec : CropSpec, optional
        What the crop shows.

    Returns
    -------
    data : ndarray, three axes
        Along the dataset's own axes, so that napari slices it like the dataset's image:
        it does not slice layers whose axes an affine has renamed.
    affine : ndarray, shape (4, 4)
        Takes pixels to µm (z, y, x) of the dataset.
    """
    from napari_neurobridge.io.crops import CropSpec  # torch; a dock must open without

    spec = spec or CropSpec()
    # For each axis of the dataset, the one of the frame that runs along it.
    frame_axes = np.argsort(orientation.axis_order)
    steps_um = np.array([SLAB_UM / orientation.expansion, spec.pixel_um, spec.pixel_um])
    data = crop[None].transpose(frame_axes)
    linear = _in_plane(orientation, held) * steps_um
    linear = linear[:, frame_axes]
    backwards = np.flatnonzero(np.diagonal(linear) < 0)
    data = np.flip(data, tuple(backwards))
    linear[:, backwards] *= -1
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = np.asarray(center_um) - linear @ ((np.array(data.shape) - 1) / 2)
    return np.ascontiguousarray(data), affine


def _in_plane(
    orientation: Orientation, held: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    """Return how a crop was held but for its tilt; the orientation where that is most of it."""
    linear, depth = orientation.linear(), orientation.axis_order[0]
    if held is None or abs(held[depth, 0]) < np.linalg.norm(held[:, 0]) / np.sqrt(2):
        return linear
    others = [axis for axis in range(3) if axis != depth]
    linear[others, 1:] = held[others, 1:]
    return linear


class AttentionLayers:
    """Keeps the layers of both canvases as the workbench's insights say.

    Parameters
    ----------
    workbench : Workbench
        Shared state, which is only read.
    sides : callable
        Returns each canvas with the dataset that it shows.
    """

    def __init__(
        self, workbench: Workbench, sides: Callable[[], Iterable[tuple[ViewerModel, str]]]
    ) -> None:
        self._workbench = workbench
        self._sides = sides
        insights = workbench.insights
        insights.attention_changed.connect(self._on_attention_changed)
        insights.shown_channels_changed.connect(self._on_shown_channels_changed)

    def _on_attention_changed(self, attention: Attention | None) -> None:
        for model, dataset in self._sides():
            active = model.layers.selection.active
            for layer in _own_layers(model):
                model.layers.remove(layer)
            if attention is not None:
                for channel in Channel:
                    self._add(model, dataset, attention, channel)
            # The keys act on the somata layer, so the maps must not take its place.
            if active in model.layers:
                model.layers.selection.active = active

    def _add(
        self, model: ViewerModel, dataset: str, attention: Attention, channel: Channel
    ) -> None:
        pixels = attention.map_of(dataset, channel)
        if pixels is None or self._workbench.project is None:
            return
        orientation = self._workbench.project.dataset(dataset).used_orientation
        data, affine = crop_layer(
            pixels, attention.center_um_of(dataset), orientation, attention.held_of(dataset)
        )
        layer = model.add_image(
            data,
            name=f"{dataset}: {channel} channel looks here",
            visible=channel in self._workbench.insights.shown_channels,
            metadata={DATASET_KEY: dataset, CHANNEL_KEY: channel},
            **CHANNEL_STYLES[channel].as_kwargs(),
        )
        # Not before: a layer of no canvas yet is sliced along z, and warns of the angle.
        layer.affine = affine
        # Under the circles, which are to be seen and clicked.
        circles = [index for index, other in enumerate(model.layers) if isinstance(other, Points)]
        model.layers.move(len(model.layers) - 1, min(circles, default=len(model.layers)))

    def _on_shown_channels_changed(self, channels: frozenset[Channel]) -> None:
        for model, _ in self._sides():
            for layer in _own_layers(model):
                layer.visible = layer.metadata[CHANNEL_KEY] in channels


def _own_layers(model: Any) -> list[Image]:
    return [layer for layer in model.layers if CHANNEL_KEY in layer.metadata]
