"""Writing OME-NGFF: a map between two spaces as an OME-Zarr 0.5 or 0.6 group.

Both versions go forward: they map points of the input to points of the output (0.6,
"coordinateTransformations metadata"). Vectors and matrices are ordered as the axes are, here
(z, y, x) in micrometer.

Version 0.6, https://ngff.openmicroscopy.org/0.6, which adopts RFC-5, has named coordinate systems:
the group holds a ``scene`` with the two of them, and one transformation between them, an
``affine``, or a ``sequence`` of ``displacements`` and an affine. The displacements lie in a
multiscale group below ``coordinateTransformations`` ("coordinates and displacements"): an array
(3, Z, Y, X) whose first axis has the type "displacement".

Version 0.5, https://ngff.openmicroscopy.org/0.5, knows scale and translation only, and those of an
image ("multiscales metadata"). The group holds an image of eight voxels at the corners of the box:
its dataset's transformations place it in the source, and the multiscale's, which follow, in the
target. Its axes are the target's, since 0.5 names no coordinate systems.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_neurobridge.errors import ErrorKind, InputError
from napari_neurobridge.io.files import atomic_folder
from napari_neurobridge.io.transforms.common import (
    GridSettings,
    TransformFile,
    as_affine_or_grid,
)
from napari_neurobridge.spaces.affine import Affine, as_points
from napari_neurobridge.spaces.displacement_grid import as_affine

if TYPE_CHECKING:
    from napari_neurobridge.spaces.displacement_grid import DisplacementGrid
    from napari_neurobridge.spaces.graph import Transform
    from napari_neurobridge.types import Report

NGFF_VERSIONS = ("0.5", "0.6")
"""What is written; the first unless another is asked for."""
NAMES_KEY = "napari_neurobridge"
"""Attribute of a 0.5 group with the names of the two spaces."""

_FIELD = "coordinateTransformations/displacements"
_CHUNK = 64
# What a turn or shear may move a point of the box by if it is nothing but rounding.
_NO_TURN_UM = 1e-7


def write_ngff(
    transform: Transform,
    path: str | Path,
    corners_um: npt.ArrayLike,
    *,
    version: str = NGFF_VERSIONS[0],
    settings: GridSettings | None = None,
    report: Report | None = None,
) -> TransformFile:
    """Write a map as an OME-Zarr group.

    Parameters
    ----------
    transform : Transform
    path : str or Path
        Folder to be, usually ``*.ome.zarr``; an existing one is replaced.
    corners_um : array_like, shape (2, 3)
        Box in which it is to hold, µm (z, y, x) of its source.
    version : str
        One of `NGFF_VERSIONS`.
    settings : GridSettings, optional
        For maps that are no affine.
    report : Report, optional

    Raises
    ------
    InputError
        If the version is unknown, or 0.5 cannot say the map.
    """
    if version not in NGFF_VERSIONS:
        raise InputError(
            f"OME-NGFF is written in version {' or '.join(NGFF_VERSIONS)}, not '{version}'."
        )
    path = Path(path)
    if path.is_file():
        raise InputError(f"{path} is a file; an OME-Zarr is a folder.")
    if version == NGFF_VERSIONS[0]:
        # No grid is made that 0.5 could not hold.
        affine = _scale_and_translation(transform, corners_um)
        with atomic_folder(path) as temporary:
            _write_image(temporary, affine, as_points(corners_um))
        return TransformFile.of(path, "ngff", version, affine)
    written = as_affine_or_grid(transform, corners_um, settings or GridSettings(), report)
    with atomic_folder(path) as temporary:
        _write_scene(temporary, written)
    return TransformFile.of(path, "ngff", version, written)


def _scale_and_translation(transform: Transform, corners_um: npt.ArrayLike) -> Affine:
    """Return a map as an affine without turn and flip.

    Raises
    ------
    InputError
        If it is none.
    """
    found = as_affine(transform, corners_um)
    what = ""
    if found is None:
        what = "a displacement of each place"
    else:
        diagonal = np.diag(found.linear)
        rest = found.linear - np.diag(diagonal)
        if np.abs(rest).max() * np.abs(corners_um).max() > _NO_TURN_UM:
            what = "a turn, swapped axes or a shear"
        elif (diagonal <= 0).any():
            what = "a flipped axis"
    if found is None or what:
        raise InputError(
            f"OME-NGFF 0.5 says scale and translation only, and the map from "
            f"'{transform.source}' to '{transform.target}' has {what}; OME-NGFF 0.6 can say it.",
            kind=ErrorKind.BEYOND_NGFF_05,
        )
    return found


def _axes() -> list[dict[str, Any]]:
    return [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def _write_image(folder: Path, affine: Affine, corners: npt.NDArray[np.float64]) -> None:
    group = zarr.create_group(folder, zarr_format=3)
    group.create_array("0", data=np.zeros((2, 2, 2), np.uint8), dimension_names=list("zyx"))
    low, high = np.sort(corners, axis=0)
    multiscale: dict[str, Any] = {
        "name": f"{affine.source} to {affine.target}",
        "axes": _axes(),
        "datasets": [
            {
                "path": "0",
                "coordinateTransformations": [_scale(high - low), _translation(low)],
            }
        ],
        "coordinateTransformations": [
            _scale(np.diag(affine.linear)),
            _translation(affine.translation),
        ],
    }
    group.attrs["ome"] = {"version": NGFF_VERSIONS[0], "multiscales": [multiscale]}
    group.attrs[NAMES_KEY] = {"source": affine.source, "target": affine.target}


def _write_scene(folder: Path, written: Affine | DisplacementGrid) -> None:
    group = zarr.create_group(folder, zarr_format=3)
    if isinstance(written, Affine):
        step = _affine(written)
    else:
        _write_field(group, written)
        step = {
            "type": "sequence",
            "transformations": [
                {"type": "displacements", "path": _FIELD, "interpolation": "linear"},
                _affine(written.affine),
            ],
        }
    names = written.source, written.target
    step |= {
        "name": f"{names[0]} to {names[1]}",
        "input": {"name": names[0]},
        "output": {"name": names[1]},
    }
    scene = {
        "coordinateSystems": [{"name": name, "axes": _axes()} for name in names],
        "coordinateTransformations": [step],
    }
    group.attrs["ome"] = {"version": "0.6", "scene": scene}


def _write_field(group: zarr.Group, grid: DisplacementGrid) -> None:
    field = group.require_group(_FIELD)
    values = np.moveaxis(grid.displacement_um, 3, 0).astype(np.float32)
    array = field.create_array(
        "0",
        shape=values.shape,
        dtype=values.dtype,
        chunks=(3, *(min(_CHUNK, n) for n in values.shape[1:])),
        # A chunk that got lost must not read as no displacement.
        fill_value=np.nan,
        dimension_names=["c", "z", "y", "x"],
    )
    array[:] = values
    transform = {
        "type": "sequence",
        "transformations": [_scale([1.0, *grid.step_um]), _translation([0.0, *grid.origin_um])],
        "input": {"path": "0"},
        "output": {"name": grid.source},
    }
    axes = [{"name": "c", "type": "displacement", "discrete": True}, *_axes()]
    multiscale: dict[str, Any] = {
        "name": "displacements",
        "coordinateSystems": [{"name": grid.source, "axes": axes}],
        "datasets": [{"path": "0", "coordinateTransformations": [transform]}],
    }
    field.attrs["ome"] = {"version": "0.6", "multiscales": [multiscale]}


def _affine(affine: Affine) -> dict[str, Any]:
    diagonal = np.diag(affine.linear)
    if (diagonal > 0).all() and np.array_equal(affine.linear, np.diag(diagonal)):
        # Every reader has to know these two ("coordinateTransformations metadata").
        steps = [_scale(diagonal), _translation(affine.translation)]
        return {"type": "sequence", "transformations": steps}
    return {"type": "affine", "affine": affine.matrix[:3].tolist()}


def _scale(values: npt.ArrayLike) -> dict[str, Any]:
    return {"type": "scale", "scale": np.asarray(values, dtype=np.float64).tolist()}


def _translation(values: npt.ArrayLike) -> dict[str, Any]:
    return {"type": "translation", "translation": np.asarray(values, dtype=np.float64).tolist()}
