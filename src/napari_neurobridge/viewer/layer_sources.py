"""Layers that lie in napari, as images and points that a project can be made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Points

from napari_neurobridge.errors import InputError
from napari_neurobridge.io.source import um_per_unit
from napari_neurobridge.viewer.layers import DATASET_KEY, HINT_KEY
from napari_neurobridge.workflows.layers import LayerImage, LayerPoints

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

    from napari_neurobridge.types import FloatArray, Vec3

_SPACE = "zyx"
_USUAL_AXES = {2: "yx", 3: "zyx"}
_KNOWN_ORDERS = ("yx", "zyx", "tyx", "tzyx")


@dataclass(frozen=True)
class OfferedLayer:
    """A layer that may become a dataset.

    Attributes
    ----------
    name : str
    is_image : bool
        An image; else points.
    read : callable
        Returns what the layer holds; its pixels are read later.
    problem : str
        Why it cannot be used; empty when it can.
    """

    name: str
    is_image: bool
    read: Callable[[], LayerImage | LayerPoints]
    problem: str = ""


def offered_layers(viewer: napari.Viewer) -> list[OfferedLayer]:
    """Return the image and points layers of a viewer that the plugin has not made itself."""
    offered = []
    for layer in viewer.layers:
        ours = DATASET_KEY in layer.metadata or HINT_KEY in layer.metadata
        if type(layer) in (Image, Points) and not ours:
            is_image = isinstance(layer, Image)
            read = partial(image_of if is_image else points_of, layer)
            offered.append(OfferedLayer(layer.name, is_image, read, _problem_of(read)))
    return offered


def _problem_of(read: Callable[[], object]) -> str:
    try:
        read()
    except InputError as error:
        return str(error)
    return ""


def image_of(layer: Image) -> LayerImage:
    """Return an image layer's data and where they lie; no pixel is read.

    Raises
    ------
    InputError
        If it is in colour, has a channel axis or an axis that nobody knows, or is sheared.
    """
    if layer.rgb:
        raise InputError(f"'{layer.name}' is a colour image; make it one channel first.")
    data = layer.data[0] if layer.multiscale else layer.data
    axes = _axes_of(layer, data.ndim)
    if data.ndim == 4 and layer.source.path is None:
        raise InputError(
            f"'{layer.name}' has 4 axes and no file; save it as OME-TIFF or OME-Zarr first."
        )
    to_world = _space_transform(layer)
    lengths = np.linalg.norm(to_world[:, :3], axis=0)
    normalised = to_world[:, :3] / lengths
    if not np.allclose(normalised.T @ normalised, np.eye(3), atol=1e-3):
        raise InputError(f"'{layer.name}' is sheared; resample it first.")
    size = _vec3(lengths)
    unit = _um_per_unit(layer)
    voxel_size_um = None if unit is None else _vec3(lengths * np.array(unit))
    scaled = not np.allclose(lengths[-2:], 1.0)
    return LayerImage(
        name=layer.name,
        data=data,
        axes=axes,
        voxel_size_um=voxel_size_um,
        suggested_um=size if scaled and voxel_size_um is None else None,
        path=None if layer.source.path is None else Path(layer.source.path),
        to_world=to_world,
    )


def points_of(layer: Points) -> LayerPoints:
    """Return a points layer's places, as it holds them and as it shows them.

    Raises
    ------
    InputError
        If it is empty, or its points have other than two or three finite coordinates.
    """
    indices = np.asarray(layer.data, dtype=float)
    if not len(indices):
        raise InputError(f"'{layer.name}' holds no point.")
    if indices.shape[1] not in (2, 3):
        raise InputError(
            f"The points of '{layer.name}' have {indices.shape[1]} coordinates; somata have "
            "z, y and x."
        )
    if not np.isfinite(indices).all():
        raise InputError(f"'{layer.name}' holds points without a place.")
    if indices.shape[1] == 2:
        indices = np.column_stack([np.zeros(len(indices)), indices])
    to_world = _space_transform(layer)
    world = indices @ to_world[:, :3].T + to_world[:, 3]
    return LayerPoints(
        name=layer.name,
        indices=indices,
        world=world,
        um_per_unit=_um_per_unit(layer),
        scaled=not np.allclose(world, indices),
        uids=_uids_of(layer),
    )


def _axes_of(layer: Image, n_axes: int) -> str:
    """Return the axes as the layer names them, or as they usually are."""
    labels = "".join(str(label).lower() for label in layer.axis_labels)
    if set(labels) <= set("tczyx") and len(labels) == n_axes:
        if "c" in labels:
            raise InputError(f"'{layer.name}' has a channel axis; split its channels first.")
        if labels not in _KNOWN_ORDERS:
            raise InputError(f"The axes of '{layer.name}' are {labels}; they have to end in zyx.")
        return labels
    if n_axes == 4 and layer.source.path is not None:
        return "tzyx"  # its file says what they are
    if n_axes not in _USUAL_AXES:
        raise InputError(
            f"'{layer.name}' has {n_axes} axes, of which none is named as time; an image has z, y "
            "and x."
        )
    return _USUAL_AXES[n_axes]


def _space_transform(layer: Layer) -> FloatArray:
    """Return the map from data to world, its last three axes, shape (3, 4)."""
    n = layer.ndim
    offset = np.asarray(layer.data_to_world(np.zeros(n)), dtype=float)
    columns = [np.asarray(layer.data_to_world(row), dtype=float) - offset for row in np.eye(n)]
    full = np.eye(4)[:3]
    taken = min(n, 3)
    full[3 - taken :, 3 - taken : 3] = np.column_stack(columns)[-taken:, -taken:]
    full[3 - taken :, 3] = offset[-taken:]
    return full


def _um_per_unit(layer: Layer) -> Vec3 | None:
    """Return how many µm a unit of z, y and x has; None where one is no length."""
    units = [um_per_unit(str(unit)) for unit in layer.units[-3:]]
    if any(unit is None for unit in units):
        return None
    return _vec3([units[0]] * (3 - len(units)) + units)


def _uids_of(layer: Points) -> list[str] | None:
    if "uid" not in layer.features:
        return None
    uids = [str(uid).strip() for uid in layer.features["uid"]]
    return uids if all(uids) and len(set(uids)) == len(uids) else None


def _vec3(values: Any) -> Vec3:
    z, y, x = (float(value) for value in values)
    return z, y, x
